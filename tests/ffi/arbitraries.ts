/**
 * Random netlink messages for property tests, derived from the very tables that encode them: a
 * new attribute is tested the day it is added.
 *
 * @module
 */

import fc from "fast-check";
import { ADDRESS, type AddressMessage, IFADDRMSG } from "../../ffi/netlink/address.ts";
import {
  be16,
  type Decoded,
  type Fields,
  flag,
  ip,
  mac,
  type Members,
  raw,
  s32,
  type Struct,
  text,
  u16,
  u32,
  u8,
} from "../../ffi/netlink/codec.ts";
import {
  BRIDGE,
  BRIDGE_PORT,
  IFINFOMSG,
  LINK,
  type LinkInfo,
  type LinkMessage,
  VXLAN,
} from "../../ffi/netlink/link.ts";
import { NDMSG, NEIGHBOUR, type NeighbourMessage } from "../../ffi/netlink/neighbour.ts";
import { METRICS, ROUTE, type RouteMessage, RTMSG } from "../../ffi/netlink/route.ts";
import * as any from "../engine/arbitraries.ts";

/** Objects as literals make them, so that they compare equal to what a decoder returns. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

/** Bytes, few of them. */
export const bytes: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 64 });

const names = fc.string({ unit: "binary", maxLength: 20 }).map((name) => name.replaceAll("\0", ""));

/** One arbitrary for each format; the formats are compared by identity. */
const BY_FORMAT = new Map<unknown, fc.Arbitrary<unknown>>([
  [u8, fc.nat(0xff)],
  [u16, fc.nat(0xffff)],
  [be16, fc.nat(0xffff)],
  [u32, fc.nat(0xffffffff)],
  [s32, fc.integer()],
  [raw, bytes],
  [text, names],
  [ip, fc.oneof(any.ip(4), any.ip(6))],
  [mac, any.mac],
  [flag, fc.constant(true)],
]);

function members<S extends Struct>(struct: S): fc.Arbitrary<Members<S>> {
  return record(
    Object.fromEntries(
      Object.entries(struct.members).map(([name, { as }]) => [name, byFormat(as)]),
    ),
  ) as fc.Arbitrary<Members<S>>;
}

function byFormat(format: unknown): fc.Arbitrary<unknown> {
  const arbitrary = BY_FORMAT.get(format);
  if (arbitrary === undefined) throw new Error("a format without an arbitrary");
  return arbitrary;
}

/** Any choice of a table's attributes, and some that the table does not know. */
export function decoded<T extends Fields>(
  table: T,
  special: Partial<Record<keyof T, fc.Arbitrary<unknown>>> = {},
): fc.Arbitrary<Decoded<T>> {
  const known = new Set(Object.values(table).map(({ type }) => type));
  const unknown = record({
    type: fc.integer({ min: 1, max: 0x3fff }).filter((type) => !known.has(type)),
    bytes,
  });
  const fields = Object.entries(table).map(([name, { as }]) =>
    [name, special[name] ?? byFormat(as)] as const
  );
  return fc.record(
    { ...Object.fromEntries(fields), rest: fc.array(unknown, { minLength: 1, maxLength: 3 }) },
    { requiredKeys: [], noNullPrototype: true },
  ) as unknown as fc.Arbitrary<Decoded<T>>;
}

const { info: _info, ...PEER_LINK } = LINK;

function message(attributes: fc.Arbitrary<LinkMessage["attributes"]>): fc.Arbitrary<LinkMessage> {
  return fc.tuple(members(IFINFOMSG), attributes).map(([head, attributes]) => ({
    ...head,
    attributes,
  }));
}

const driver: fc.Arbitrary<LinkInfo> = fc.oneof(
  fc.constant({}),
  record({ kind: names.filter((kind) => !["vxlan", "bridge", "veth"].includes(kind)) }),
  record({ kind: fc.constant("vxlan"), vxlan: decoded(VXLAN) }),
  record({ kind: fc.constant("bridge"), bridge: decoded(BRIDGE) }),
  record({ kind: fc.constant("veth"), peer: message(decoded(PEER_LINK)) }),
);

const port: fc.Arbitrary<LinkInfo> = fc.oneof(
  fc.constant({}),
  record({ slaveKind: names.filter((kind) => kind !== "bridge") }),
  record({ slaveKind: fc.constant("bridge"), bridgePort: decoded(BRIDGE_PORT) }),
);

const info = fc.tuple(driver, port).map(([driver, port]): LinkInfo => ({ ...driver, ...port }));

/** Links. */
export const link: fc.Arbitrary<LinkMessage> = message(decoded(LINK, { info }));

/** Addresses. */
export const address: fc.Arbitrary<AddressMessage> = fc
  .tuple(members(IFADDRMSG), decoded(ADDRESS))
  .map(([head, attributes]) => ({ ...head, attributes }));

/** Routes. */
export const route: fc.Arbitrary<RouteMessage> = fc
  .tuple(members(RTMSG), decoded(ROUTE, { metrics: decoded(METRICS) }))
  .map(([head, attributes]) => ({ ...head, attributes }));

/** Neighbours and FDB entries. */
export const neighbour: fc.Arbitrary<NeighbourMessage> = fc
  .tuple(members(NDMSG), decoded(NEIGHBOUR))
  .map(([head, attributes]) => ({ ...head, attributes }));
