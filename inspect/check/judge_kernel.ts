/**
 * The kernel's features and settings that a pod network stands on. Pure.
 *
 * @module
 */

import { addressOf, contains, type Family, familyOf, type Ip, networkOf } from "../../engine/ip.ts";
import { leaseSubnets } from "../../engine/lease.ts";
import type { Finding } from "../finding.ts";
import { joinPeers } from "../join_peers.ts";
import { addressesOf } from "../overlay.ts";
import { judged, passed, together, unknown, type Verdict } from "./verdict.ts";
import type { Feature, NodeView } from "./view.ts";

/** Settings that the judges want, beside those of devices: see {@link filterKeys}. */
export const SYSCTLS: readonly string[] = [
  "net/ipv4/ip_forward",
  "net/ipv6/conf/all/forwarding",
  "net/bridge/bridge-nf-call-iptables",
  "net/bridge/bridge-nf-call-ip6tables",
  "net/ipv4/conf/all/rp_filter",
];

/** The setting of a device that drops packets which come in where answers would not go out. */
export function filterKeys(devices: readonly string[]): string[] {
  return devices.map((dev) => `net/ipv4/conf/${dev}/rp_filter`);
}

/** All of them. */
export function judgeKernel(view: NodeView): Verdict {
  return together(judgeFeatures(view), forwarding(view), bridged(view), returnPath(view));
}

const USES: Readonly<Record<string, string>> = {
  vxlan: "packets to other nodes' pods cannot be encapsulated",
  wireguard: "packets to other nodes' pods cannot be encapsulated",
  ipip: "packets to other nodes' pods cannot be encapsulated",
  bridge: "pods have nothing to be plugged into",
  veth: "pods cannot have an interface",
  nft: "masquerade and forwarding rules cannot be made",
};

function judgeFeatures({ features }: NodeView): Verdict {
  const name = "kernel-features";
  if (features.kind !== "known") {
    return unknown(name, features.kind === "unknown" ? features.why : "not tried");
  }
  const lacking = features.value.filter(({ refused }) => refused !== undefined);
  return judged(
    name,
    `${features.value.map((one) => one.name).join(", ")}: tried in a network namespace of its own`,
    lacking.map(lacks),
  );
}

function lacks({ name, refused }: Feature): Finding {
  return {
    id: "no-kernel-feature",
    subject: name,
    short: `no ${name}`,
    what: `this kernel refuses to make one: ${refused}`,
    breaks: USES[name] ?? "a part of the pod network cannot be made",
    fix: name === "nft"
      ? "load the module nf_tables, or boot a kernel that has CONFIG_NF_TABLES and CONFIG_NFT_MASQ:"
      : `load the module ${name}, or boot a kernel that has it:`,
    command: `modprobe ${name === "nft" ? "nf_tables" : name}`,
  };
}

function familiesOf({ overlay }: NodeView): Family[] {
  const found = overlay.subnets.map(familyOf);
  return found.length === 0 ? [4] : found;
}

const FORWARD = {
  4: { name: "ip-forward", key: "net/ipv4/ip_forward" },
  6: { name: "ip6-forward", key: "net/ipv6/conf/all/forwarding" },
} as const;

function forwarding(view: NodeView): Verdict {
  return together(
    ...familiesOf(view).map((family) => {
      const { name, key } = FORWARD[family];
      const value = view.sysctls.get(key);
      if (value === undefined) return unknown(name, `this kernel has no setting ${dotted(key)}`);
      if (value !== "0") return passed(name, `${dotted(key)}=${value}: this node forwards packets`);
      // The bridge plugin turns it on with the first pod.
      if (view.overlay.bridge === undefined) {
        return passed(name, `${dotted(key)}=0: the first pod turns it on`);
      }
      return judged(name, "", [{
        id: "no-forwarding",
        subject: dotted(key),
        short: "forwarding is off",
        what: `${dotted(key)}=0: this node does not forward packets`,
        breaks: "its pods reach neither pods of other nodes nor anything outside",
        fix: "turn it on, and see which file below /etc/sysctl.d turned it off:",
        command: `sysctl -w ${dotted(key)}=1`,
      }]);
    }),
  );
}

const BRIDGED = {
  4: { name: "br-netfilter", key: "net/bridge/bridge-nf-call-iptables" },
  6: { name: "br-netfilter6", key: "net/bridge/bridge-nf-call-ip6tables" },
} as const;

function bridged(view: NodeView): Verdict {
  return together(
    ...familiesOf(view).map((family) => {
      const { name, key } = BRIDGED[family];
      const value = view.sysctls.get(key);
      if (value === "1") {
        return passed(name, `${dotted(key)}=1: rules see packets between pods of this node`);
      }
      return judged(name, "", [{
        id: "no-br-netfilter",
        subject: value === undefined ? "br_netfilter" : dotted(key),
        short: "bridged packets pass by the rules",
        what: value === undefined
          ? "the module br_netfilter is not loaded"
          : `${dotted(key)}=${value}: rules do not see packets between pods of this node`,
        breaks: "a Service whose pod is on the client's own node does not answer: the reply is " +
          "bridged back without its address being translated; policies do not hold within the node",
        fix: value === undefined
          ? "load it now, and at boot by a file in /etc/modules-load.d:"
          : "turn it on, and see which file below /etc/sysctl.d turned it off:",
        command: value === undefined ? "modprobe br_netfilter" : `sysctl -w ${dotted(key)}=1`,
      }]);
    }),
  );
}

