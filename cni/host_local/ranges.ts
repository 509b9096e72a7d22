/**
 * Ranges of addresses, as an operator writes them, and what they mean.
 *
 * @module
 */

import type { AllocRange } from "../../engine/allocate.ts";
import {
  addressOf,
  bounds,
  type Cidr,
  contains,
  FAMILIES,
  type Family,
  familyOf,
  type Ip,
  ipFromNumber,
  ipNumber,
  lengthOf,
  parseCidr,
  parseIp,
} from "../../engine/ip.ts";
import type { Fields } from "../../engine/json.ts";

/** Addresses of one subnet, with the gateway that pods in it use. */
export interface Range extends AllocRange {
  readonly subnet: Cidr;
  /** Never handed out; may lie outside the subnet. */
  readonly gateway: Ip;
}

/** Ranges of one family; a pod gets one address out of each set. */
export type RangeSet = readonly Range[];

/** Network, broadcast and gateway must leave one address: at most /30 and /126. */
const SPARE_BITS = 2;

/**
 * Reads one range: `subnet`, and optionally `rangeStart`, `rangeEnd`, `gateway`.
 *
 * @throws {SyntaxError} when the subnet is missing, has host bits or is too small, or when a bound
 *   lies outside it.
 */
export function parseRange(fields: Fields): Range {
  const subnet = parseSubnet(fields);
  const family = familyOf(subnet);
  const { first: base, last } = bounds(subnet);
  const ip = (name: string): Ip | undefined => {
    const text = fields.string(name);
    return text === undefined || text === "" ? undefined : parsePlainIp(text);
  };
  const start = ip("rangeStart") ?? ipFromNumber(family, base + 1n);
  const end = ip("rangeEnd") ?? ipFromNumber(family, family === 4 ? last - 1n : last);
  for (const [name, bound] of [["rangeStart", start], ["rangeEnd", end]] as const) {
    if (!contains(subnet, bound)) {
      throw new SyntaxError(`${name} ${bound} not in network ${subnet}`);
    }
  }
  if (ipNumber(start) > ipNumber(end)) {
    throw new SyntaxError(`rangeStart ${start} is behind rangeEnd ${end}`);
  }
  const gateway = ip("gateway") ?? ipFromNumber(family, base + 1n);
  return { subnet, first: start, last: end, gateway, length: FAMILIES[family].bits };
}

function parseSubnet(fields: Fields): Cidr {
  const text = fields.string("subnet");
  if (text === undefined) {
    throw new SyntaxError(`${fields.pathOf("subnet")}: want a CIDR, got nothing`);
  }
  const subnet = parseCidr(text);
  if (isMapped(addressOf(subnet))) {
    throw new SyntaxError(`${subnet} is an IPv4-mapped network, write it as IPv4`);
  }
  if (lengthOf(subnet) > FAMILIES[familyOf(subnet)].bits - SPARE_BITS) {
    throw new SyntaxError(`network ${subnet} is too small to allocate from`);
  }
  return subnet;
}

/**
 * Reads an address; an IPv4-mapped IPv6 address becomes the IPv4 address that it stands for.
 *
 * @throws {SyntaxError} when the text is no address.
 */
export function parsePlainIp(text: string): Ip {
  const ip = parseIp(text);
  return isMapped(ip) ? ipFromNumber(4, ipNumber(ip) & 0xffffffffn) : ip;
}

function isMapped(ip: Ip): boolean {
  return ip.startsWith("::ffff:") && ip.includes(".");
}

/**
 * Checks the sets against each other.
 *
 * @throws {SyntaxError} when a set is empty or mixes families, or when two ranges overlap.
 */
export function checkSets(sets: readonly RangeSet[]): void {
  for (const [n, set] of sets.entries()) {
    const fault = setFault(set);
    if (fault !== undefined) throw new SyntaxError(`invalid range set ${n}: ${fault}`);
    for (const [m, other] of sets.slice(0, n).entries()) {
      const pair = overlap(set, other);
      if (pair !== undefined) {
        throw new SyntaxError(`range sets ${m} and ${n} overlap: ${pair[1]} and ${pair[0]}`);
      }
    }
  }
}

function setFault(set: RangeSet): string | undefined {
  const family = familyOfSet(set);
  if (family === undefined) return "empty range set";
  for (const [i, range] of set.entries()) {
    if (familyOf(range.subnet) !== family) return "mixed address families";
    const pair = overlap([range], set.slice(0, i));
    if (pair !== undefined) return `subnets overlap: ${pair[1]} and ${pair[0]}`;
  }
  return undefined;
}

/** The family of a set; undefined when the set is empty. */
export function familyOfSet(set: RangeSet): Family | undefined {
  return set[0] === undefined ? undefined : familyOf(set[0].subnet);
}

function overlap(a: RangeSet, b: RangeSet): readonly [string, string] | undefined {
  for (const one of a) {
    for (const other of b) {
      if (inRange(one, other.first) || inRange(other, one.first)) {
        return [formatSet([one]), formatSet([other])];
      }
    }
  }
  return undefined;
}

/** True when the range may hand out the address (or skips it as its gateway). */
export function inRange(range: Range, ip: Ip): boolean {
  if (familyOf(ip) !== familyOf(range.subnet)) return false;
  const number = ipNumber(ip);
  return ipNumber(range.first) <= number && number <= ipNumber(range.last);
}

/** The range of a set that holds the address. */
export function rangeOf(set: RangeSet, ip: Ip): Range | undefined {
  return set.find((range) => inRange(range, ip));
}

/** The set as messages show it: `10.1.2.1-10.1.2.6,10.1.3.1-10.1.3.6`. */
export function formatSet(set: RangeSet): string {
  return set.map((range) => `${range.first}-${range.last}`).join(",");
}
