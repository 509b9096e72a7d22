/**
 * Echo requests and replies as bytes (RFC 792, RFC 4443). Pure.
 *
 * @module
 */

import type { Family } from "../ip.ts";

/** What differs between the families. */
const ROWS = {
  4: { request: 8, reply: 0, header: 20 },
  6: { request: 128, reply: 129, header: 40 },
} as const;

/** Bytes of type, code, checksum, identifier and sequence number. */
const ICMP_HEADER = 8;

/** The smallest echo of ours, bytes with the IP header of the larger family. */
export const SMALLEST = 64;

/** Which echo it is. */
export interface EchoName {
  readonly id: number;
  readonly sequence: number;
}

/**
 * An echo request, without its IP header, which the kernel writes.
 *
 * @param size bytes of the whole packet, IP header included.
 * @throws {RangeError} when the size has no room for the headers.
 */
export function echoRequest(
  family: Family,
  { id, sequence }: EchoName,
  size: number,
): Uint8Array<ArrayBuffer> {
  const { request, header } = ROWS[family];
  if (size < header + ICMP_HEADER) throw new RangeError(`no echo has ${size} bytes`);
  const bytes = new Uint8Array(size - header);
  const view = new DataView(bytes.buffer);
  bytes[0] = request;
  view.setUint16(4, id);
  view.setUint16(6, sequence);
  // In IPv6 it covers addresses too, and the kernel computes it.
  if (family === 4) view.setUint16(2, checksum(bytes));
  return bytes;
}

/** Which echo a received packet answers; undefined when it is something else. */
export function readEchoReply(family: Family, bytes: Uint8Array): EchoName | undefined {
  // A raw socket hands out the header in IPv4, and not in IPv6.
  const at = family === 4 ? ((bytes[0] ?? 0) & 0xf) * 4 : 0;
  if (bytes.length < at + ICMP_HEADER || bytes[at] !== ROWS[family].reply) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  return { id: view.getUint16(4), sequence: view.getUint16(6) };
}

/** The Internet checksum (RFC 1071) of an even or odd number of bytes. */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