/** A source that packets have which come in by a device. */
interface Arrival {
  readonly dev: string;
  readonly from: Ip;
  readonly what: string;
}

/**
 * Whose packets come in where. By all of them the strict filter is judged, and the kernel is asked
 * for the way to each.
 */
export function arrivals({ overlay, known }: Pick<NodeView, "overlay" | "known">): Arrival[] {
  const found: Arrival[] = [];
  const add = (dev: string | undefined, from: Ip | undefined, what: string): void => {
    if (dev === undefined || from === undefined || familyOf(from) !== 4) return;
    if (!found.some((one) => one.dev === dev && one.from === from)) found.push({ dev, from, what });
  };
  const vtepOf = (family: Family) =>
    overlay.vteps.find((vtep) => vtep.family === family && !vtep.foreign);
  for (const peer of joinPeers(overlay)) {
    const vtep = overlay.vteps.find(({ name }) => name === peer.device);
    const inTunnel = overlay.tunnels.some(({ name }) => name === peer.device);
    const outer = inTunnel ? known.daemon?.uplink?.name : vtep?.underlay ?? peer.device;
    add(outer, peer.publicIp, "the outer packets of a node");
    if (peer.subnet !== undefined) add(peer.device, addressOf(peer.subnet), "pods of a node");
  }
  if (known.leases !== undefined) {
    for (const lease of known.leases.leases) {
      if (lease.publicIp === known.leases.own.publicIp) continue;
      add(vtepOf(4)?.underlay, lease.publicIp, "the outer packets of a node");
      for (const subnet of leaseSubnets(lease)) {
        // Where nodes are routed directly, pods' packets come in by the underlay.
        const direct = joinPeers(overlay).some((p) => p.mode === "direct" && p.subnet === subnet);
        if (!direct) add(vtepOf(familyOf(subnet))?.name, addressOf(subnet), "pods of a node");
      }
    }
  }
  const own = overlay.subnets.find((inet) => familyOf(inet) === 4);
  if (own !== undefined && overlay.bridge !== undefined) {
    const gateways = addressesOf(overlay.facts, overlay.bridge.name, 4).map(addressOf);
    if (gateways.some((ip) => contains(networkOf(own), ip))) {
      add(overlay.bridge.name, hostOf(addressOf(networkOf(own))), "pods of this node");
    }
  }
  return found;
}

/** Any address of a subnet that is neither its base nor its gateway. */
function hostOf(base: Ip): Ip {
  const parts = base.split(".");
  return [...parts.slice(0, 3), Number(parts[3]) + 2].join(".") as Ip;
}

function returnPath(view: NodeView): Verdict {
  const name = "rp-filter";
  const all = Number(view.sysctls.get("net/ipv4/conf/all/rp_filter") ?? 0);
  const modeOf = (dev: string): number =>
    Math.max(all, Number(view.sysctls.get(`net/ipv4/conf/${dev}/rp_filter`) ?? 0));
  const found = arrivals(view);
  const strict = found.filter(({ dev }) => modeOf(dev) === 1);
  const lost = strict.filter(({ dev, from }) => {
    const way = view.ways.get(from);
    return way !== undefined && (way.kind !== "found" || way.dev !== dev);
  });
  const modes = [...new Set(found.map(({ dev }) => dev))].map((dev) => `${dev} ${modeOf(dev)}`);
  const said = strict.length === 0
    ? "no device drops packets by the way that answers take"
    : "strict, and the answers to all nodes leave where their packets come in";
  return judged(
    name,
    modes.length === 0 ? said : `${modes.join(", ")}: ${said}`,
    lost.map(({ dev, from, what }) => {
      const way = view.ways.get(from);
      const there = way?.kind === "found" ? `by ${way.dev}` : "nowhere: there is no route";
      return {
        id: "rp-filter",
        subject: dev,
        short: `drops packets of ${from}`,
        what: `rp_filter is strict on ${dev}, where ${what} (${from}) come in, but answers would ` +
          `leave ${there}`,
        breaks: "the kernel drops these packets as they come in, and counts them nowhere but in " +
          "IPReversePathFilter of nstat",
        fix: `correct the route to ${from}; or make the filter loose on this device (the larger ` +
          "of the device's value and that of all counts):",
        command: `sysctl -w net.ipv4.conf.${dev}.rp_filter=2`,
      };
    }),
  );
}

function dotted(key: string): string {
  return key.replaceAll("/", ".");
}
