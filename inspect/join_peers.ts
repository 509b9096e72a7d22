/**
 * Route ⋈ neighbour ⋈ forwarding entry: the three tables that together tell how a peer is reached.
 * Where a device is of WireGuard, its own entries stand in their place. Pure, both families, and it
 * keeps what does not join: that is where the faults are.
 *
 * @module
 */

import type { Fact, FdbFact, NeighbourFact, RouteFact, WireguardPeerFact } from "../engine/fact.ts";
import { addressOf, type Cidr, contains, type Ip, lengthOf } from "../engine/ip.ts";
import { type Mac, parseMac } from "../engine/mac.ts";
import { byPrefix, DEFAULTS, isLinkLocal, isWithin, type Overlay, type Vtep } from "./overlay.ts";
import type { Tunnel } from "../engine/tunnel.ts";

/** What this node's tables hold for one other node, or for what is left of one. */
export interface Peer {
  /** `vxlan`: through a VTEP; `direct`: by a plain route, without encapsulation; else the tunnel's. */
  readonly mode: "vxlan" | "direct" | Tunnel["kind"];
  /** The link that its packets leave by. */
  readonly device: string;
  /** The pods of that node; absent when no route leads there. */
  readonly subnet?: Cidr;
  /** The route's gateway: the base address of the subnet, for flannel and us. */
  readonly gateway?: Ip;
  /** MAC address of its VTEP, from the neighbour table, else from the forwarding table. */
  readonly mac?: Mac;
  /** The node's own address, from the forwarding table (direct: the route's gateway). */
  readonly publicIp?: Ip;
  readonly route?: RouteFact;
  readonly neighbour?: NeighbourFact;
  /** More than one only when something went wrong. */
  readonly fdb: readonly FdbFact[];
  /**
   * The only forwarding entry without a neighbour, where this is the only peer without one of
   * both: in all likelihood its own, under another MAC address.
   */
  readonly stray?: FdbFact;
  /** Its entry of a WireGuard link. */
  readonly wireguard?: WireguardPeerFact;
}

/** The forwarding entry for frames to unknown MAC addresses: not of any peer. */
const ALL_UNKNOWN = parseMac("00:00:00:00:00:00");

/** All peers of a node, sorted by subnet; what has no subnet comes last. */
export function joinPeers(overlay: Overlay): Peer[] {
  const peers = overlay.vteps.flatMap((vtep) => joinOne(overlay.facts, vtep));
  const others = overlay.tunnels.flatMap((tunnel) => joinTunnel(overlay, tunnel));
  return byPrefix([...peers, ...others, ...directPeers(overlay)], ({ subnet }) => subnet);
}

function joinTunnel({ facts, networks }: Overlay, { name: device, kind: mode }: Tunnel): Peer[] {
  const routes = facts.filter((fact): fact is RouteFact =>
    fact.kind === "route" && fact.dev === device && isPeerRoute(fact)
  );
  switch (mode) {
    case "wireguard":
      return wireguardPeers(facts, device, routes, networks);
    case "ipip":
      return routes.map((route) => ({
        mode,
        device,
        subnet: route.dst,
        ...defined("gateway", route.via),
        ...defined("publicIp", route.via),
        route,
        fdb: [],
      }));
    case "udp":
      // One route for the whole network; its peers are known to the daemon alone.
      return [];
  }
}

/** One for each network of each entry, and one for each route that leads to no entry. */
function wireguardPeers(
  facts: readonly Fact[],
  device: string,
  routes: readonly RouteFact[],
  networks: readonly Cidr[],
): Peer[] {
  const mode = "wireguard";
  const peers = facts.flatMap((fact): Peer[] => {
    if (fact.kind !== "wireguard-peer" || fact.dev !== device) return [];
    const lone: readonly (Cidr | undefined)[] = fact.allowed.length > 0
      ? fact.allowed
      : [undefined];
    return lone.map((subnet) => ({
      mode,
      device,
      ...defined("subnet", subnet),
      ...defined("publicIp", fact.remote),
      ...defined("route", subnet && routeFor(subnet, routes)),
      fdb: [],
      wireguard: fact,
    }));
  });
  const used = new Set(peers.map(({ route }) => route));
  // flannel has one route for the whole network, which is nobody's.
  const left = routes.filter((route) => !used.has(route) && !networks.includes(route.dst));
  return [
    ...peers,
    ...left.map((route): Peer => ({ mode, device, subnet: route.dst, route, fdb: [] })),
  ];
}

