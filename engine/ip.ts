/**
 * Addresses and prefixes as branded text in one canonical form (RFC 5952 for IPv6), so that
 * equality is `===`, a `Map` key is the value itself, and JSON needs no conversion.
 *
 * Two address families are two rows of {@link FAMILIES}; the arithmetic is written once, on
 * `bigint`.
 *
 * @module
 */

/** An IPv4 address, canonical dotted quad. */
export type Ip4 = string & { readonly __ip4: unique symbol };
/** An IPv6 address, canonical text of RFC 5952; an IPv4-mapped one stays IPv6. */
export type Ip6 = string & { readonly __ip6: unique symbol };
/** An address of either family. */
export type Ip = Ip4 | Ip6;
/** An IPv4 network: prefix length 0 to 32, host bits zero. */
export type Cidr4 = string & { readonly __cidr4: unique symbol };
/** An IPv6 network: prefix length 0 to 128, host bits zero. */
export type Cidr6 = string & { readonly __cidr6: unique symbol };
/** A network of either family. */
export type Cidr = Cidr4 | Cidr6;
/** An address with the length of its network, host bits kept: `10.244.1.1/24`. */
export type Inet = string & { readonly __inet: unique symbol };

/** 4 or 6. */
export type Family = 4 | 6;

/** What differs between the families; everything else here is written once. */
export const FAMILIES = {
  4: { bits: 32, bytes: 4, any: "0.0.0.0/0" as Cidr4 },
  6: { bits: 128, bytes: 16, any: "::/0" as Cidr6 },
} as const satisfies Record<Family, { bits: number; bytes: number; any: Cidr }>;

const QUAD = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/;
const LENGTH = /^(0|[1-9]\d{0,2})$/;

/** The IPv4 value of a dotted quad without leading zeros, or undefined. */
function quad(text: string): bigint | undefined {
  const match = QUAD.exec(text);
  if (match === null) return undefined;
  let value = 0n;
  for (const part of match.slice(1)) {
    const byte = Number(part);
    if (byte > 255) return undefined;
    value = (value << 8n) | BigInt(byte);
  }
  return value;
}

/** The IPv6 value of RFC 4291 §2.2 text (no zone), or undefined. */
function hextets(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groups: (bigint[] | undefined)[] = halves.map((half, i) => {
    if (half === "") return [];
    const out: bigint[] = [];
    const parts = half.split(":");
    for (const [j, part] of parts.entries()) {
      const last = i === halves.length - 1 && j === parts.length - 1;
      if (last && part.includes(".")) {
        const v4 = quad(part);
        if (v4 === undefined) return undefined;
        out.push(v4 >> 16n, v4 & 0xffffn);
      } else if (/^[0-9a-f]{1,4}$/i.test(part)) {
        out.push(BigInt(`0x${part}`));
      } else return undefined;
    }
    return out;
  });
  const [head, tail] = groups;
  if (head === undefined || (halves.length === 2 && tail === undefined)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const all = tail === undefined ? head : [...head, ...Array(missing).fill(0n), ...tail];
  return all.reduce((value: bigint, group: bigint) => (value << 16n) | group, 0n);
}

function text6(value: bigint): string {
  return groupsText(
    Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn)),
  );
}

/** RFC 5952 text: lower case, no leading zeros, the first longest run of zeros (2 or more) as `::`. */
function groupsText(groups: readonly number[]): string {
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) {
    const quads = groups.slice(6).flatMap((group) => [group >> 8, group & 0xff]);
    return `::ffff:${quads.join(".")}`;
  }
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = (part: readonly number[]): string => part.map((g) => g.toString(16)).join(":");
  return best.at < 0
    ? hex(groups)
    : `${hex(groups.slice(0, best.at))}::${hex(groups.slice(best.at + best.length))}`;
}

function text4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 0xffn).join(".");
}

/**
 * Reads an IPv4 address: four decimal numbers without leading zeros.
 *
 * @throws {SyntaxError} when the text is anything else.
 */
export function parseIp4(text: string): Ip4 {
  if (quad(text) === undefined) {
    throw new SyntaxError(`invalid IPv4 address ${JSON.stringify(text)}`);
  }
  return text as Ip4;
}

