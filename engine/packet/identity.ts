/**
 * How the copies of one packet are known for the same. Pure.
 *
 * On its way through a node a packet changes: VXLAN wraps it, routers lower its TTL, NAT replaces
 * addresses and ports, devices leave checksums open, cut large TCP packets up or put small ones
 * together. What stays is its fingerprint: identification, sequence numbers, the first payload.
 *
 * @module
 */

import { type IpPart, type Packet, TcpFlag } from "./decode.ts";

/** What a packet is known by. */
export interface Identity {
  /** Equal for all copies; 32 bits, so different packets may have the same. */
  readonly fingerprint: number;
  /**
   * The stream of bytes that the packet is a piece of, where packets may be cut and put together: a
   * TCP connection's direction, or one IP datagram. 0 for none.
   */
  readonly stream: number;
  /** The piece: its first byte's number in the stream, modulo 2^32, and its length. */
  readonly start: number;
  readonly length: number;
}

/** Bytes of payload that the fingerprint takes in; a capture cuts frames to a few more headers. */
const PAYLOAD = 32;

/** The flags that every piece of a TCP packet that was cut up has: FIN and PSH only its last one. */
const SHARED_FLAGS = TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK;

/** FNV-1a, 32 bits, over whole numbers instead of bytes: quick, and mixed enough for a map. */
function mix(hash: number, value: number): number {
  return Math.imul(hash ^ value, 0x01000193) ^ (value >>> 16);
}

const BASIS = 0x811c9dc5 | 0;

function mixBytes(hash: number, bytes: Uint8Array, from: number, to: number): number {
  const end = Math.min(to, bytes.length);
  let mixed = hash;
  for (let i = from; i < end; i++) mixed = Math.imul(mixed ^ bytes[i]!, 0x01000193);
  return mixed;
}

/** What the innermost packet is known by. */
export function identify({ bytes, at, etherType, network }: Packet): Identity {
  switch (network.kind) {
    case "ip":
      return ofIp(bytes, network);
    case "arp": {
      const hash = mix(mix(BASIS, etherType), network.operation);
      return alone(mixBytes(hash, bytes, network.senderMac, network.target + 4));
    }
    case "other":
      return alone(mixBytes(mix(BASIS, etherType), bytes, at, at + 64));
  }
}

function alone(fingerprint: number): Identity {
  return { fingerprint, stream: 0, start: 0, length: 0 };
}

function ofIp(bytes: Uint8Array, ip: IpPart): Identity {
  const { family, protocol, transport, id, fragment, offset, payload, length } = ip;
  // A node that puts IPv6 fragments together sends new ones, with another identification.
  let hash = mix(mix(mix(BASIS, family << 8 | protocol), family === 4 ? id : 0), offset);
  const content = Math.min(payload + length, bytes.length);
  switch (transport.kind) {
    case "tcp": {
      const { sequence, acknowledgement, flags, window, data } = transport;
      hash = mix(mix(hash, sequence), acknowledgement);
      hash = mix(mix(hash, flags & SHARED_FLAGS), window);
      hash = mixBytes(hash, bytes, data, Math.min(data + PAYLOAD, content));
      if (fragment) break;
      const stream = transport.length === 0 ? 0 : streamOf(bytes, ip);
      return { fingerprint: hash, stream, start: sequence, length: transport.length };
    }
    case "udp":
      hash = mix(hash, transport.length);
      hash = mixBytes(hash, bytes, payload + 8, Math.min(payload + 8 + PAYLOAD, content));
      break;
    case "icmp": {
      hash = mix(mix(hash, transport.type << 8 | transport.code), transport.echo?.sequence ?? 0);
      hash = mixBytes(hash, bytes, payload + 8, Math.min(payload + 8 + PAYLOAD, content));
      break;
    }
    case "sctp":
      // Behind the ports and the checksum, which devices may leave open.
      hash = mix(hash, transport.tag);
      hash = mixBytes(hash, bytes, payload + 12, Math.min(payload + 12 + PAYLOAD, content));
      break;
    case "other":
      hash = mixBytes(hash, bytes, payload, Math.min(payload + PAYLOAD, content));
  }
  // Without an identification nothing tells pieces of two datagrams apart.
  const stream = id === 0 ? 0 : datagramOf(bytes, ip);
  return { fingerprint: hash, stream, start: offset, length };
}

function streamOf(bytes: Uint8Array, ip: IpPart): number {
  const size = ip.family === 4 ? 4 : 16;
  const hash = mixBytes(mix(BASIS, ip.protocol), bytes, ip.source, ip.destination + size);
  return mixBytes(hash, bytes, ip.payload, ip.payload + 4) || 1;
}

/** One IP datagram: all fragments of it give the same number. */
export function datagramOf(bytes: Uint8Array, ip: IpPart): number {
  const size = ip.family === 4 ? 4 : 16;
  const hash = mix(mix(BASIS, ip.protocol << 8), ip.id);
  return mixBytes(hash, bytes, ip.source, ip.destination + size) || 1;
}

/** How two packets of one fingerprint relate. */
export type Likeness =
  /** The same addresses and ports. */
  | "same"
  /** NAT may have made one of the other. */
  | "translated"
  | "different";

/** Compares two innermost packets that have one fingerprint. */
export function compare(a: Packet, b: Packet): Likeness {
  const [x, y] = [a.network, b.network];
  if (x.kind !== "ip" || y.kind !== "ip") {
    return x.kind === y.kind && a.etherType === b.etherType ? "same" : "different";
  }
  if (x.family !== y.family || x.protocol !== y.protocol) return "different";
  const size = x.family === 4 ? 4 : 16;
  const source = equal(a.bytes, x.source, b.bytes, y.source, size);
  const destination = equal(a.bytes, x.destination, b.bytes, y.destination, size);
  if (source && destination && samePorts(x, y)) return "same";
  if (x.transport.kind !== y.transport.kind) return "different";
  // TCP's two random numbers are enough where both addresses were replaced.
  return source || destination || x.transport.kind === "tcp" ? "translated" : "different";
}

function samePorts({ transport: a }: IpPart, { transport: b }: IpPart): boolean {
  if (a.kind === "icmp") return b.kind === "icmp" && a.echo?.id === b.echo?.id;
  if (!("sourcePort" in a)) return a.kind === b.kind;
  return "sourcePort" in b && a.sourcePort === b.sourcePort &&
    a.destinationPort === b.destinationPort;
}

function equal(a: Uint8Array, i: number, b: Uint8Array, j: number, size: number): boolean {
  for (let k = 0; k < size; k++) if (a[i + k] !== b[j + k]) return false;
  return true;
}
