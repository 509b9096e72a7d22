/**
 * What a daemon and a plugin call want of a kernel, for tests: made by the engine from a
 * configuration, leases and a pod.
 *
 * @module
 */

import type { Backend } from "../../engine/backend/backend.ts";
import { derivedVtepMac } from "../../engine/backend/vxlan_mac.ts";
import { makeBackend } from "../../engine/backend/registry.ts";
import type { Fact } from "../../engine/fact.ts";
import { parseCidr4, parseCidr6, parseInet, parseIp4, parseIp6 } from "../../engine/ip.ts";
import { jsonObject } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import type { Ours } from "../../engine/plan.ts";
import type { Pod } from "../../engine/pod.ts";
import { overlayRulesFact, overlayTable } from "../../engine/rules/overlay.ts";

const DUAL = `{
  "Network": "10.0.0.0/8", "SubnetLen": 24, "EnableIPv6": true, "IPv6Network": "fd00:10::/32",
  "Backend": { "Type": "vxlan", "VNI": 1 }
}`;

const TABLE = overlayTable("");

/** A dual-stack vxlan network, with its rules. */
export function dualVxlan(): Pick<Backend, "facts" | "scope" | "ours"> {
  const backend = makeBackend(parseNetConf(DUAL));
  const ours = backend.ours();
  return {
    facts: (self, peers) => backend.facts(self, peers),
    scope: () => ({ ...backend.scope(), rules: [TABLE] }),
    ours: () => (fact) => ours(fact) || (fact.kind === "rules" && fact.table === TABLE),
  };
}

/** The lease of node `n`, 1 to 65,000; node 1 is at 192.0.2.1 and has 10.0.1.0/24. */
export function leaseOf(n: number): Lease {
  const subnet = parseCidr4(`10.${n >> 8}.${n & 255}.0/24`);
  const subnet6 = parseCidr6(`fd00:10:0:${n.toString(16)}::/64`);
  return {
    subnet,
    subnet6,
    publicIp: parseIp4(`192.0.${2 + (n >> 8)}.${n & 255}`),
    publicIp6: parseIp6(`2001:db8::${n.toString(16)}`),
    backendType: "vxlan",
    backendData: jsonObject({ VNI: 1, VtepMAC: derivedVtepMac(subnet) }),
    backendV6Data: jsonObject({ VNI: 1, VtepMAC: derivedVtepMac(subnet6) }),
  };
}

/** The links on which {@link overlayWants} puts neighbours and FDB entries. */
export const VTEPS = ["flannel.1", "flannel-v6.1"] as const;

/** The commands that make the underlay of {@link overlayWants}. */
export const UNDERLAY = `
  ip link add up0 type veth peer name up1
  ip link set up0 up
  ip link set up1 up
  ip addr add 192.0.2.1/24 dev up0
  ip addr add 2001:db8::1/64 dev up0 nodad
`;

/** All that node 1 wants, with nodes 2 to `count` + 1 as its peers. */
export function overlayWants(count: number): Fact[] {
  const addresses = { 4: parseIp4("192.0.2.1"), 6: parseIp6("2001:db8::1") };
  const self = { underlay: { name: "up0", mtu: 1500, addresses, onLink: [] }, lease: leaseOf(1) };
  const peers = Array.from({ length: count }, (_, i) => leaseOf(i + 2));
  const { own, peers: facts } = dualVxlan().facts(self, peers);
  const rules = overlayRulesFact(
    [
      { network: parseCidr4("10.0.0.0/8"), subnet: parseCidr4("10.0.1.0/24") },
      { network: parseCidr6("fd00:10::/32"), subnet: parseCidr6("fd00:10:0:1::/64") },
    ],
    { table: TABLE, masquerade: true, forward: true, fullyRandom: true },
  );
  return [...own, rules, ...facts.flatMap((peer) => peer.facts)];
}

/** A pod with both families on a bridge, as the stock configuration makes it. */
export const POD: Pod = {
  bridge: {
    name: "cni0",
    mtu: 1430,
    promisc: false,
    hairpin: true,
    isolated: false,
    gateways: [parseInet("10.0.1.1/24"), parseInet("fd00:10:0:1::1/64")],
  },
  hostEnd: "veth1",
  name: "eth0",
  mtu: 1430,
  up: true,
  addresses: [
    { inet: parseInet("10.0.1.2/24"), gateway: parseIp4("10.0.1.1") },
    { inet: parseInet("fd00:10:0:1::2/64"), gateway: parseIp6("fd00:10:0:1::1") },
  ],
  routes: [
    { dst: parseInet("10.0.0.0/8") },
    { dst: parseInet("0.0.0.0/0") },
    { dst: parseInet("::/0"), mtu: 1400 },
  ],
  detectDuplicates: false,
};

/** A plugin call owns the pod's whole namespace, and of the host the bridge and the veth. */
export const OURS_FOR_POD: Ours = (fact: Fact): boolean =>
  fact.where === "pod" ||
  (fact.kind === "link" ? ["cni0", "veth1"].includes(fact.name) : fact.kind === "port");
