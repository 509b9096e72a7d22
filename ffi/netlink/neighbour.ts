/**
 * Neighbours and FDB entries on the wire: `struct ndmsg` and `NDA_*` (linux/neighbour.h). The
 * family `AF_BRIDGE` makes the same message an FDB entry. Pure.
 *
 * @module
 */

import {
  type Decoded,
  ip,
  mac,
  type Members,
  readAttributes,
  readStruct,
  s32,
  type Struct,
  u16,
  u32,
  u8,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";

/** `struct ndmsg`. */
export const NDMSG = {
  size: 12,
  members: {
    family: { at: 0, as: u8 },
    index: { at: 4, as: s32 },
    /** `NUD_*`. */
    state: { at: 8, as: u16 },
    /** `NTF_*`. */
    flags: { at: 10, as: u8 },
    type: { at: 11, as: u8 },
  },
} as const satisfies Struct;

/** `NUD_*`. */
export const NeighbourState = { PERMANENT: 0x80 } as const;
/** `NTF_*`. */
export const NeighbourFlag = { SELF: 0x02, MASTER: 0x04 } as const;

/** `NDA_*`. */
export const NEIGHBOUR = {
  /** The IP address; of an FDB entry: the outer address. */
  destination: { type: 1, as: ip },
  address: { type: 2, as: mac },
  /** Index of the bridge that a port belongs to. */
  master: { type: 9, as: u32 },
  /** Outer link, when it is not the device's own. */
  ifindex: { type: 8, as: u32 },
} as const;

/** A neighbour message after the netlink header. */
export interface NeighbourMessage extends Partial<Members<typeof NDMSG>> {
  readonly attributes: Decoded<typeof NEIGHBOUR>;
}

/** Appends header and attributes. */
export function writeNeighbour(out: Writer, neighbour: NeighbourMessage): void {
  writeStruct(out, NDMSG, neighbour);
  writeAttributes(out, NEIGHBOUR, neighbour.attributes);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readNeighbour(bytes: Uint8Array): NeighbourMessage & Members<typeof NDMSG> {
  return {
    ...readStruct(NDMSG, bytes),
    attributes: readAttributes(NEIGHBOUR, bytes.subarray(NDMSG.size)),
  };
}
