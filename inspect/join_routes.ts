/**
 * The routes that pods' packets take, each with the part it plays. Pure.
 *
 * @module
 */

import type { RouteFact } from "../engine/fact.ts";
import { addressOf, type Cidr, FAMILIES, familyOf, type Ip, lengthOf } from "../engine/ip.ts";
import type { Mac } from "../engine/mac.ts";
import { joinPeers, type Peer } from "./join_peers.ts";
import { byPrefix, DEFAULTS, isLinkLocal, isWithin, type Overlay } from "./overlay.ts";

/** What a route is for. */
export type Role =
  /** Pods of another node, through an overlay device. */
  | "peer"
  /** Pods of another node, without encapsulation. */
  | "direct"
  /** Pods of this node. */
  | "own"
  /** The kernel's route to an address of this node itself. */
  | "self"
  /** Inside the network, but by none of these ways. */
  | "local"
  /** Thrown away. */
  | "blackhole"
  /** Everything that has no other route. */
  | "default"
  /** No pod's packets. */
  | "other";

/** A route and what is known about it. */
export interface PodRoute {
  readonly route: RouteFact;
  readonly role: Role;
  /** The route in words. */
  readonly meaning: string;
  /** Address of the node that it leads to. */
  readonly publicIp?: Ip;
  /** MAC address of that node's VTEP. */
  readonly mac?: Mac;
  /** Its name, where it is known. */
  readonly node?: string;
}

/** The name of the node that has a subnet, where it is known. */
export type NameOf = (subnet: Cidr | undefined) => string | undefined;

/**
 * The routes into the networks of the subnet file and over overlay devices; with `all` the rest
 * of the main table too.
 */
export function joinRoutes(
  overlay: Overlay,
  all = false,
  nameOf: NameOf = () => undefined,
): PodRoute[] {
  const peers = new Map(
    joinPeers(overlay).flatMap((peer) => peer.route === undefined ? [] : [[peer.route, peer]]),
  );
  const routes = overlay.facts.flatMap((fact) => {
    if (fact.kind !== "route" || isLinkLocal(addressOf(fact.dst))) return [];
    const route = explain(overlay, fact, peers.get(fact), nameOf);
    return route.role === "other" || route.role === "default" ? (all ? [route] : []) : [route];
  });
  return byPrefix(routes, ({ route }) => route.dst);
}

function explain(
  overlay: Overlay,
  route: RouteFact,
  peer: Peer | undefined,
  nameOf: NameOf,
): PodRoute {
  const role = roleOf(overlay, route, peer);
  const node = nameOf(route.dst);
  return {
    route,
    role,
    meaning: meaningOf(role, route, peer),
    ...(peer?.publicIp === undefined ? {} : { publicIp: peer.publicIp }),
    ...(peer?.mac === undefined ? {} : { mac: peer.mac }),
    ...(node === undefined ? {} : { node }),
  };
}

function roleOf(
  { vteps, tunnels, bridge, networks }: Overlay,
  route: RouteFact,
  peer?: Peer,
): Role {
  const { dst, dev, blackhole } = route;
  if (peer !== undefined) return peer.mode === "direct" ? "direct" : "peer";
  if (DEFAULTS.has(dst)) return "default";
  const inside = isWithin(networks, dst);
  if (blackhole) return inside ? "blackhole" : "other";
  if ([...vteps, ...tunnels].some(({ name }) => name === dev)) {
    return lengthOf(dst) === FAMILIES[familyOf(dst)].bits ? "self" : "local";
  }
  if (dev !== undefined && dev === bridge?.name) return "own";
  return inside ? "local" : "other";
}

function meaningOf(role: Role, { dev, via, onlink }: RouteFact, peer: Peer | undefined): string {
  switch (role) {
    case "peer": {
      const pods = "pods of the node";
      if (peer !== undefined && peer.mode !== "vxlan") {
        const at = peer.publicIp === undefined ? "" : ` at ${peer.publicIp}`;
        return `${pods}${at}, by ${peer.device} (${peer.mode})`;
      }
      if (peer?.publicIp !== undefined) return `${pods} at ${peer.publicIp}, by VTEP ${peer.mac}`;
      if (peer?.mac !== undefined) return `${pods} with VTEP ${peer.mac}, at an unknown address`;
      return "pods of a node whose VTEP is unknown: see twill inspect peers";
    }
    case "direct":
      return `pods of the node at ${via}, without encapsulation`;
    case "own":
      return `this node's pods, on ${dev}`;
    case "self":
      return "this node's own address on the overlay";
    case "local":
      if (dev === undefined) return "inside the pod network, but by no single device";
      return via === undefined
        ? `inside the pod network, directly on ${dev}`
        : `inside the pod network, by ${via}${onlink ? " (taken as reachable)" : ""}`;
    case "blackhole":
      return "thrown away, so that such packets do not leave by the default route";
    case "default":
      return dev === undefined
        ? "everything else"
        : `everything else, from pods too (with this node's address): leaves by ${dev}`;
    case "other":
      return via === undefined && dev !== undefined ? `hosts on ${dev}` : "not for pods";
  }
}
