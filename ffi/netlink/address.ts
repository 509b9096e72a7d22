/**
 * Addresses on the wire: `struct ifaddrmsg` and `IFA_*` (linux/if_addr.h). Pure.
 *
 * @module
 */

import {
  type Decoded,
  ip,
  type Members,
  readAttributes,
  readStruct,
  type Struct,
  text,
  u32,
  u8,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";

/** `struct ifaddrmsg`. */
export const IFADDRMSG = {
  size: 8,
  members: {
    family: { at: 0, as: u8 },
    prefixLength: { at: 1, as: u8 },
    /** The low eight `IFA_F_*`; {@link ADDRESS}'s `flags` has all. */
    flags: { at: 2, as: u8 },
    scope: { at: 3, as: u8 },
    index: { at: 4, as: u32 },
  },
} as const satisfies Struct;

/** `IFA_F_*`. */
export const AddressFlag = {
  TEMPORARY: 0x01,
  NODAD: 0x02,
  DADFAILED: 0x08,
  DEPRECATED: 0x20,
  TENTATIVE: 0x40,
  PERMANENT: 0x80,
} as const;

/** `IFA_*`. */
export const ADDRESS = {
  /** The address itself; on point-to-point links `address` is the peer's. */
  local: { type: 2, as: ip },
  address: { type: 1, as: ip },
  broadcast: { type: 4, as: ip },
  label: { type: 3, as: text },
  flags: { type: 8, as: u32 },
} as const;

/** An address message after the netlink header. */
export interface AddressMessage extends Partial<Members<typeof IFADDRMSG>> {
  readonly attributes: Decoded<typeof ADDRESS>;
}

/** Appends header and attributes. */
export function writeAddress(out: Writer, address: AddressMessage): void {
  writeStruct(out, IFADDRMSG, address);
  writeAttributes(out, ADDRESS, address.attributes);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readAddress(bytes: Uint8Array): AddressMessage & Members<typeof IFADDRMSG> {
  return {
    ...readStruct(IFADDRMSG, bytes),
    attributes: readAttributes(ADDRESS, bytes.subarray(IFADDRMSG.size)),
  };
}
