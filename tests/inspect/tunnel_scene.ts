/**
 * Node 1 with the backends that have no VTEP: wireguard, ipip, udp; and with peers 2 and 3.
 *
 * @module
 */

import type { Fact, WireguardPeerFact, WireguardTraffic } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { jsonObject } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { NO_PSK, parsePublicKey, type PublicKey } from "../../engine/wireguard_key.ts";
import { RULES } from "./check_scene.ts";
import { answers, DAEMON, lease as vxlanLease, MEMORY } from "./known.ts";
import { address, bridge, ENV, NOW, route, type Scene, uplink } from "./scene.ts";

/** The backends. */
export type Type = "wireguard" | "ipip" | "udp";

const where = "host";

/** The public key of node N. */
export function keyOf(n: number): PublicKey {
  return parsePublicKey(new Uint8Array(32).fill(n).toBase64());
}

/** What a peer of the WireGuard link looks like when it has just answered. */
export const WELL: WireguardTraffic = {
  handshake: NOW - 12_000,
  alive: true,
  received: 2048,
  sent: 512,
};

/** The entry of node N. */
export function entry(n: number, change: Partial<WireguardPeerFact> = {}): WireguardPeerFact {
  return {
    kind: "wireguard-peer",
    where,
    dev: "flannel-wg",
    publicKey: keyOf(n),
    remote: parseIp(`192.0.2.${n}`),
    port: 51_820,
    allowed: [parseCidr(`10.244.${n}.0/24`)],
    keepalive: 0,
    // The kernel tells zeros where there is none.
    psk: NO_PSK,
    traffic: WELL,
    ...change,
  };
}

const DEVICES = {
  wireguard: { name: "flannel-wg", mtu: 1420, driver: { kind: "wireguard" } },
  ipip: {
    name: "flannel.ipip",
    mtu: 1480,
    driver: { kind: "ipip", local: parseIp("192.0.2.1"), anyPeer: true },
  },
  udp: { name: "flannel0", mtu: 1472, driver: { kind: "other", name: "tun" } },
} as const;

/** What the kernel of node 1 holds, but for its NIC and its pods. */
export function tunnel(type: Type, up = true): Fact[] {
  const device = DEVICES[type];
  return [
    { kind: "link", where, ...device },
    { kind: "up", where, dev: device.name, up },
    { kind: "address", where, dev: device.name, inet: parseInet("10.244.1.0/32") },
    ...ways(type),
  ];
}

function ways(type: Type): Fact[] {
  const protocol = 146;
  switch (type) {
    case "wireguard":
      return [
        { kind: "wireguard", where, dev: "flannel-wg", port: 51_820, publicKey: keyOf(1) },
        ...[2, 3].flatMap((n) => [
          entry(n),
          route(`10.244.${n}.0/24`, "flannel-wg", { protocol }),
        ]),
      ];
    case "ipip":
      return [2, 3].map((n) =>
        route(`10.244.${n}.0/24`, "flannel.ipip", {
          gateway: `192.0.2.${n}`,
          onlink: true,
          protocol,
        })
      );
    case "udp":
      return [route("10.244.0.0/16", "flannel0", { protocol })];
  }
}

function lease(type: Type, n: number): Lease {
  const { backendData: _, ...rest } = vxlanLease(n);
  return {
    ...rest,
    backendType: type === "udp" ? "" : type,
    ...(type === "wireguard"
      ? { backendData: jsonObject({ PublicKey: keyOf(n), Port: 51_820 }) }
      : {}),
  };
}

/** Node 1: its facts, changed as told, and the daemon's word. */
export function tunnelNode(
  type: Type,
  change: (facts: readonly Fact[]) => readonly Fact[] = (all) => all,
): Scene {
  const { mtu } = DEVICES[type];
  const leases = [1, 2, 3].map((n) => lease(type, n));
  const conf = parseNetConf(
    JSON.stringify({ Network: "10.244.0.0/16", Backend: { Type: type } }),
  );
  return {
    facts: change([
      ...uplink(),
      ...tunnel(type),
      ...bridge("10.244.1.1/24", mtu),
      address("lo", "127.0.0.1/8"),
      RULES,
    ]),
    files: { "/run/flannel/subnet.env": ENV.replace("1450", String(mtu)) },
    status: answers({ ...DAEMON, leases: { ...MEMORY, conf, own: leases[0]!, leases } }),
  };
}