/**
 * Reads an IPv6 address in any RFC 4291 spelling, without a zone.
 *
 * @throws {SyntaxError} when the text is anything else.
 */
export function parseIp6(text: string): Ip6 {
  const value = text.includes(":") ? hextets(text) : undefined;
  if (value === undefined) throw new SyntaxError(`invalid IPv6 address ${JSON.stringify(text)}`);
  return text6(value) as Ip6;
}

/**
 * Reads an address of either family.
 *
 * @throws {SyntaxError} when the text is neither.
 */
export function parseIp(text: string): Ip {
  if (text.includes(":")) return parseIp6(text);
  if (quad(text) === undefined) throw new SyntaxError(`invalid IP address ${JSON.stringify(text)}`);
  return text as Ip4;
}

/** The family of an address, a network, or an address with length. */
export function familyOf(text: Ip | Cidr | Inet): Family {
  return text.includes(":") ? 6 : 4;
}

/** True when the address, network, or address with length is IPv4. */
export function isIp4(ip: Ip): ip is Ip4 {
  return familyOf(ip) === 4;
}

/**
 * Reads `address/length`, keeping the host bits.
 *
 * @throws {SyntaxError} when either part is not valid.
 */
export function parseInet(text: string): Inet {
  const slash = text.indexOf("/");
  const length = slash < 0 ? "" : text.slice(slash + 1);
  if (!LENGTH.test(length)) throw new SyntaxError(`invalid CIDR address ${JSON.stringify(text)}`);
  let ip: Ip;
  try {
    ip = parseIp(text.slice(0, slash));
  } catch {
    throw new SyntaxError(`invalid CIDR address ${JSON.stringify(text)}`);
  }
  if (Number(length) > FAMILIES[familyOf(ip)].bits) {
    throw new SyntaxError(`invalid CIDR address ${JSON.stringify(text)}`);
  }
  return `${ip}/${length}` as Inet;
}

/**
 * Reads a network whose host bits are zero.
 *
 * @throws {SyntaxError} when the text is not a network or has host bits set.
 */
export function parseCidr(text: string): Cidr {
  const inet = parseInet(text);
  const cidr = networkOf(inet);
  if (cidr as string !== inet) {
    throw new SyntaxError(
      `network ${JSON.stringify(text)} has host bits set; did you mean ${cidr}`,
    );
  }
  return cidr;
}

/** {@link parseCidr} for IPv4 only. @throws {SyntaxError} */
export function parseCidr4(text: string): Cidr4 {
  const cidr = parseCidr(text);
  if (familyOf(cidr) !== 4) throw new SyntaxError(`invalid IPv4 network ${JSON.stringify(text)}`);
  return cidr as Cidr4;
}

/** {@link parseCidr} for IPv6 only. @throws {SyntaxError} */
export function parseCidr6(text: string): Cidr6 {
  const cidr = parseCidr(text);
  if (familyOf(cidr) !== 6) throw new SyntaxError(`invalid IPv6 network ${JSON.stringify(text)}`);
  return cidr as Cidr6;
}

/** The address part. For a network: its base address. */
export function addressOf(prefix: Cidr4): Ip4;
export function addressOf(prefix: Cidr6): Ip6;
export function addressOf(prefix: Cidr | Inet): Ip;
export function addressOf(prefix: Cidr | Inet): Ip {
  return prefix.slice(0, prefix.indexOf("/")) as Ip;
}

/** The prefix length, 0 to 32 or 128. */
export function lengthOf(prefix: Cidr | Inet): number {
  return Number(prefix.slice(prefix.indexOf("/") + 1));
}

/** The network that an address with length lies in: host bits cleared. */
export function networkOf(inet: Inet): Cidr {
  return cidrOf(addressOf(inet), lengthOf(inet));
}

/**
 * The network of the given length that holds the address.
 *
 * @throws {RangeError} when the length does not fit the family.
 */
