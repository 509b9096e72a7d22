/**
 * Frames as they would be with the port that IANA gave to VXLAN, which every reader of captures
 * knows. Linux, and so flannel and we, use an older one. Pure.
 *
 * @module
 */

import type { Packet } from "./decode.ts";

/** RFC 7348 §5. */
export const IANA_VXLAN_PORT = 4789;

/**
 * A copy of a frame in which the outermost VXLAN packet goes to {@link IANA_VXLAN_PORT}; a UDP
 * checksum that is right stays right. A frame without VXLAN is given back as it is.
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
  if (checksum !== 0) {
    view.setUint16(at + 6, replaced(checksum, destinationPort, IANA_VXLAN_PORT));
  }
  return copy;
}

/** RFC 1624 §3: the checksum after one 16-bit word has changed. */
function replaced(checksum: number, old: number, now: number): number {
  let sum = (~checksum & 0xffff) + (~old & 0xffff) + now;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  const result = ~sum & 0xffff;
  // UDP sends 0 as its other form (RFC 768).
  return result === 0 ? 0xffff : result;
}
