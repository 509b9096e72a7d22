/**
 * Which link carries the packets between nodes, and under which addresses this node is known.
 * Pure: the kernel's lists come in as arguments.
 *
 * @module
 */

import type { Underlay } from "../engine/backend/backend.ts";
import { ErrorCode, OpError } from "../engine/errors.ts";
import type { RouteFact } from "../engine/fact.ts";
import {
  type Cidr,
  cidrOf,
  contains,
  FAMILIES,
  type Family,
  familyOf,
  type Ip,
  lengthOf,
  parseIp,
} from "../engine/ip.ts";
import type { Address, Link } from "../ffi/kernel.ts";
import { AddressFlag } from "../ffi/netlink/address.ts";

/** What the kernel shows of this node. */
export interface NodeView {
  /** In the kernel's order. */
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  /** The main table. */
  readonly routes: readonly RouteFact[];
}

/** What the operator said about it. */
export interface InterfaceWish {
  readonly families: readonly Family[];
  /** `--iface`, in order: names of links, or addresses of this node. */
  readonly ifaces: readonly string[];
  /** `--iface-regex`, in order: tried after every `--iface`. */
  readonly patterns: readonly RegExp[];
  /** `--iface-can-reach`: tried last. */
  readonly canReach?: Ip;
  /** `--public-ip`, `--public-ipv6`. */
  readonly publicIps: Readonly<Partial<Record<Family, Ip>>>;
}

/** The choice, and why, for the log. */
export interface Chosen {
  readonly underlay: Underlay;
  /** Where peers send packets for this node. */
  readonly publicIps: Readonly<Partial<Record<Family, Ip>>>;
  /** `--iface eth1`, `default route`, … */
  readonly because: string;
}

const WORDS = { 4: "IPv4", 6: "IPv6" } as const;

/**
 * Chooses the link: the first `--iface`, `--iface-regex` or `--iface-can-reach` that fits; without
 * any of them the owner of `--public-ip`; else the link
 * of the default route (the one with the lowest metric).
 *
 * @throws {OpError} that tells what was tried and what this node has.
 */
export function chooseInterface(view: NodeView, wish: InterfaceWish): Chosen {
  const tried: string[] = [];
  for (const [because, choose] of selectors(view, wish)) {
    const found = choose();
    if (typeof found === "string") tried.push(`${because}: ${found}`);
    else return complete(view, wish, found, because);
  }
  throw new OpError("find", "an interface to use", {
    code: ErrorCode.badConfig,
    kernel: tried.join("; "),
    advice: `Name one with --iface; this node has ${view.links.map((l) => l.name).join(", ")}`,
  });
}

/** A link, and the addresses that selected it, if any did. */
interface Found {
  readonly link: Link;
  readonly addresses?: readonly Ip[];
}

type Selector = readonly [because: string, choose: () => Found | string];

function selectors(view: NodeView, wish: InterfaceWish): Selector[] {
  const { canReach } = wish;
  const named: Selector[] = [
    ...wish.ifaces.map((iface): Selector => [
      `--iface ${iface}`,
      () => byNameOrAddress(view, iface),
    ]),
    ...wish.patterns.map((pattern): Selector => [
      `--iface-regex ${pattern.source}`,
      () => byPattern(view, pattern, wish.families),
    ]),
    ...(canReach === undefined
      ? []
      : [[`--iface-can-reach ${canReach}`, () => byReach(view, canReach)] as const]),
  ];
  if (named.length > 0) return named;
  const publicIp = wish.families.map((family) => wish.publicIps[family]).find((ip) => ip);
  const byPublic: Selector[] = publicIp === undefined
    ? []
    : [[`--public-ip ${publicIp}`, () => owner(view, publicIp)]];
  return [...byPublic, ["default route", () => byDefaultRoute(view, wish.families)]];
}

function byNameOrAddress(view: NodeView, iface: string): Found | string {
  const ip = asIp(iface);
  if (ip !== undefined) return owner(view, ip);
  const link = view.links.find((one) => one.name === iface);
  return link === undefined ? "there is no interface of that name" : { link };
}

function asIp(text: string): Ip | undefined {
  try {
    return parseIp(text);
  } catch {
    return undefined;
  }
}

function owner(view: NodeView, ip: Ip): Found | string {
  const index = view.addresses.find((address) => address.ip === ip)?.index;
  const link = view.links.find((one) => one.index === index);
  return link === undefined ? "no interface has that address" : { link, addresses: [ip] };
}

/** A link whose address matches in each family; else one whose name does. */
function byPattern(view: NodeView, pattern: RegExp, families: readonly Family[]): Found | string {
  const usable = view.links.filter(({ index }) =>
    families.every((family) => bestAddress(view.addresses, index, family) !== undefined)
  );
  for (const link of usable) {
    const matching = families.map((family) =>
      usableAddresses(view.addresses, link.index, family).find(({ ip }) => pattern.test(ip))?.ip
    );
    const [address] = matching;
    if (address === undefined || matching.includes(undefined)) continue;
    return { link, addresses: matching.filter((ip) => ip !== undefined) };
  }
  const link = usable.find(({ name }) => pattern.test(name));
  if (link !== undefined) return { link };
  const list = view.links.map(({ index, name }) =>
    `${name}:[${view.addresses.filter((a) => a.index === index).map((a) => a.ip).join(" ")}]`
  );
  return `could not match the pattern to any of the available network interfaces (${
    list.join(", ")
  })`;
}

