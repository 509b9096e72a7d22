/**
 * The overlay devices of the backends wireguard, ipip and udp, as one finds them. They have neither
 * neighbours nor a forwarding table: a packet's way is decided by a route, and by what the device
 * itself knows.
 *
 * @module
 */

import type { Fact, WireguardFact } from "./fact.ts";
import { familyOf, type Ip } from "./ip.ts";

/** One such device. */
export interface Tunnel {
  readonly name: string;
  readonly kind: "wireguard" | "ipip" | "udp";
  readonly up: boolean;
  /** Bytes. */
  readonly mtu?: number;
  /** Outer source address, where the device has one of its own. */
  readonly local?: Ip;
  /** Port and key of a WireGuard link; absent: not read, or never set. */
  readonly set?: WireguardFact;
}

/** The names that flannel and we give. */
const NAMES = {
  wireguard: /^flannel-wg(-v6)?$/,
  ipip: /^flannel\.ipip$/,
  udp: /^flannel\d+$/,
} as const satisfies Record<Tunnel["kind"], RegExp>;

/** The devices among the links. */
export function tunnelsOf(facts: readonly Fact[]): Tunnel[] {
  const up = new Set(facts.flatMap((fact) => fact.kind === "up" && fact.up ? [fact.dev] : []));
  return facts.flatMap((fact): Tunnel[] => {
    if (fact.kind !== "link") return [];
    const { name, driver, mtu } = fact;
    const kind = driver.kind === "other" && driver.name === "tun" ? "udp" : driver.kind;
    if ((kind !== "wireguard" && kind !== "ipip" && kind !== "udp") || !NAMES[kind].test(name)) {
      return [];
    }
    const set = facts.find((one): one is WireguardFact =>
      one.kind === "wireguard" && one.dev === name
    );
    return [{
      name,
      kind,
      up: up.has(name),
      ...(mtu === undefined ? {} : { mtu }),
      ...(driver.kind === "ipip" && driver.local !== undefined ? { local: driver.local } : {}),
      ...(set === undefined ? {} : { set }),
    }];
  });
}

/** What the device makes of a packet. */
export function wrapping({ kind, set }: Tunnel): string {
  switch (kind) {
    case "wireguard":
      return set === undefined ? "WireGuard in UDP" : `WireGuard in UDP, port ${set.port}`;
    case "ipip":
      return "IPv4 in IPv4 (protocol 4)";
    case "udp":
      return "in UDP, by the daemon";
  }
}

/** `192.0.2.1:51820`, `[2001:db8::1]:51820`. */
export function endpointText(ip: Ip, port: number): string {
  return familyOf(ip) === 4 ? `${ip}:${port}` : `[${ip}]:${port}`;
}

/** Bytes that the outer packet adds, as flannel counts them, and what they are. */
export const TUNNEL_HEADERS = {
  wireguard: { bytes: 80, text: "IPv6 40 + UDP 8 + WireGuard 32" },
  ipip: { bytes: 20, text: "IPv4 20" },
  udp: { bytes: 28, text: "IPv4 20 + UDP 8" },
} as const satisfies Record<Tunnel["kind"], unknown>;

/** `iproute2` and `wg` lines that show the same. */
export function tunnelCommands(tunnels: readonly Tunnel[]): string[] {
  return tunnels.flatMap(({ name, kind }) => [
    `ip -d link show ${name}`,
    ...(kind === "wireguard" ? [`wg show ${name}`] : []),
  ]);
}
