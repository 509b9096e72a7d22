/**
 * Generic netlink: the header of its messages, and the question for a family's number
 * (linux/genetlink.h). Pure.
 *
 * @module
 */

import {
  type Decoded,
  type Fields,
  readAttributes,
  type Struct,
  text,
  u16,
  u8,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";

/** `NETLINK_GENERIC`, linux/netlink.h. */
export const NETLINK_GENERIC = 16;

/** `GENL_ID_CTRL`: the family that knows the others; the only fixed number. */
export const CONTROL_FAMILY = 16;

/** `struct genlmsghdr`. */
export const GENLMSGHDR = {
  size: 4,
  members: { command: { at: 0, as: u8 }, version: { at: 1, as: u8 } },
} as const satisfies Struct;

/** `CTRL_CMD_GETFAMILY`. */
const GETFAMILY = 3;

/** `CTRL_ATTR_*`. */
const FAMILY = { id: { type: 1, as: u16 }, name: { type: 2, as: text } } as const;

/** Appends a message's header and attributes; all families that we speak are of version 1. */
export function writeGeneric<T extends Fields>(
  out: Writer,
  command: number,
  table: T,
  value: Decoded<T>,
): void {
  writeStruct(out, GENLMSGHDR, { command, version: 1 });
  writeAttributes(out, table, value);
}

/** The attributes of a message. @throws {OpError} when the bytes are malformed */
export function readGeneric<T extends Fields>(table: T, bytes: Uint8Array): Decoded<T> {
  return readAttributes(table, bytes.subarray(GENLMSGHDR.size));
}

/** Appends the question for a family's number. */
export function writeFamilyQuestion(out: Writer, name: string): void {
  writeGeneric(out, GETFAMILY, FAMILY, { name });
}

/** The number in the answer. @throws {OpError} */
export function readFamily(bytes: Uint8Array): number | undefined {
  return readGeneric(FAMILY, bytes).id;
}
