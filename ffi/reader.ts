/**
 * From the kernel's answers to facts: the reading half of `kernel.ts`.
 *
 * @module
 */

import { type Driver, type Fact, MAIN_TABLE, type Scope, type Where } from "../engine/fact.ts";
import { cidrOf, FAMILIES, type Family, familyOf, inetOf, type Ip } from "../engine/ip.ts";
import type { Mac } from "../engine/mac.ts";
import type { LinkTable } from "./link_table.ts";
import { type AddressMessage, readAddress, writeAddress } from "./netlink/address.ts";
import { Iff, type LinkMessage, readLink, writeLink } from "./netlink/link.ts";
import {
  BridgeVlanFlag,
  FILTER_BRIDGE_VLAN,
  readBridgeLink,
  writeBridgeLink,
} from "./netlink/link_vlan.ts";
import {
  NeighbourFlag,
  NeighbourState,
  readNeighbour,
  writeNeighbour,
} from "./netlink/neighbour.ts";
import { firstNextHop, readRoute, RouteFlag, RouteType, writeRoute } from "./netlink/route.ts";
import type { NetlinkSocket, Reply, Request } from "./netlink/socket.ts";
import { Af, Rtm } from "./netlink/rtnetlink.ts";

/** A link as the kernel tells it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** The kernel's name of the driver; empty for physical devices and the loopback. */
  readonly kind: string;
  readonly mac?: Mac;
  /** Bytes. */
  readonly mtu: number;
  /** `IFF_*`. */
  readonly flags: number;
  /** `IF_OPER_*`. */
  readonly operstate: number;
  /** Index of the bridge that this link is a port of. */
  readonly master?: number;
  /** Index of the lower link, or of a veth's other end in its own namespace. */
  readonly lower?: number;
  readonly message: LinkMessage;
}

/** `RTEXT_FILTER_SKIP_STATS`, linux/rtnetlink.h: counters are most of a link's bytes. */
const SKIP_STATS = 1 << 3;

function toLink(bytes: Uint8Array): Link {
  const message = readLink(bytes);
  const { name = "", info, address, mtu = 0, operstate = 0, master, link } = message.attributes;
  return {
    index: message.index,
    name,
    kind: info?.kind ?? "",
    ...(address === undefined ? {} : { mac: address }),
    mtu,
    flags: message.flags,
    operstate,
    ...(master === undefined ? {} : { master }),
    ...(link === undefined ? {} : { lower: link }),
    message,
  };
}

/** All links of the socket's namespace, in the kernel's order. */
export function readLinks(socket: NetlinkSocket): Link[] {
  const message = { attributes: { extMask: SKIP_STATS } };
  const { bodies } = socket.dump({ type: Rtm.GETLINK, body: (out) => writeLink(out, message) });
  return bodies.map(toLink);
}

/** One link by name, or undefined. */
export function readLinkByName(socket: NetlinkSocket, name: string): Link | undefined {
  const [answer] = socket.request([linkQuestion(name)]);
  return answer === undefined ? undefined : answeredLink(answer);
}

/** Asks for one link by name. */
export function linkQuestion(name: string): Request {
  const message = { attributes: { name, extMask: SKIP_STATS } };
  return {
    type: Rtm.GETLINK,
    flags: 0,
    question: true,
    body: (out) => writeLink(out, message),
  };
}

/** The answer to {@link linkQuestion}; undefined when there is none of that name. */
export function answeredLink({ body }: Reply): Link | undefined {
  return body === undefined ? undefined : toLink(body);
}

/** The facts that one link tells: itself, whether it is up, whose port it is. */
export function linkFacts(where: Where, link: Link, nameOf: (index: number) => string): Fact[] {
  const facts: Fact[] = [
    {
      kind: "link",
      where,
      name: link.name,
      driver: driverOf(link, nameOf),
      mtu: link.mtu,
      ...(link.mac === undefined ? {} : { mac: link.mac }),
      promisc: (link.flags & Iff.PROMISC) !== 0,
    },
    { kind: "up", where, dev: link.name, up: (link.flags & Iff.UP) !== 0 },
  ];
  const info = link.message.attributes.info;
  if (link.master !== undefined && info?.slaveKind === "bridge") {
    facts.push({
      kind: "port",
      where,
      dev: link.name,
      bridge: nameOf(link.master),
      hairpin: info.bridgePort?.hairpin === 1,
      isolated: info.bridgePort?.isolated === 1,
    });
  }
  return facts;
}

/** How a tunnel says that an end is not fixed. */
const ANY = "0.0.0.0" as Ip;

