/**
 * Route ⋈ neighbour ⋈ forwarding entry: the three tables that together tell how a peer is reached.
 * Pure, both families, and it keeps what does not join: that is where the faults are.
 *
 * @module
 */

import type { Fact, FdbFact, NeighbourFact, RouteFact } from "../engine/fact.ts";
import { addressOf, type Cidr, type Ip } from "../engine/ip.ts";
import { type Mac, parseMac } from "../engine/mac.ts";
import { byPrefix, DEFAULTS, isLinkLocal, isWithin, type Overlay, type Vtep } from "./overlay.ts";

/** What this node's tables hold for one other node, or for what is left of one. */
export interface Peer {
  /** `vxlan`: through a VTEP; `direct`: by a plain route, without encapsulation. */
  readonly mode: "vxlan" | "direct";
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
}

/** The forwarding entry for frames to unknown MAC addresses: not of any peer. */
const ALL_UNKNOWN = parseMac("00:00:00:00:00:00");

/** All peers of a node, sorted by subnet; what has no subnet comes last. */
export function joinPeers(overlay: Overlay): Peer[] {
  const peers = overlay.vteps.flatMap((vtep) => joinOne(overlay.facts, vtep));
  return byPrefix([...peers, ...directPeers(overlay)], ({ subnet }) => subnet);
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
function directPeers({ facts, networks, vteps }: Overlay): Peer[] {
  const devices = new Set(vteps.map(({ name }) => name));
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
