/**
 * What is known of node 1 beyond its kernel: leases, the daemon's word, its snapshot.
 *
 * @module
 */

import { parseCidr4, parseCidr6, parseIp4, parseIp6 } from "../../engine/ip.ts";
import { type Json, jsonObject } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { formatMemory, type Memory } from "../../engine/memory.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { formatNodeStatus, type NodeStatus } from "../../engine/node_status.ts";
import { ENV, NOW } from "./scene.ts";
import { NO_ENFORCEMENT } from "../../engine/policy/status.ts";

/** The lease of node N, as its entries of {@link peer} and {@link peer6} are made from it. */
export function lease(n: number, six = false): Lease {
  const data = (end: string): Json => jsonObject({ VNI: 1, VtepMAC: `02:00:00:00:0${n}:${end}` });
  return {
    node: `node${n}`,
    subnet: parseCidr4(`10.244.${n}.0/24`),
    publicIp: parseIp4(`192.0.2.${n}`),
    backendType: "vxlan",
    backendData: data("04"),
    ...(six
      ? {
        subnet6: parseCidr6(`fd00:244:0:${n}::/64`),
        publicIp6: parseIp6(`2001:db8::${n}`),
        backendV6Data: data("06"),
      }
      : {}),
  };
}

/** Node 1's leases, those of nodes 1 to 3. */
export const MEMORY: Memory = {
  at: NOW - 60_000,
  conf: parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}'),
  own: lease(1),
  ends: NOW + 23 * 3_600_000,
  leases: [lease(1), lease(2), lease(3)],
};

/** The snapshot file of node 1. */
export function snapshot(memory: Memory = MEMORY): Record<string, string> {
  return { "/run/flannel/subnet.env": ENV, "/var/lib/twill/snapshot.json": formatMemory(memory) };
}

/** The daemon of node 1, as its status socket answers. */
export const DAEMON: NodeStatus = {
  revision: 9,
  version: "twill 0.1.0 (commit abc1234, deno 2.9.4)",
  instance: "",
  started: NOW - 3_600_000,
  reasons: [],
  remarks: [],
  subnetFile: "/run/flannel/subnet.env",
  masquerade: true,
  store: { name: "etcd", connected: true, bad: [] },
  uplink: { name: "eth0", mtu: 1500 },
  leases: MEMORY,
  pass: {
    at: NOW - 1_000,
    cause: "slow tick",
    took: 3,
    changes: 0,
    peers: 2,
    programmed: 2,
    refused: [],
    unusable: [],
    own: [],
  },
  plugins: { listening: true, served: 4, lastServed: NOW - 5_000, left: {} },
  policy: NO_ENFORCEMENT,
};

/** Its answers. */
export function answers(status: NodeStatus = DAEMON): Record<string, string> {
  return { "/status": formatNodeStatus(status) };
}