function driverOf(link: Link, nameOf: (index: number) => string): Driver {
  const vxlan = link.message.attributes.info?.vxlan;
  if (link.kind === "vxlan" && vxlan !== undefined) {
    const local = vxlan.local ?? vxlan.local6;
    return {
      kind: "vxlan",
      vni: vxlan.id ?? 0,
      port: vxlan.port ?? 0,
      ...(local === undefined ? {} : { local }),
      ...(vxlan.link === undefined ? {} : { underlay: nameOf(vxlan.link) }),
      learning: vxlan.learning === 1,
      gbp: vxlan.gbp === true,
    };
  }
  const ipip = link.message.attributes.info?.ipip;
  if (link.kind === "ipip" && ipip !== undefined) {
    const { local, remote } = ipip;
    return {
      kind: "ipip",
      ...(local === undefined || local === ANY ? {} : { local }),
      anyPeer: remote === undefined || remote === ANY,
    };
  }
  if (link.kind === "bridge") {
    const filtering = link.message.attributes.info?.bridge?.vlanFiltering === 1;
    return { kind: "bridge", ...(filtering ? { vlanFiltering: true } : {}) };
  }
  if (link.kind === "veth" || link.kind === "wireguard") return { kind: link.kind };
  return { kind: "other", name: link.kind };
}

/** The VLANs of a bridge's port. */
export function vlanFacts(
  socket: NetlinkSocket,
  where: Where,
  dev: string,
  index: number,
): Fact[] {
  const message = { family: Af.BRIDGE, attributes: { extMask: FILTER_BRIDGE_VLAN } };
  const { bodies } = socket.dump({
    type: Rtm.GETLINK,
    body: (out) => writeBridgeLink(out, message),
  });
  return bodies.map(readBridgeLink).filter((link) => link.index === index)
    .flatMap(({ attributes }) => attributes.vlans ?? [])
    .map(({ vid, flags }) => ({
      kind: "vlan" as const,
      where,
      dev,
      id: vid,
      pvid: (flags & BridgeVlanFlag.PVID) !== 0,
      untagged: (flags & BridgeVlanFlag.UNTAGGED) !== 0,
    }));
}

/** An address as the kernel tells it, with what interface selection weighs. */
export interface Address {
  readonly index: number;
  readonly ip: Ip;
  readonly length: number;
  /** `IFA_F_*`. */
  readonly flags: number;
  /** `RT_SCOPE_*`. */
  readonly scope: number;
  readonly broadcast?: Ip;
}

/** The families whose addresses we know; a kernel may tell of more. */
const INTERNET: readonly number[] = [Af.INET, Af.INET6];

/** Addresses of both families; of one link when its index is given. */
export function readAddresses(socket: NetlinkSocket, index = 0): Address[] {
  const message: AddressMessage = { index, attributes: {} };
  const { bodies } = socket.dump({ type: Rtm.GETADDR, body: (out) => writeAddress(out, message) });
  return bodies.flatMap((body) => {
    const address = readAddress(body);
    const { local, address: peer, broadcast, flags } = address.attributes;
    const ip = local ?? peer;
    return ip === undefined || !INTERNET.includes(address.family) ? [] : [{
      index: address.index,
      ip,
      length: address.prefixLength,
      flags: flags ?? address.flags,
      scope: address.scope,
      ...(broadcast === undefined ? {} : { broadcast }),
    }];
  });
}

/** The fact that an address tells. */
export function addressFact(where: Where, dev: string, address: Address): Fact {
  const { ip, length, broadcast } = address;
  const extra = broadcast === undefined ? {} : { broadcast };
  return { kind: "address", where, dev, inet: inetOf(ip, length), ...extra };
}

/**
 * The routes of the main table, both families. Routes that we could not have made (several next
 * hops, other types) are facts too, so that a plan sees that their slot is taken.
 */
export function routeFacts(
  socket: NetlinkSocket,
  where: Where,
  nameOf: (index: number) => string,
): Fact[] {
  return ([4, 6] as const).flatMap((family) => {
    const message = { family: familyNumber(family), table: MAIN_TABLE, attributes: {} };
    const { bodies } = socket.dump({ type: Rtm.GETROUTE, body: (out) => writeRoute(out, message) });
    return bodies.flatMap((body) => {
      const route = readRoute(body);
      const { destination, priority, preferredSource, metrics, multipath } = route.attributes;
      const { oif, gateway } = multipath === undefined ? route.attributes : firstNextHop(multipath);
      const table = route.attributes.table ?? route.table;
      if (table !== MAIN_TABLE || (route.flags & RouteFlag.CLONED) !== 0) return [];
      const base = destination ?? (FAMILIES[family].any.split("/")[0] as Ip);
      return [{
        kind: "route" as const,
        where,
        dst: cidrOf(base, route.destinationLength),
        ...(oif === undefined ? {} : { dev: nameOf(oif) }),
        ...(gateway === undefined ? {} : { via: gateway }),
        onlink: (route.flags & RouteFlag.ONLINK) !== 0,
        blackhole: route.type === RouteType.BLACKHOLE,
        protocol: route.protocol,
        metric: priority ?? 0,
        table,
        scope: route.scope,
        ...(metrics?.mtu === undefined ? {} : { mtu: metrics.mtu }),
        ...(metrics?.advmss === undefined ? {} : { advmss: metrics.advmss }),
        ...(preferredSource === undefined ? {} : { src: preferredSource }),
        ...(multipath === undefined ? {} : { multipath: true }),
      }];
    });
  });
}

