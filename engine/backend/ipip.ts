/**
 * The ipip backend: IPv4 in IPv4 (protocol 4), one device for all peers. The device has no other
 * end: each peer's route names the peer's public address as its gateway, on-link, and that is where
 * the outer packet goes.
 *
 * @module
 */

import { type Fact, type RouteFact, TWILL_PROTOCOL } from "../fact.ts";
import { addressOf, contains, inetOf } from "../ip.ts";
import { Fields } from "../json.ts";
import type { Lease } from "../lease.ts";
import type { NetConf } from "../net_conf.ts";
import type { Ours } from "../plan.ts";
import type { Backend, BackendFacts, BadPeer, PeerFacts, Self, Underlay } from "./backend.ts";
import { directRoute, insideOf, IPIP_DEVICE as DEVICE, isOverlayRoute } from "./routes.ts";
import { refuseIpv6 } from "./udp.ts";

/** Outer IPv4 header, bytes. */
const OVERHEAD = 20;

/**
 * The ipip backend for a network.
 *
 * @throws {OpError} when the network has IPv6, which this backend cannot carry.
 * @throws {SyntaxError} when `Backend.DirectRouting` is no boolean.
 */
export function ipip(conf: NetConf): Backend {
  refuseIpv6(conf, "ipip");
  const direct = new Fields(conf.backend.raw, "Backend").boolean("DirectRouting") ?? false;
  return {
    type: "ipip",
    leaseType: "ipip",
    podMtu: deviceMtu,
    devices: () => ({ 4: DEVICE }),
    admit: () => {},
    macsOf: () => ({}),
    publish: () => ({}),
    facts: (self, peers) => facts(self, peers, direct),
    scope: () => ({ links: [DEVICE], addresses: [DEVICE], routes: true }),
    ours: () => ours(conf),
  };
}

function deviceMtu(underlay: Underlay): number {
  return Math.min(underlay.mtu, 65_535) - OVERHEAD;
}

function facts(self: Self, peers: readonly Lease[], direct: boolean): BackendFacts {
  const good: PeerFacts[] = [];
  const bad: BadPeer[] = [];
  for (const lease of peers) {
    if (lease.subnet === undefined) continue;
    const route = routeOf(lease, self, direct);
    if (typeof route === "string") bad.push({ lease, reason: route });
    else good.push({ lease, facts: [route] });
  }
  return { own: ownFacts(self), peers: good, bad };
}

function ownFacts({ underlay, lease: { subnet } }: Self): Fact[] {
  const local = underlay.addresses[4];
  if (subnet === undefined || local === undefined) return [];
  const where = "host";
  return [
    {
      kind: "link",
      where,
      name: DEVICE,
      driver: { kind: "ipip", local, anyPeer: true },
      mtu: deviceMtu(underlay),
    },
    { kind: "address", where, dev: DEVICE, inet: inetOf(addressOf(subnet), 32) },
    { kind: "up", where, dev: DEVICE, up: true },
  ];
}

/** The route to a peer, or why its record cannot be used. */
function routeOf(
  lease: Lease,
  { underlay, lease: own }: Self,
  direct: boolean,
): RouteFact | string {
  const { subnet, publicIp, backendType } = lease;
  if (backendType !== "ipip") return `its backend is ${JSON.stringify(backendType)}, ours is ipip`;
  if (subnet === undefined || publicIp === undefined) return "it has no public IPv4 address";
  if (publicIp === underlay.addresses[4] || publicIp === own.publicIp) {
    return `its public address ${publicIp} is also this node's`;
  }
  if (direct && underlay.onLink.some((net) => contains(net, publicIp))) {
    return directRoute(subnet, publicIp, underlay.name);
  }
  return {
    kind: "route",
    where: "host",
    dst: subnet,
    via: publicIp,
    dev: DEVICE,
    onlink: true,
    protocol: TWILL_PROTOCOL,
    metric: 0,
    multipath: false,
  };
}

function ours(conf: NetConf): Ours {
  const inside = insideOf(conf);
  const devices = new Set([DEVICE]);
  return (fact) => {
    switch (fact.kind) {
      case "link":
        return fact.name === DEVICE;
      case "address":
        return fact.dev === DEVICE && inside(addressOf(fact.inet));
      case "route":
        return isOverlayRoute(fact, devices, inside);
      case "up":
      case "port":
      case "vlan":
      case "neighbour":
      case "fdb":
      case "wireguard":
      case "wireguard-peer":
      case "sysctl":
      case "rules":
      case "chain":
        return false;
    }
  };
}
