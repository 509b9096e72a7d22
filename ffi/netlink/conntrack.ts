/**
 * Tracked connections on the wire: `CTA_*` (linux/netfilter/nfnetlink_conntrack.h), as far as they
 * are found by their original destination port and deleted. Pure.
 *
 * @module
 */

import {
  be16,
  be32,
  type Decoded,
  type Fields,
  ip,
  type Members,
  nested,
  raw,
  readAttributes,
  readStruct,
  u32,
  u8,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";
import { messageType, NFGENMSG, Subsystem } from "./netfilter.ts";

/** `IPCTNL_MSG_CT_*` as message types. */
export const ConntrackMessage = {
  /** Without the flag to create: changes what is there. */
  NEW: messageType(Subsystem.CTNETLINK, 0),
  GET: messageType(Subsystem.CTNETLINK, 1),
  DELETE: messageType(Subsystem.CTNETLINK, 2),
} as const;

/** `CTA_PROTO_*`. */
export const CT_PROTO = {
  /** `IPPROTO_*`. */
  number: { type: 1, as: u8 },
  sourcePort: { type: 2, as: be16 },
  destinationPort: { type: 3, as: be16 },
} as const satisfies Fields;

/** `CTA_IP_*`. */
export const CT_ADDRESSES = {
  source4: { type: 1, as: ip },
  destination4: { type: 2, as: ip },
  source6: { type: 3, as: ip },
  destination6: { type: 4, as: ip },
} as const satisfies Fields;

/** `CTA_TUPLE_*`. */
export const CT_TUPLE = {
  addresses: { type: 1, as: nested(CT_ADDRESSES) },
  proto: { type: 2, as: nested(CT_PROTO) },
  zone: { type: 3, as: raw },
} as const satisfies Fields;

/** `CTA_FILTER_*`: which parts of the tuple in the same message count. */
export const CT_FILTER = { original: { type: 1, as: u32 } } as const satisfies Fields;

/** `CTA_FILTER_F_CTA_PROTO_*`, net/netfilter/nf_internals.h of the kernel. */
export const FilterFlag = { PROTO_NUM: 1 << 3, PROTO_DST_PORT: 1 << 5 } as const;

/** `CTA_*`. */
export const CONNTRACK = {
  /** The packets that opened the connection. */
  original: { type: 1, as: nested(CT_TUPLE) },
  mark: { type: 8, as: be32 },
  id: { type: 12, as: raw },
  zone: { type: 18, as: raw },
  /** Which bits of the mark are meant. */
  markMask: { type: 21, as: be32 },
  /** Kernels before 5.8 do not know it, and tell everything. */
  filter: { type: 25, as: nested(CT_FILTER) },
} as const satisfies Fields;

/** A message after the netlink header. */
export interface ConntrackRecord extends Partial<Members<typeof NFGENMSG>> {
  readonly attributes: Decoded<typeof CONNTRACK>;
}

/** Appends header and attributes. */
export function writeConntrack(out: Writer, message: ConntrackRecord): void {
  writeStruct(out, NFGENMSG, message);
  writeAttributes(out, CONNTRACK, message.attributes);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readConntrack(bytes: Uint8Array): ConntrackRecord & Members<typeof NFGENMSG> {
  return {
    ...readStruct(NFGENMSG, bytes),
    attributes: readAttributes(CONNTRACK, bytes.subarray(NFGENMSG.size)),
  };
}

/** Which connections: a protocol, and the port that the opening packets were sent to. */
export interface PortFlow {
  /** `AF_INET` or `AF_INET6`. */
  readonly family: number;
  /** `IPPROTO_*`. */
  readonly protocol: number;
  readonly port: number;
}

/** The question for connections of one flow. */
export function flowQuestion({ family, protocol, port }: PortFlow): ConntrackRecord {
  return {
    family,
    attributes: {
      original: { proto: { number: protocol, destinationPort: port } },
      filter: { original: FilterFlag.PROTO_NUM | FilterFlag.PROTO_DST_PORT },
    },
  };
}

/** True when a connection is one of the flow. */
export function isOfFlow(found: ConntrackRecord, { family, protocol, port }: PortFlow): boolean {
  const { proto } = found.attributes.original ?? {};
  return found.family === family && proto?.number === protocol && proto.destinationPort === port;
}

/** What names a connection in a deletion: this very one, not a later one of the same addresses. */
export function connectionKey({ family = 0, attributes }: ConntrackRecord): ConntrackRecord {
  const { original, id, zone } = attributes;
  return {
    family,
    attributes: {
      ...(original === undefined ? {} : { original }),
      ...(id === undefined ? {} : { id }),
      ...(zone === undefined ? {} : { zone }),
    },
  };
}
