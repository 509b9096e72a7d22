/**
 * Node 1 with all that `check` looks at: settings, rules, leases, the runtime's files.
 *
 * @module
 */

import type { Fact } from "../../engine/fact.ts";
import { parseCidr } from "../../engine/ip.ts";
import { parseCidr4, parseIp4 } from "../../engine/ip.ts";
import { jsonObject } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { formatMemory, type Memory } from "../../engine/memory.ts";
import { formatNodeStatus, type NodeStatus } from "../../engine/node_status.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { overlayRulesFact } from "../../engine/rules/overlay.ts";
import { ENV, HEALTHY, type Scene } from "./scene.ts";
import { NO_ENFORCEMENT } from "../../engine/policy/status.ts";

/** The lease of node N: pods in 10.244.N.0/24, node at 192.0.2.N. */
export function lease(n: number, publicIp = `192.0.2.${n}`): Lease {
  return {
    subnet: parseCidr4(`10.244.${n}.0/24`),
    publicIp: parseIp4(publicIp),
    backendType: "vxlan",
    backendData: jsonObject({ VNI: 1, VtepMAC: `02:00:00:00:0${n}:04` }),
    node: `node${n}`,
  };
}

/** When the program runs. */
export const NOW = Date.parse("2026-01-02T03:04:05.000Z");

/** What the daemon remembered a minute ago. */
export const MEMORY: Memory = {
  at: NOW - 60_000,
  conf: parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'),
  own: lease(1),
  ends: NOW + 3_600_000,
  leases: [lease(1), lease(2), lease(3)],
};

/** A setting. */
export function sysctl(key: string, value: string): Fact {
  return { kind: "sysctl", where: "host", key, value };
}

/** Our table. */
export const RULES: Fact = overlayRulesFact(
  [{ network: parseCidr("10.244.0.0/16"), subnet: parseCidr("10.244.1.0/24") }],
  { table: "inet twill", masquerade: true, forward: true, fullyRandom: true },
);

/** What is fine. */
export const FACTS: readonly Fact[] = [
  ...HEALTHY,
  sysctl("net/ipv4/ip_forward", "1"),
  sysctl("net/bridge/bridge-nf-call-iptables", "1"),
  sysctl("net/ipv4/conf/all/rp_filter", "0"),
  sysctl("net/ipv6/conf/flannel.1/accept_ra", "0"),
  RULES,
];

/** The list of flannel's manifest. */
export const CONFLIST = JSON.stringify({
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [{ type: "flannel" }, { type: "portmap" }],
});

/** What the daemon says of itself, without leases: those of the file count. */
export const DAEMON: NodeStatus = {
  revision: 7,
  version: "twill 0.1.0",
  instance: "",
  started: NOW - 3_600_000,
  reasons: [],
  remarks: [],
  subnetFile: "/run/flannel/subnet.env",
  masquerade: true,
  store: { name: "etcd", connected: true, bad: [] },
  plugins: { listening: true, served: 2, left: {} },
  policy: NO_ENFORCEMENT,
};

/** The files of a node with two pods. */
export const FILES: Readonly<Record<string, string>> = {
  "/run/flannel/subnet.env": ENV,
  "/var/lib/twill/snapshot.json": formatMemory(MEMORY),
  "/etc/cni/net.d/10-flannel.conflist": CONFLIST,
  ...Object.fromEntries(
    ["flannel", "bridge", "host-local", "portmap", "loopback"].map((
      name,
    ) => [`/opt/cni/bin/${name}`, ""]),
  ),
  "/var/lib/cni/networks/cbr0/10.244.1.2": "a\r\neth0",
  "/var/lib/cni/networks/cbr0/10.244.1.3": "b\r\neth0",
  "/var/lib/cni/networks/cbr0/last_reserved_ip.0": "10.244.1.3",
  "/var/lib/cni/networks/cbr0/lock": "",
};

/** A node on which all is well, but for these changes. */
export function scene(
  change: {
    readonly facts?: (facts: readonly Fact[]) => readonly Fact[];
    readonly files?: Readonly<Record<string, string | undefined>>;
    readonly memory?: Partial<Memory>;
    /** False: there is none. */
    readonly daemon?: Partial<NodeStatus> | false;
    readonly tools?: Scene["tools"];
  } = {},
): Scene {
  const { facts = (all) => all, files = {}, memory, daemon = {}, tools = {} } = change;
  const all = {
    ...FILES,
    ...(memory && { "/var/lib/twill/snapshot.json": formatMemory({ ...MEMORY, ...memory }) }),
    ...files,
  };
  return {
    now: NOW,
    tools,
    ...(daemon && {
      status: { "/status": formatNodeStatus({ ...DAEMON, ...daemon }) },
    }),
    facts: facts(FACTS),
    files: Object.fromEntries(
      Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  };
}
