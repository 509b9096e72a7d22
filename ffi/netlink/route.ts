/**
 * Routes on the wire: `struct rtmsg` and `RTA_*` (linux/rtnetlink.h). Pure.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import {
  type Decoded,
  ip,
  type Members,
  plainNested,
  raw,
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

/** `struct rtmsg`. */
export const RTMSG = {
  size: 12,
  members: {
    family: { at: 0, as: u8 },
    destinationLength: { at: 1, as: u8 },
    sourceLength: { at: 2, as: u8 },
    tos: { at: 3, as: u8 },
    /** Tables above 255 stand in {@link ROUTE}'s `table`. */
    table: { at: 4, as: u8 },
    /** `RTPROT_*`. */
    protocol: { at: 5, as: u8 },
    /** `RT_SCOPE_*`. */
    scope: { at: 6, as: u8 },
    /** `RTN_*`. */
    type: { at: 7, as: u8 },
    /** `RTNH_F_*` and `RTM_F_*`. */
    flags: { at: 8, as: u32 },
  },
} as const satisfies Struct;

/** `RTN_*`. */
export const RouteType = { UNICAST: 1, LOCAL: 2, BLACKHOLE: 6 } as const;
/** `RT_SCOPE_*`. */
export const RouteScope = { UNIVERSE: 0, LINK: 253, HOST: 254 } as const;
/** `RTNH_F_ONLINK` and `RTM_F_*`. */
export const RouteFlag = {
  ONLINK: 4,
  CLONED: 0x200,
  /** GET: tell the table. */
  LOOKUP_TABLE: 0x1000,
  /** GET: tell the entry that matched, not the way. */
  FIB_MATCH: 0x2000,
} as const;

/** `RTAX_*`. */
export const METRICS = {
  /** Bytes. */
  mtu: { type: 2, as: u32 },
  advmss: { type: 8, as: u32 },
} as const;

/** `RTA_*`. */
export const ROUTE = {
  /** Absent for the default route. */
  destination: { type: 1, as: ip },
  source: { type: 2, as: ip },
  /** Index of the link by which the packet came in. */
  iif: { type: 3, as: u32 },
  gateway: { type: 5, as: ip },
  /** Index of the outgoing link. */
  oif: { type: 4, as: u32 },
  priority: { type: 6, as: u32 },
  preferredSource: { type: 7, as: ip },
  metrics: { type: 8, as: plainNested(METRICS) },
  /** Several next hops; kept as it came, since we make none. */
  multipath: { type: 9, as: raw },
  table: { type: 15, as: u32 },
  /** Of the packet that is asked about. */
  mark: { type: 16, as: u32 },
} as const;

/** `struct rtnexthop`, the head of each next hop in {@link ROUTE}'s `multipath`. */
const RTNEXTHOP = {
  size: 8,
  members: {
    length: { at: 0, as: u16 },
    flags: { at: 2, as: u8 },
    hops: { at: 3, as: u8 },
    index: { at: 4, as: s32 },
  },
} as const satisfies Struct;

/** The first of several next hops: its link, and its gateway if it has one. @throws {OpError} */
export function firstNextHop(
  multipath: Uint8Array,
): { readonly oif: number; readonly gateway?: Ip } {
  const { length, index } = readStruct(RTNEXTHOP, multipath);
  const { gateway } = readAttributes(ROUTE, multipath.subarray(RTNEXTHOP.size, length));
  return { oif: index, ...(gateway === undefined ? {} : { gateway }) };
}

/** A route message after the netlink header. */
export interface RouteMessage extends Partial<Members<typeof RTMSG>> {
  readonly attributes: Decoded<typeof ROUTE>;
}

/** Appends header and attributes. */
export function writeRoute(out: Writer, route: RouteMessage): void {
  writeStruct(out, RTMSG, route);
  writeAttributes(out, ROUTE, route.attributes);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readRoute(bytes: Uint8Array): RouteMessage & Members<typeof RTMSG> {
  return {
    ...readStruct(RTMSG, bytes),
    attributes: readAttributes(ROUTE, bytes.subarray(RTMSG.size)),
  };
}