/** The link of the most specific route to an address; of equal ones, the cheapest. */
function byReach(view: NodeView, ip: Ip): Found | string {
  const [route] = view.routes
    .filter(({ dst, blackhole }) => !blackhole && contains(dst, ip))
    .toSorted((a, b) => lengthOf(b.dst) - lengthOf(a.dst) || (a.metric ?? 0) - (b.metric ?? 0));
  const link = view.links.find(({ name }) => name === route?.dev);
  if (route === undefined || link === undefined) return "no route leads there";
  return route.src === undefined ? { link } : { link, addresses: [route.src] };
}

function byDefaultRoute(view: NodeView, families: readonly Family[]): Found | string {
  const links = families.map((family) => defaultLink(view, family));
  const [first] = links;
  const problem = links.find((link) => typeof link === "string");
  if (typeof problem === "string") return problem;
  if (first === undefined || typeof first === "string") return "no address family is enabled";
  const other = links.find((link) => typeof link === "object" && link.index !== first.index);
  if (typeof other === "object") {
    return `the IPv4 default route leaves by ${first.name}, the IPv6 one by ${other.name}`;
  }
  return { link: first };
}

function defaultLink(view: NodeView, family: Family): Link | string {
  const [route] = view.routes
    .filter((one) => one.dst as string === FAMILIES[family].any && !one.blackhole)
    .toSorted((a, b) => (a.metric ?? 0) - (b.metric ?? 0));
  if (route === undefined) return `unable to find an ${WORDS[family]} default route`;
  return view.links.find((link) => link.name === route.dev) ??
    `found an ${WORDS[family]} default route but could not determine its interface`;
}

function complete(
  view: NodeView,
  { families, publicIps }: InterfaceWish,
  { link, addresses: selected = [] }: Found,
  because: string,
): Chosen {
  const addresses: Partial<Record<Family, Ip>> = {};
  for (const family of families) {
    const own = selected.find((ip) => familyOf(ip) === family) ??
      bestAddress(view.addresses, link.index, family);
    if (own === undefined) {
      throw new OpError("use", `interface ${link.name}`, {
        code: ErrorCode.badConfig,
        kernel: `failed to find ${WORDS[family]} address for interface ${link.name}`,
        advice: "Give it one, or choose another interface with --iface",
      });
    }
    addresses[family] = own;
  }
  const published = families.map((family) => [family, publicIps[family] ?? addresses[family]]);
  return {
    underlay: { name: link.name, mtu: link.mtu, addresses, onLink: onLink(view, link) },
    publicIps: Object.fromEntries(published),
    because,
  };
}

/** `IFF_POINTOPOINT` and `IFF_NOARP`, linux/if.h: links where no neighbour answers for itself. */
const NO_NEIGHBOURS = 0x10 | 0x80;

/** The networks whose hosts this link reaches directly: those of its addresses. */
function onLink({ addresses }: NodeView, { index, flags }: Link): Cidr[] {
  if ((flags & NO_NEIGHBOURS) !== 0) return [];
  return addresses
    .filter((one) => one.index === index && one.length < FAMILIES[familyOf(one.ip)].bits)
    .map(({ ip, length }) => cidrOf(ip, length));
}

/** Addresses that are nobody's own or reach nowhere: unspecified, loopback, multicast. */
const UNFIT = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "224.0.0.0/4",
  "::/127",
  "ff00::/8",
] as string[] as Cidr[];
const LINK_LOCAL = ["169.254.0.0/16", "fe80::/10"] as string[] as Cidr[];

/** Global before link-local, permanent before dynamic, stable before temporary; then the first. */
function usableAddresses(
  addresses: readonly Address[],
  index: number,
  family: Family,
): readonly Address[] {
  const within = (nets: readonly Cidr[], ip: Ip): boolean => nets.some((net) => contains(net, ip));
  const rank = ({ ip, flags }: Address): number =>
    (within(LINK_LOCAL, ip) ? 4 : 0) +
    ((flags & AddressFlag.PERMANENT) === 0 ? 2 : 0) +
    ((flags & AddressFlag.TEMPORARY) === 0 ? 0 : 1);
  return addresses
    .filter((one) =>
      one.index === index && familyOf(one.ip) === family && !within(UNFIT, one.ip) &&
      (one.flags & AddressFlag.DEPRECATED) === 0
    )
    .toSorted((a, b) => rank(a) - rank(b));
}

function bestAddress(
  addresses: readonly Address[],
  index: number,
  family: Family,
): Ip | undefined {
  return usableAddresses(addresses, index, family)[0]?.ip;
}
