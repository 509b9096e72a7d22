/**
 * Frames made to measure, and what a capture tells of them.
 *
 * @module
 */

import { ipBytes, parseIp } from "../../../engine/ip.ts";
import { ROUTED, type Sighting } from "../../../engine/packet/correlate.ts";
import { decode } from "../../../engine/packet/decode.ts";

/** An IPv4 packet on Ethernet. */
export interface Wish {
  /** Default 10.244.1.2 and 10.244.2.3. */
  readonly from?: string;
  readonly to?: string;
  readonly id?: number;
  readonly ttl?: number;
  /** `IPPROTO_*`. */
  readonly protocol: number;
  /** What stands behind the IP header. */
  readonly payload: readonly number[];
  /** Of a fragment: its offset in bytes, and whether more follow. */
  readonly offset?: number;
  readonly more?: boolean;
}

const be16 = (value: number): number[] => [value >> 8 & 255, value & 255];
const be32 = (value: number): number[] => [...be16(value >>> 16), ...be16(value)];

/** The bytes of such a frame. */
export function ipFrame(wish: Wish): Uint8Array {
  const { from = "10.244.1.2", to = "10.244.2.3", id = 0, ttl = 64, protocol, payload } = wish;
  const { offset = 0, more = false } = wish;
  return Uint8Array.of(
    ...[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0],
    ...[0x45, 0, ...be16(20 + payload.length), ...be16(id)],
    ...[...be16(offset / 8 | (more ? 0x2000 : 0)), ttl, protocol, 0, 0],
    ...[...ipBytes(parseIp(from)), ...ipBytes(parseIp(to)), ...payload],
  );
}

/** A fragment of an IPv6 datagram, or a whole one where `id` is absent, on Ethernet. */
export function ip6Frame(
  { id, offset = 0, more = false, protocol, payload }: Omit<Wish, "from" | "to" | "ttl">,
): Uint8Array {
  const header = id === undefined ? [] : [protocol, 0, ...be16(offset | Number(more)), ...be32(id)];
  const next = id === undefined ? protocol : 44;
  return Uint8Array.of(
    ...[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd],
    ...[0x60, 0, 0, 0, ...be16(header.length + payload.length), next, 64],
    ...[...ipBytes(parseIp("fd00::1:2")), ...ipBytes(parseIp("fd00::2:3"))],
    ...[...header, ...payload],
  );
}

/** `length` bytes of data, which depend on `seed`. */
export function data(length: number, seed = 1): number[] {
  return Array.from({ length }, (_, i) => i * 7 + seed * 13 & 255);
}

/** A UDP header and its data. */
export function udp(source: number, destination: number, content: readonly number[]): number[] {
  return [...be16(source), ...be16(destination), ...be16(8 + content.length), 0, 0, ...content];
}

/** What a TCP segment is made of. */
export interface Segment {
  /** Default 40000 to 80. */
  readonly ports?: readonly [number, number];
  readonly sequence: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly content?: readonly number[];
}

/** A TCP header and its data. */
export function tcp({ ports = [40000, 80], sequence, ...rest }: Segment): number[] {
  const { acknowledgement = 7, flags = 0x10, content = [] } = rest;
  return [
    ...[...be16(ports[0]), ...be16(ports[1]), ...be32(sequence), ...be32(acknowledgement)],
    ...[0x50, flags, 0x10, 0, 0, 0, 0, 0, ...content],
  ];
}

/** An ICMP echo. */
export function echo(
  id: number,
  sequence: number,
  content: readonly number[],
  type: 8 | 0 = 8,
): number[] {
  return [type, 0, 0, 0, ...be16(id), ...be16(sequence), ...content];
}

/** The frame inside VXLAN, VNI 1, from 192.0.2.1 to .2. */
export function inVxlan(inner: Uint8Array): Uint8Array {
  const vxlan = [8, 0, 0, 0, 0, 0, 1, 0, ...inner];
  const payload = udp(50000, 8472, vxlan);
  return ipFrame({ from: "192.0.2.1", to: "192.0.2.2", protocol: 17, payload });
}

/** The places on the way of a pod's packet out of the node, and of one to it. */
export const PLACES = {
  pod: { tap: 0, out: true, stage: 0 },
  veth: { tap: 1, out: false, stage: 1 },
  bridge: { tap: 2, out: false, stage: 2 },
  vtep: { tap: 3, out: true, stage: ROUTED + 3 },
  uplink: { tap: 4, out: true, stage: ROUTED + 4 },
  fromUplink: { tap: 4, out: false, stage: 0 },
  fromVtep: { tap: 3, out: false, stage: 1 },
  toBridge: { tap: 2, out: true, stage: ROUTED + 2 },
  toVeth: { tap: 1, out: true, stage: ROUTED + 3 },
  toPod: { tap: 0, out: false, stage: ROUTED + 4 },
  /** Another pod of the node. */
  pod2: { tap: 5, out: true, stage: 0 },
  veth2: { tap: 6, out: false, stage: 1 },
} as const;

/** The name of one of {@link PLACES}. */
export type Place = keyof typeof PLACES;

/** A frame at a place. */
export function seen(place: Place, at: number, bytes: Uint8Array): Sighting {
  const packet = decode(bytes, new Set([8472]));
  return { ...PLACES[place], at, packet, length: bytes.length, openChecksum: false };
}
