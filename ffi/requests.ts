/**
 * From changes to netlink requests: one fact, one message. Pure but for the names of links, which
 * the caller turns into indexes.
 *
 * @module
 */

import type {
  AddressFact,
  Driver,
  Fact,
  FdbFact,
  LinkFact,
  NeighbourFact,
  PortFact,
  RouteFact,
  UpFact,
  VlanFact,
  Where,
} from "../engine/fact.ts";
import { MAIN_TABLE } from "../engine/fact.ts";
import { addressOf, type Cidr, familyOf, type Ip, lengthOf } from "../engine/ip.ts";
import type { Change } from "../engine/plan.ts";
import { AddressFlag, writeAddress } from "./netlink/address.ts";
import { Iff, type LinkInfo, type LinkMessage, writeLink } from "./netlink/link.ts";
import { BridgeVlanFlag, writeBridgeLink } from "./netlink/link_vlan.ts";
import { Flag } from "./netlink/message.ts";
import { NeighbourFlag, NeighbourState, writeNeighbour } from "./netlink/neighbour.ts";
import { RouteFlag, RouteScope, RouteType, writeRoute } from "./netlink/route.ts";
import { Af, Rtm } from "./netlink/rtnetlink.ts";
import type { Request } from "./netlink/socket.ts";

/** `RTPROT_BOOT`, linux/rtnetlink.h: what `ip route` writes when told nothing. */
const BOOT = 3;

/** What the request builder needs to know of the kernel. */
export interface Names {
  /** The index of a link. @throws {OpError} when there is none of that name */
  index(where: Where, name: string): number;
  /** A descriptor of the namespace, for links that are made in another one. */
  netnsFd(where: Where): number;
}

/** Facts that travel as messages of rtnetlink; the others are files, rules or WireGuard's. */
export type LinkLevelFact = Exclude<
  Fact,
  { readonly kind: "sysctl" | "rules" | "chain" | "wireguard" | "wireguard-peer" }
>;

/** The family number of an address or network. */
export function af(text: Ip | Cidr): number {
  return familyOf(text) === 4 ? Af.INET : Af.INET6;
}

/** The request that carries out a change. @throws {OpError} when a link it names is missing */
export function requestFor(
  change: Change & { readonly fact: LinkLevelFact },
  names: Names,
): Request {
  const { fact, op } = change;
  switch (fact.kind) {
    case "link":
      if (op === "delete") return link(Rtm.DELLINK, 0, { attributes: { name: fact.name } });
      return change.had?.kind === "link" ? changeLink(fact, change.had) : createLink(fact, names);
    case "up":
      return setUp(fact);
    case "port":
      return port(op, fact, names);
    case "vlan":
      return vlan(op, fact, names);
    case "address":
      return address(op, fact, names);
    case "route":
      return route(op, fact, names);
    case "neighbour":
      return neighbour(op, fact, names);
    case "fdb":
      return fdb(op, fact, names);
  }
}

function link(type: number, flags: number, message: LinkMessage): Request {
  return { type, flags, body: (out) => writeLink(out, message) };
}

function basics(fact: LinkFact): LinkMessage["attributes"] {
  return {
    name: fact.name,
    ...(fact.mac === undefined ? {} : { address: fact.mac }),
    ...(fact.mtu === undefined ? {} : { mtu: fact.mtu }),
  };
}

function promisc(fact: LinkFact): { flags?: number; change?: number } {
  if (fact.promisc === undefined) return {};
  return { flags: fact.promisc ? Iff.PROMISC : 0, change: Iff.PROMISC };
}

/**
 * Only what differs: the kernel flushes a link's neighbours whenever an address is set, be it the
 * one that the link has already.
 */
function changeLink(fact: LinkFact, had: LinkFact): Request {
  const { mac, mtu, ...rest } = fact;
  const changed = {
    ...rest,
    ...(mac === undefined || mac === had.mac ? {} : { mac }),
    ...(mtu === undefined || mtu === had.mtu ? {} : { mtu }),
  };
  return link(Rtm.NEWLINK, 0, { ...promisc(changed), attributes: basics(changed) });
}

