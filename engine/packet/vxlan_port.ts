/**
 * Frames as they would be with the port that IANA gave to VXLAN, which every reader of captures
 * knows. Linux, and so flannel and we, use an older one. Pure.
 *
 * @module
 */

import { type IpPart, type Packet, Protocol } from "./decode.ts";

/** RFC 7348 §5. */
export const IANA_VXLAN_PORT = 4789;

/**
 * A copy of a frame in which the outermost VXLAN packet goes to {@link IANA_VXLAN_PORT}. A UDP
 * checksum that is right stays right, and one that a device was to fill in is filled in; one that is
 * wrong stays wrong. A frame without VXLAN is given back as it is.
 */
export function withIanaPort({ bytes, network }: Packet): Uint8Array {
  if (network.kind !== "ip") return bytes;
  const { transport } = network;
  if (transport.kind !== "udp" || transport.vxlan === undefined) return bytes;
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  const { at, destinationPort } = transport;
  view.setUint16(at + 2, IANA_VXLAN_PORT);
  const checksum = view.getUint16(at + 6);
  // 0 stands for none.
  if (checksum === 0) return copy;
  const pseudo = pseudoSum(view, network, 8 + transport.length);
  const now = checksum === fold(pseudo) && at + 8 + transport.length <= bytes.length
    ? complete(view, at, 8 + transport.length, pseudo)
    : replaced(checksum, destinationPort, IANA_VXLAN_PORT);
  // UDP sends 0 as its other form (RFC 768).
  view.setUint16(at + 6, now === 0 ? 0xffff : now);
  return copy;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** The sum of what UDP's checksum covers beside the datagram: it alone stands for an open one. */
function pseudoSum(
  view: DataView,
  { source, destination, family }: IpPart,
  length: number,
): number {
  const size = family === 4 ? 4 : 16;
  let sum = Protocol.UDP + length;
  for (let i = 0; i < size; i += 2) {
    sum += view.getUint16(source + i) + view.getUint16(destination + i);
  }
  return sum;
}

/** The checksum of a whole datagram (RFC 1071). */
function complete(view: DataView, at: number, length: number, pseudo: number): number {
  let sum = pseudo;
  for (let i = 0; i + 1 < length; i += 2) if (i !== 6) sum += view.getUint16(at + i);
  if (length % 2 === 1) sum += view.getUint8(at + length - 1) << 8;
  return ~fold(sum) & 0xffff;
}

/** RFC 1624 §3: the checksum after one 16-bit word has changed. */
function replaced(checksum: number, old: number, now: number): number {
  return ~fold((~checksum & 0xffff) + (~old & 0xffff) + now) & 0xffff;
}