/** The route by which packets to a subnet leave: the longest that holds all of it. */
function routeFor(subnet: Cidr, routes: readonly RouteFact[]): RouteFact | undefined {
  return routes
    .filter(({ dst }) => lengthOf(dst) <= lengthOf(subnet) && contains(dst, addressOf(subnet)))
    .sort((a, b) => lengthOf(b.dst) - lengthOf(a.dst))[0];
}

function joinOne(facts: readonly Fact[], { name: device }: Vtep): Peer[] {
  const routes: RouteFact[] = [];
  const neighbours = new Map<Ip, NeighbourFact>();
  const fdb = new Map<Mac, FdbFact[]>();
  for (const fact of facts) {
    if (!("dev" in fact) || fact.dev !== device) continue;
    if (fact.kind === "route" && isPeerRoute(fact)) routes.push(fact);
    if (fact.kind === "neighbour" && !isLinkLocal(fact.ip)) neighbours.set(fact.ip, fact);
    if (fact.kind === "fdb" && fact.mac !== ALL_UNKNOWN) {
      fdb.set(fact.mac, [...fdb.get(fact.mac) ?? [], fact]);
    }
  }
  const usedIps = new Set<Ip>();
  const usedMacs = new Set<Mac>();
  const peer = (route: RouteFact | undefined, neighbour: NeighbourFact | undefined): Peer => {
    const entries = neighbour === undefined ? [] : fdb.get(neighbour.mac) ?? [];
    if (neighbour !== undefined) usedIps.add(neighbour.ip);
    if (neighbour !== undefined) usedMacs.add(neighbour.mac);
    return {
      mode: "vxlan",
      device,
      ...defined("subnet", route?.dst),
      ...defined("gateway", route?.via ?? neighbour?.ip),
      ...defined("mac", neighbour?.mac),
      ...defined("publicIp", entries[0]?.remote),
      ...defined("route", route),
      ...defined("neighbour", neighbour),
      fdb: entries,
    };
  };
  const peers = routes.map((route) =>
    peer(route, route.via === undefined ? undefined : neighbours.get(route.via))
  );
  for (const neighbour of neighbours.values()) {
    if (!usedIps.has(neighbour.ip)) peers.push(peer(undefined, neighbour));
  }
  const strays = [...fdb.values()].filter(([entry]) => !usedMacs.has(entry!.mac));
  return placeStrays(peers, strays, device);
}

/** A lone stray entry goes to the lone peer that lacks one; otherwise each stands for itself. */
function placeStrays(
  peers: readonly Peer[],
  strays: readonly (readonly FdbFact[])[],
  device: string,
): Peer[] {
  const lacking = peers.filter((peer) => peer.fdb.length === 0);
  const [stray] = strays.length === 1 ? strays[0]! : [];
  if (stray !== undefined && lacking.length === 1) {
    return peers.map((peer) => peer === lacking[0] ? { ...peer, stray } : peer);
  }
  const left = strays.map((fdb): Peer => ({
    mode: "vxlan",
    device,
    ...defined("mac", fdb[0]?.mac),
    ...defined("publicIp", fdb[0]?.remote),
    fdb,
  }));
  return [...peers, ...left];
}

/** Not the kernel's own routes for the VTEP's address and for link-local and multicast ones. */
function isPeerRoute({ protocol, via, dst, blackhole }: RouteFact): boolean {
  if (blackhole || isLinkLocal(addressOf(dst)) || DEFAULTS.has(dst)) return false;
  return via !== undefined || protocol !== KERNEL;
}

/** `RTPROT_KERNEL`, linux/rtnetlink.h. */
const KERNEL = 2;

/** Nodes on the same link that are reached without a VTEP, as host-gw and DirectRouting do. */
function directPeers({ facts, networks, vteps, tunnels }: Overlay): Peer[] {
  const devices = new Set([...vteps, ...tunnels].map(({ name }) => name));
  return facts.flatMap((fact): Peer[] => {
    if (fact.kind !== "route" || fact.via === undefined || fact.dev === undefined) return [];
    if (devices.has(fact.dev) || networks.includes(fact.dst)) return [];
    if (!isWithin(networks, fact.dst)) return [];
    return [{
      mode: "direct",
      device: fact.dev,
      subnet: fact.dst,
      gateway: fact.via,
      publicIp: fact.via,
      route: fact,
      fdb: [],
    }];
  });
}

/** `{ key: value }`, or nothing when there is no value. */
function defined<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : { [key]: value } as { readonly [P in K]: V };
}
