/**
 * What the relay of the udp backend does to packets: it is a router with one rule. Pure, and
 * in place: a packet is never copied.
 *
 * @module
 */

import { bounds, type Cidr4, type Ip4, ipBytes, lengthOf } from "../ip.ts";

/** Where things stand in an IPv4 header, RFC 791 section 3.1. */
const AT = { fragment: 6, ttl: 8, protocol: 9, checksum: 10, source: 12, destination: 16 } as const;

/** Bytes of an IPv4 header without options, and of an ICMP header. */
const IP_HEADER = 20;
const ICMP_HEADER = 8;
const ICMP = 1;

/** ICMP's answer quotes so much behind the header, RFC 792. */
const QUOTED = 8;

/** The TTL of our answers: they go no farther than this node's pods. */
const ANSWER_TTL = 8;

/** True when these bytes are an IPv4 packet whose header is whole. */
export function isIpv4(packet: Uint8Array, length: number): boolean {
  const first = packet[0] ?? 0;
  const header = (first & 0x0f) * 4;
  return length >= IP_HEADER && first >> 4 === 4 && header >= IP_HEADER && header <= length;
}

/** The destination of a packet that {@link isIpv4}, as a number. */
export function destinationOf(packet: Uint8Array): number {
  return read32(packet, AT.destination);
}

/**
 * One hop: lowers the TTL, and corrects the checksum by the difference (RFC 1624).
 *
 * @returns False when the packet has come to its end.
 */
export function age(packet: Uint8Array): boolean {
  const ttl = packet[AT.ttl] ?? 0;
  if (ttl <= 1) return false;
  packet[AT.ttl] = ttl - 1;
  const sum = read16(packet, AT.checksum) + 0x100;
  write16(packet, AT.checksum, sum + (sum >= 0xffff ? 1 : 0));
  return true;
}

/**
 * The answer to a packet that nobody owns: ICMP "network unreachable" (RFC 792: type 3, code 0).
 *
 * @param from the node's own address on the tun device.
 * @returns Undefined for packets that must not be answered: ICMP, and fragments but the first.
 */
export function unreachable(
  packet: Uint8Array,
  length: number,
  from: Ip4,
): Uint8Array<ArrayBuffer> | undefined {
  const isLater = (read16(packet, AT.fragment) & 0x1fff) !== 0;
  if (packet[AT.protocol] === ICMP || isLater) return undefined;
  const quoted = Math.min(length, ((packet[0] ?? 0) & 0x0f) * 4 + QUOTED);
  const answer = new Uint8Array(IP_HEADER + ICMP_HEADER + quoted);
  answer[0] = 0x45;
  write16(answer, 2, answer.length);
  answer[AT.ttl] = ANSWER_TTL;
  answer[AT.protocol] = ICMP;
  answer.set(ipBytes(from), AT.source);
  answer.set(packet.subarray(AT.source, AT.source + 4), AT.destination);
  write16(answer, AT.checksum, checksum(answer.subarray(0, IP_HEADER)));
  const icmp = answer.subarray(IP_HEADER);
  icmp[0] = 3;
  icmp.set(packet.subarray(0, quoted), ICMP_HEADER);
  write16(icmp, 2, checksum(icmp));
  return answer;
}

/** The internet checksum, RFC 1071. */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += read16(bytes, i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function read16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) << 8 | (bytes[at + 1] ?? 0);
}

function read32(bytes: Uint8Array, at: number): number {
  return (read16(bytes, at) << 16 | read16(bytes, at + 2)) >>> 0;
}

function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/** Networks and what belongs to each; the longest that holds an address wins. */
export class PrefixTable<T> {
  /** Longest first; in each, base addresses. */
  readonly #rows: { readonly length: number; readonly bases: Map<number, T> }[] = [];

  /** Adds a network, or replaces what belongs to it. */
  set(net: Cidr4, value: T): void {
    const length = lengthOf(net);
    let row = this.#rows.find((one) => one.length === length);
    if (row === undefined) {
      row = { length, bases: new Map() };
      this.#rows.push(row);
      this.#rows.sort((a, b) => b.length - a.length);
    }
    row.bases.set(Number(bounds(net).first), value);
  }

  /** The same networks, with what a function makes of what belongs to each. */
  map<U>(change: (value: T) => U): PrefixTable<U> {
    const table = new PrefixTable<U>();
    for (const { length, bases } of this.#rows) {
      const changed = [...bases].map(([base, value]) => [base, change(value)] as const);
      table.#rows.push({ length, bases: new Map(changed) });
    }
    return table;
  }

  /** What belongs to an address, given as a number. */
  find(address: number): T | undefined {
    for (const { length, bases } of this.#rows) {
      // A shift by 32 is one by 0 in this language.
      const base = length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
      const found = bases.get(base);
      if (found !== undefined) return found;
    }
    return undefined;
  }
}