function createLink(fact: LinkFact, names: Names): Request {
  return link(Rtm.NEWLINK, Flag.CREATE | Flag.EXCL, {
    ...promisc(fact),
    attributes: { ...basics(fact), info: driverInfo(fact.driver, fact, names) },
  });
}

function driverInfo(driver: Driver, fact: LinkFact, names: Names): LinkInfo {
  switch (driver.kind) {
    case "bridge":
      return {
        kind: "bridge",
        ...(driver.vlanFiltering === undefined
          ? {}
          : { bridge: { vlanFiltering: driver.vlanFiltering ? 1 : 0 } }),
      };
    case "veth": {
      const { peer, peerWhere = fact.where } = driver;
      if (peer === undefined) return { kind: "veth" };
      const elsewhere = peerWhere === fact.where ? {} : { netnsFd: names.netnsFd(peerWhere) };
      const mtu = fact.mtu === undefined ? {} : { mtu: fact.mtu };
      return { kind: "veth", peer: { attributes: { name: peer, ...mtu, ...elsewhere } } };
    }
    case "vxlan": {
      const { local, underlay } = driver;
      return {
        kind: "vxlan",
        vxlan: {
          id: driver.vni,
          port: driver.port,
          learning: driver.learning ? 1 : 0,
          ...(underlay === undefined ? {} : { link: names.index(fact.where, underlay) }),
          ...(local === undefined ? {} : familyOf(local) === 4 ? { local } : { local6: local }),
          ...(driver.gbp ? { gbp: true } : {}),
        },
      };
    }
    case "ipip": {
      const { local } = driver;
      // The inner packet's TTL and its wish not to be cut are the outer one's too.
      const inherit = { ttl: 0, pathMtuDiscovery: 0 };
      return { kind: "ipip", ipip: { ...(local === undefined ? {} : { local }), ...inherit } };
    }
    case "wireguard":
      return { kind: "wireguard" };
    case "other":
      return { kind: driver.name };
  }
}

function setUp(fact: UpFact): Request {
  return link(Rtm.NEWLINK, 0, {
    flags: fact.up ? Iff.UP : 0,
    change: Iff.UP,
    attributes: { name: fact.dev },
  });
}

function port(op: Change["op"], fact: PortFact, names: Names): Request {
  const master = op === "delete" ? 0 : names.index(fact.where, fact.bridge);
  return link(Rtm.NEWLINK, 0, { attributes: { name: fact.dev, master } });
}

/** Port settings are a second message: the kernel takes them only from a port. */
export function portSettings(fact: PortFact): Request | undefined {
  const bridgePort = {
    ...(fact.hairpin === undefined ? {} : { hairpin: fact.hairpin ? 1 : 0 }),
    ...(fact.isolated === undefined ? {} : { isolated: fact.isolated ? 1 : 0 }),
  };
  if (Object.keys(bridgePort).length === 0) return undefined;
  const info = { slaveKind: "bridge", bridgePort };
  return link(Rtm.NEWLINK, 0, { attributes: { name: fact.dev, info } });
}

function vlan(op: Change["op"], fact: VlanFact, names: Names): Request {
  const flags = (fact.pvid ? BridgeVlanFlag.PVID : 0) |
    (fact.untagged ? BridgeVlanFlag.UNTAGGED : 0);
  const message = {
    family: Af.BRIDGE,
    index: names.index(fact.where, fact.dev),
    attributes: { vlans: [{ vid: fact.id, flags: op === "delete" ? 0 : flags }] },
  };
  return {
    type: op === "delete" ? Rtm.DELLINK : Rtm.SETLINK,
    flags: 0,
    body: (out) => writeBridgeLink(out, message),
  };
}

