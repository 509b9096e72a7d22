/**
 * Which packets are wanted. Pure.
 *
 * @module
 */

import { bounds, type Cidr, familyOf } from "../ip.ts";
import type { Hop, Journey } from "./correlate.ts";
import { type Packet, Protocol } from "./decode.ts";

/** The names of `--proto`. As in tcpdump, `icmp` is that of IPv4: what IPv6 tells itself is apart. */
export const PROTOCOLS = ["tcp", "udp", "icmp", "icmp6", "sctp", "arp"] as const;
/** One of {@link PROTOCOLS}. */
export type ProtocolName = typeof PROTOCOLS[number];

const NUMBERS: Readonly<Record<ProtocolName, readonly number[]>> = {
  tcp: [Protocol.TCP],
  udp: [Protocol.UDP],
  icmp: [Protocol.ICMP],
  icmp6: [Protocol.ICMPV6],
  sctp: [Protocol.SCTP],
  arp: [],
};

/** What a packet must be; an empty list says nothing. Of one list any will do, of all lists one. */
export interface Filter {
  /** Source or destination lies in one of these. */
  readonly hosts: readonly Cidr[];
  /** As `hosts`, also of the outer packet: the addresses and subnets of other nodes. */
  readonly peers: readonly Cidr[];
  /** Source or destination port. */
  readonly ports: readonly number[];
  readonly protocols: readonly ProtocolName[];
}

/** A filter, ready to be asked often. */
export class Matcher {
  readonly #filter: Filter;
  readonly #everything: boolean;
  readonly #hosts: readonly Range[];
  readonly #peers: readonly Range[];
  readonly #ports: ReadonlySet<number>;
  readonly #numbers: ReadonlySet<number>;

  constructor(filter: Filter) {
    this.#filter = filter;
    this.#everything = Object.values(filter).every((list) => list.length === 0);
    this.#hosts = filter.hosts.map(rangeOf);
    this.#peers = filter.peers.map(rangeOf);
    this.#ports = new Set(filter.ports);
    this.#numbers = new Set(filter.protocols.flatMap((name) => NUMBERS[name]));
  }

  /** True when one of a packet's forms (before and after NAT) is wanted. */
  wants(journey: Journey): boolean {
    if (this.#everything) return true;
    const hops = journey.places;
    return this.#any(this.#hosts, hops, false) && this.#any(this.#peers, hops, true) &&
      this.#hasPort(journey, hops) && this.#hasProtocol(hops);
  }

  #any(ranges: readonly Range[], hops: readonly Hop[], outer: boolean): boolean {
    if (ranges.length === 0) return true;
    return hops.some(({ inner, first: { packet } }) =>
      touches(ranges, inner) || outer && packet !== inner && touches(ranges, packet)
    );
  }

  #hasPort(journey: Journey, hops: readonly Hop[]): boolean {
    if (this.#ports.size === 0) return true;
    if (journey.ports?.some((port) => this.#ports.has(port))) return true;
    return hops.some(({ inner: { network } }) => {
      if (network.kind !== "ip") return false;
      const { transport } = network;
      // An error message belongs to the connection that it is about.
      const about = transport.kind === "icmp" ? transport.about?.transport : transport;
      return about !== undefined && "sourcePort" in about &&
        (this.#ports.has(about.sourcePort) || this.#ports.has(about.destinationPort));
    });
  }

  #hasProtocol(hops: readonly Hop[]): boolean {
    const { protocols } = this.#filter;
    if (protocols.length === 0) return true;
    return hops.some(({ inner: { network } }) => {
      switch (network.kind) {
        case "ip":
          return this.#numbers.has(network.protocol);
        case "arp":
          return protocols.includes("arp");
        case "other":
          return false;
      }
    });
  }
}

/** A prefix as bytes: those of its first and its last address. */
interface Range {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

function rangeOf(cidr: Cidr): Range {
  const { first, last } = bounds(cidr);
  const size = familyOf(cidr) === 4 ? 4 : 16;
  return { first: bigEndian(first, size), last: bigEndian(last, size) };
}

function bigEndian(value: bigint, size: number): Uint8Array {
  return Uint8Array.from(
    { length: size },
    (_, i) => Number(value >> BigInt(8 * (size - 1 - i)) & 0xffn),
  );
}

function touches(ranges: readonly Range[], { bytes, network }: Packet): boolean {
  switch (network.kind) {
    case "ip": {
      const size = network.family === 4 ? 4 : 16;
      return ranges.some((range) =>
        lies(range, bytes, network.source, size) || lies(range, bytes, network.destination, size)
      );
    }
    case "arp":
      return ranges.some((range) =>
        lies(range, bytes, network.sender, 4) || lies(range, bytes, network.target, 4)
      );
    case "other":
      return false;
  }
}

function lies({ first, last }: Range, bytes: Uint8Array, at: number, size: number): boolean {
  if (first.length !== size) return false;
  return order(bytes, at, first) >= 0 && order(bytes, at, last) <= 0;
}

function order(bytes: Uint8Array, at: number, other: Uint8Array): number {
  for (let i = 0; i < other.length; i++) {
    const difference = bytes[at + i]! - other[i]!;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** True when a packet's source or destination lies in one of the prefixes. */
export class Region {
  readonly #ranges: readonly Range[];

  constructor(prefixes: readonly Cidr[]) {
    this.#ranges = prefixes.map(rangeOf);
  }

  /** Asks of one packet. */
  touches(packet: Packet): boolean {
    return touches(this.#ranges, packet);
  }
}