/** The index of the link by which packets to an address leave; undefined when there is no route. */
export function readRouteTo(socket: NetlinkSocket, ip: Ip): number | undefined {
  const family = familyOf(ip);
  const message = {
    family: familyNumber(family),
    destinationLength: FAMILIES[family].bits,
    attributes: { destination: ip },
  };
  const [answer] = socket.request([{
    type: Rtm.GETROUTE,
    flags: 0,
    question: true,
    body: (out) => writeRoute(out, message),
  }]);
  return answer?.body === undefined ? undefined : readRoute(answer.body).attributes.oif;
}

function familyNumber(family: Family): number {
  return family === 4 ? Af.INET : Af.INET6;
}

/** The permanent neighbours of a link, both families. */
export function neighbourFacts(
  socket: NetlinkSocket,
  where: Where,
  dev: string,
  index: number,
): Fact[] {
  return [Af.INET, Af.INET6].flatMap((family) => {
    const message = { family, attributes: { ifindex: index } };
    const { bodies } = socket.dump({
      type: Rtm.GETNEIGH,
      body: (out) => writeNeighbour(out, message),
    });
    return bodies.flatMap((body) => {
      const entry = readNeighbour(body);
      const { destination, address } = entry.attributes;
      if (entry.index !== index || (entry.state & NeighbourState.PERMANENT) === 0) return [];
      if (destination === undefined || address === undefined) return [];
      return [{ kind: "neighbour" as const, where, dev, ip: destination, mac: address }];
    });
  });
}

/** The permanent forwarding entries of a VTEP. */
export function fdbFacts(
  socket: NetlinkSocket,
  where: Where,
  dev: string,
  index: number,
): Fact[] {
  const message = { family: Af.BRIDGE, attributes: { ifindex: index } };
  const { bodies } = socket.dump({
    type: Rtm.GETNEIGH,
    body: (out) => writeNeighbour(out, message),
  });
  return bodies.flatMap((body) => {
    const entry = readNeighbour(body);
    const { destination, address } = entry.attributes;
    if (entry.index !== index || (entry.flags & NeighbourFlag.SELF) === 0) return [];
    if ((entry.state & NeighbourState.PERMANENT) === 0) return [];
    if (destination === undefined || address === undefined) return [];
    return [{ kind: "fdb" as const, where, dev, mac: address, remote: destination }];
  });
}

/** The facts of a scope that rtnetlink tells. @throws {OpError} when it cannot be read */
export function readTables(table: LinkTable, where: Where, scope: Scope): Fact[] {
  const { socket } = table;
  table.forget();
  const names = new Map<number, string>();
  let links: readonly Link[] | undefined;
  const all = (): readonly Link[] => {
    links ??= readLinks(socket);
    for (const link of links) names.set(link.index, link.name);
    return links;
  };
  const nameOf = (index: number): string => {
    if (!names.has(index)) all();
    return names.get(index) ?? `if${index}`;
  };
  const indexed = (list: readonly string[] = []): (readonly [string, number])[] =>
    list.flatMap((name) => {
      const index = table.index(name);
      return index === undefined ? [] : [[name, index] as const];
    });
  const chosen = scope.links === "all" ? all() : table.named(scope.links ?? []);
  return [
    ...chosen.flatMap((link) => linkFacts(where, link, nameOf)),
    ...(scope.addresses === "all"
      ? readAddresses(socket).map((a) => addressFact(where, nameOf(a.index), a))
      : indexed(scope.addresses).flatMap(([name, index]) =>
        readAddresses(socket, index).map((a) => addressFact(where, name, a))
      )),
    ...indexed(scope.vlans).flatMap(([name, index]) => vlanFacts(socket, where, name, index)),
    ...(scope.routes ? routeFacts(socket, where, nameOf) : []),
    ...indexed(scope.neighbours).flatMap(([name, index]) =>
      neighbourFacts(socket, where, name, index)
    ),
    ...indexed(scope.fdb).flatMap(([name, index]) => fdbFacts(socket, where, name, index)),
  ];
}