export function cidrOf(ip: Ip, length: number): Cidr {
  const family = familyOf(ip);
  const { bits } = FAMILIES[family];
  checkLength(length, bits);
  // The kernel's lists are full of these: plain numbers are quicker than big ones.
  if (length === bits) return `${ip}/${length}` as Cidr;
  if (family === 4) return `${masked4(ip, length)}/${length}` as Cidr;
  const host = BigInt(bits - length);
  return `${ipFromNumber(family, (ipNumber(ip) >> host) << host)}/${length}` as Cidr;
}

/** An IPv4 address without the bits behind a prefix of this length. */
function masked4(ip: Ip, length: number): string {
  return ip.split(".").map((part, i) => {
    const kept = Math.min(8, Math.max(0, length - 8 * i));
    return Number(part) & (0xff00 >> kept);
  }).join(".");
}

/** The network of just this address. */
export function hostPrefix(ip: Ip): Cidr {
  return cidrOf(ip, FAMILIES[familyOf(ip)].bits);
}

/**
 * An address with the length of its network.
 *
 * @throws {RangeError} when the length does not fit the family.
 */
export function inetOf(ip: Ip, length: number): Inet {
  checkLength(length, FAMILIES[familyOf(ip)].bits);
  return `${ip}/${length}` as Inet;
}

function checkLength(length: number, bits: number): void {
  if (!Number.isInteger(length) || length < 0 || length > bits) {
    throw new RangeError(`prefix length ${length} is not in 0 to ${bits}`);
  }
}

/** The address as a number, 0 to 2^32-1 or 2^128-1. */
export function ipNumber(ip: Ip): bigint {
  const value = familyOf(ip) === 4 ? quad(ip) : hextets(ip);
  if (value === undefined) throw new SyntaxError(`invalid IP address ${JSON.stringify(ip)}`);
  return value;
}

/**
 * The address that has this number.
 *
 * @throws {RangeError} when the family has no such address.
 */
export function ipFromNumber(family: Family, value: bigint): Ip {
  if (value < 0n || value >> BigInt(FAMILIES[family].bits) !== 0n) {
    throw new RangeError(`${value} is no IPv${family} address`);
  }
  return (family === 4 ? text4(value) : text6(value)) as Ip;
}

/** The address in network byte order, 4 or 16 bytes. */
export function ipBytes(ip: Ip): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FAMILIES[familyOf(ip)].bytes);
  let value = ipNumber(ip);
  for (let i = bytes.length - 1; i >= 0; i--, value >>= 8n) bytes[i] = Number(value & 0xffn);
  return bytes;
}

/**
 * The address in these bytes (network byte order).
 *
 * @throws {RangeError} when there are neither 4 nor 16.
 */
export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return bytes.join(".") as Ip4;
  if (bytes.length !== 16) {
    throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  }
  const group = (i: number): number => (bytes[2 * i] ?? 0) << 8 | (bytes[2 * i + 1] ?? 0);
  return groupsText(Array.from({ length: 8 }, (_, i) => group(i))) as Ip6;
}

/** First and last number of a network. */
export function bounds(cidr: Cidr): { readonly first: bigint; readonly last: bigint } {
  const first = ipNumber(addressOf(cidr));
  const host = BigInt(FAMILIES[familyOf(cidr)].bits - lengthOf(cidr));
  return { first, last: first | ((1n << host) - 1n) };
}

/** The last address of a network: for IPv4 its broadcast address. */
export function lastOf(cidr: Cidr): Ip {
  return ipFromNumber(familyOf(cidr), bounds(cidr).last);
}

/** True when the address lies in the network; never across families. */
export function contains(cidr: Cidr, ip: Ip): boolean {
  if (familyOf(cidr) !== familyOf(ip)) return false;
  const { first, last } = bounds(cidr);
  const value = ipNumber(ip);
  return first <= value && value <= last;
}

/** True when the networks share an address; never across families. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return contains(a, addressOf(b)) || contains(b, addressOf(a));
}

/**
 * The address `step` places after this one.
 *
 * @throws {RangeError} when that leaves the family's range.
 */
export function ipPlus(ip: Ip, step: bigint): Ip {
  return ipFromNumber(familyOf(ip), ipNumber(ip) + step);
}