function address(op: Change["op"], fact: AddressFact, names: Names): Request {
  const ip = addressOf(fact.inet);
  const message = {
    family: af(ip),
    prefixLength: lengthOf(fact.inet),
    index: names.index(fact.where, fact.dev),
    // The node's IPv6 addresses come from its lease, which no other node has. To look for a duplicate
    // would leave the gateway silent for two seconds, and the node's first pod without a way out.
    flags: op !== "delete" && fact.where === "host" && familyOf(ip) === 6 ? AddressFlag.NODAD : 0,
    attributes: {
      local: ip,
      address: ip,
      ...(fact.broadcast === undefined ? {} : { broadcast: fact.broadcast }),
    },
  };
  return {
    type: op === "delete" ? Rtm.DELADDR : Rtm.NEWADDR,
    flags: op === "delete" ? 0 : Flag.CREATE | Flag.EXCL,
    body: (out) => writeAddress(out, message),
  };
}

function route(op: Change["op"], fact: RouteFact, names: Names): Request {
  const { dst, via, dev, table = MAIN_TABLE, mtu, advmss } = fact;
  const direct = via === undefined && familyOf(dst) === 4 && !fact.blackhole;
  const metrics = {
    ...(mtu === undefined ? {} : { mtu }),
    ...(advmss === undefined ? {} : { advmss }),
  };
  const message = {
    family: af(dst),
    destinationLength: lengthOf(dst),
    table: table < 256 ? table : 0,
    protocol: fact.protocol ?? BOOT,
    scope: fact.scope ?? (direct ? RouteScope.LINK : RouteScope.UNIVERSE),
    type: fact.blackhole ? RouteType.BLACKHOLE : RouteType.UNICAST,
    flags: fact.onlink ? RouteFlag.ONLINK : 0,
    attributes: {
      ...(lengthOf(dst) === 0 ? {} : { destination: addressOf(dst) }),
      ...(via === undefined ? {} : { gateway: via }),
      ...(dev === undefined ? {} : { oif: names.index(fact.where, dev) }),
      ...(fact.metric === undefined ? {} : { priority: fact.metric }),
      ...(fact.src === undefined ? {} : { preferredSource: fact.src }),
      ...(Object.keys(metrics).length === 0 ? {} : { metrics }),
      ...(table < 256 ? {} : { table }),
    },
  };
  return {
    type: op === "delete" ? Rtm.DELROUTE : Rtm.NEWROUTE,
    flags: op === "delete" ? 0 : routeFlags(fact),
    body: (out) => writeRoute(out, message),
  };
}

/** On the node a route replaces what its slot holds; in a pod equal destinations may coexist. */
function routeFlags(fact: RouteFact): number {
  return fact.where === "host" ? Flag.CREATE | Flag.REPLACE : Flag.CREATE;
}

function neighbour(op: Change["op"], fact: NeighbourFact, names: Names): Request {
  const message = {
    family: af(fact.ip),
    index: names.index(fact.where, fact.dev),
    state: NeighbourState.PERMANENT,
    attributes: { destination: fact.ip, address: fact.mac },
  };
  return {
    type: op === "delete" ? Rtm.DELNEIGH : Rtm.NEWNEIGH,
    flags: op === "delete" ? 0 : Flag.CREATE | Flag.REPLACE,
    body: (out) => writeNeighbour(out, message),
  };
}

function fdb(op: Change["op"], fact: FdbFact, names: Names): Request {
  const message = {
    family: Af.BRIDGE,
    index: names.index(fact.where, fact.dev),
    state: NeighbourState.PERMANENT,
    flags: NeighbourFlag.SELF,
    attributes: { destination: fact.remote, address: fact.mac },
  };
  return {
    type: op === "delete" ? Rtm.DELNEIGH : Rtm.NEWNEIGH,
    flags: op === "delete" ? 0 : Flag.CREATE | Flag.REPLACE,
    body: (out) => writeNeighbour(out, message),
  };
}
