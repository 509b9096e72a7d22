/**
 * A filter that the kernel runs before it queues an event for us: each pod that comes or goes is
 * some thirty events that are none of our business, and each would wake us. In classic BPF
 * (linux/filter.h; `SO_ATTACH_FILTER`). Pure.
 *
 * @module
 */

import { LINK } from "./netlink/link.ts";
import { ROUTE } from "./netlink/route.ts";
import { Af, Rtm } from "./netlink/rtnetlink.ts";

/** Bytes of one `struct sock_filter`. */
const SIZE = 8;

/** What of links, addresses, neighbours and routes is let through. */
export interface Focus {
  /** Links by name. */
  readonly names: readonly string[];
  /** Their indexes: addresses, neighbours and forwarding entries of other links are not heard. */
  readonly indexes: readonly number[];
}

/** `struct sock_filter`: code, jump when true, jump when false, operand. */
type Instruction = readonly [code: number, jt: number, jf: number, k: number];

/** `BPF_*`, linux/bpf_common.h: class, size and mode of the codes that we use. */
const Code = {
  LD_IMM: 0x00,
  LDX_IMM: 0x01,
  JA: 0x05,
  RET: 0x06,
  TAX: 0x07,
  JEQ: 0x15,
  LD_WORD: 0x20,
  LD_HALF: 0x28,
  LD_BYTE: 0x30,
  LD_WORD_X: 0x40,
  LD_BYTE_X: 0x50,
  LD_HALF_X: 0x48,
  AND: 0x54,
} as const;

/** `SKF_AD_OFF + SKF_AD_NLATTR`: offset of attribute X in the attributes that begin at A, or 0. */
const FIND_ATTRIBUTE = 0xfffff000 + 12;

const HEAR: Instruction = [Code.RET, 0, 0, 0xffffffff];
const DROP: Instruction = [Code.RET, 0, 0, 0];

/** `struct nlmsghdr`: its length, and where the type stands. */
const HEADER = { size: 16, type: 4 } as const;
/** In `struct ifaddrmsg` and `struct ndmsg` alike: the link's index. */
const INDEX_AT = HEADER.size + 4;
/** `struct rtmsg`. */
const ROUTE_HEADER = {
  family: HEADER.size,
  table: HEADER.size + 4,
  end: HEADER.size + 12,
} as const;
/** End of `struct ifinfomsg`. */
const LINK_END = HEADER.size + 16;
/** `struct nlattr`. */
const ATTRIBUTE_HEADER = 4;
/** `RT_TABLE_LOCAL`, linux/rtnetlink.h. */
const LOCAL_TABLE = 255;

/** Lets everything through. */
export const HEAR_ALL: Uint8Array<ArrayBuffer> = assemble([HEAR]);

/** The filter's program, as an array of `struct sock_filter`. */
export function eventFilter(focus: Focus): Uint8Array<ArrayBuffer> {
  const blocks: readonly (readonly [types: readonly number[], block: readonly Instruction[]])[] = [
    [[Rtm.NEWLINK, Rtm.DELLINK], ofNames(focus.names)],
    [
      [Rtm.NEWADDR, Rtm.DELADDR, Rtm.NEWNEIGH, Rtm.DELNEIGH],
      ofIndexes(focus.indexes),
    ],
    [[Rtm.NEWROUTE, Rtm.DELROUTE], ofRoutes()],
  ];
  const program: Instruction[] = [[Code.LD_HALF, 0, 0, HEADER.type]];
  for (const [types, block] of blocks) {
    // Whoever is none of these types goes behind the block; jumps of that length want JA.
    types.forEach((type, n) => program.push([Code.JEQ, types.length - n, 0, half(type)]));
    program.push([Code.JA, 0, 0, block.length], ...block);
  }
  return assemble([...program, HEAR]);
}

function ofNames(names: readonly string[]): Instruction[] {
  return [...find(LINK_END, LINK.name.type), ...names.flatMap(sameText), DROP];
}

/** Lets through when the attribute at X is this text, with its zero byte. */
function sameText(text: string): Instruction[] {
  const bytes = new TextEncoder().encode(`${text}\0`);
  const view = new DataView(bytes.buffer);
  const tests: (readonly [code: number, at: number, value: number])[] = [];
  let at = 0;
  for (; at + 4 <= bytes.length; at += 4) tests.push([Code.LD_WORD_X, at, view.getUint32(at)]);
  if (at + 2 <= bytes.length) tests.push([Code.LD_HALF_X, at, view.getUint16(at)]), at += 2;
  if (at < bytes.length) tests.push([Code.LD_BYTE_X, at, view.getUint8(at)]);
  return [
    ...tests.flatMap(([code, offset, value], n): Instruction[] => [
      [code, 0, 0, ATTRIBUTE_HEADER + offset],
      [Code.JEQ, 0, 2 * (tests.length - n - 1) + 1, value],
    ]),
    HEAR,
  ];
}

function ofIndexes(indexes: readonly number[]): Instruction[] {
  return [
    [Code.LD_WORD, 0, 0, INDEX_AT],
    ...indexes.flatMap((index): Instruction[] => [[Code.JEQ, 0, 1, word(index)], HEAR]),
    DROP,
  ];
}

/** All but those of the local table, and those of link-local and multicast networks. */
function ofRoutes(): Instruction[] {
  return [
    [Code.LD_BYTE, 0, 0, ROUTE_HEADER.table],
    [Code.JEQ, 0, 1, LOCAL_TABLE],
    DROP,
    [Code.LD_BYTE, 0, 0, ROUTE_HEADER.family],
    [Code.JEQ, 1, 0, Af.INET6],
    HEAR,
    ...find(ROUTE_HEADER.end, ROUTE.destination.type),
    [Code.LD_HALF_X, 0, 0, ATTRIBUTE_HEADER],
    [Code.AND, 0, 0, 0xff00],
    [Code.JEQ, 0, 1, 0xff00],
    DROP,
    [Code.LD_HALF_X, 0, 0, ATTRIBUTE_HEADER],
    [Code.AND, 0, 0, 0xffc0],
    [Code.JEQ, 0, 1, 0xfe80],
    DROP,
    HEAR,
  ];
}

/** Puts the offset of an attribute into X; lets through what has none. */
function find(from: number, type: number): Instruction[] {
  return [
    [Code.LD_IMM, 0, 0, from],
    [Code.LDX_IMM, 0, 0, type],
    [Code.LD_WORD, 0, 0, FIND_ATTRIBUTE],
    [Code.JEQ, 0, 1, 0],
    HEAR,
    [Code.TAX, 0, 0, 0],
  ];
}

/** Loads are big-endian, netlink's integers are the host's, little-endian. */
function half(value: number): number {
  return (value & 0xff) << 8 | value >> 8;
}

function word(value: number): number {
  return (half(value & 0xffff) << 16 | half(value >>> 16)) >>> 0;
}

function assemble(program: readonly Instruction[]): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(program.length * SIZE));
  program.forEach(([code, jt, jf, k], n) => {
    view.setUint16(n * SIZE, code, true);
    view.setUint8(n * SIZE + 2, jt);
    view.setUint8(n * SIZE + 3, jf);
    view.setUint32(n * SIZE + 4, k, true);
  });
  return new Uint8Array(view.buffer);
}
