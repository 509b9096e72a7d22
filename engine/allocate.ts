/**
 * The allocator. It hands out the next free block of a few ranges: a subnet to a node (blocks of
 * /24 or /64), or an address to a pod (blocks of /32 or /128). Only the lengths differ.
 *
 * Two properties matter to the callers. A released block comes back as late as possible, because
 * the search starts behind the block that was handed out last. And nothing is remembered here:
 * what is taken is the caller's word at the moment it is asked, so a caller that loses a race
 * simply takes the next value of the generator.
 *
 * @module
 */

import {
  addressOf,
  bounds,
  type Cidr,
  FAMILIES,
  type Family,
  familyOf,
  type Ip,
  ipFromNumber,
  ipNumber,
} from "./ip.ts";

/** Addresses from which blocks are handed out. Ranges of one call do not overlap. */
export interface AllocRange {
  /** No block begins before this address. */
  readonly first: Ip;
  /** No block begins after this address; the last block may end behind it. */
  readonly last: Ip;
  /** Prefix length of each block: 24 or 64 for a node's subnet, 32 or 128 for one address. */
  readonly length: number;
}

/** An {@link AllocRange} as numbers: blocks `from` to `to` of `1 << host` addresses each. */
interface Blocks {
  readonly family: Family;
  readonly length: number;
  readonly host: bigint;
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * The free blocks of the ranges, in order: first those behind the block that holds `after`, to the
 * end of the ranges, then from the first range on, and the block of `after` last of all. Without
 * `after`, or when no range holds it, the order is that of the ranges. Blocks are aligned to their
 * length; a range that begins between two blocks begins with the second.
 *
 * `taken` is asked once for each block, when the consumer wants the next one.
 *
 * ```ts
 * import { freeBlocks } from "./allocate.ts";
 * import { parseIp } from "./ip.ts";
 *
 * const range = { first: parseIp("10.3.1.0"), last: parseIp("10.3.255.0"), length: 24 };
 * const [block] = freeBlocks([range], (b) => b === "10.3.7.0/24", parseIp("10.3.6.0"));
 * if (block !== "10.3.8.0/24") throw new Error(block);
 * ```
 *
 * @throws {RangeError} when a range mixes families or its length does not fit them.
 */
export function* freeBlocks(
  ranges: readonly AllocRange[],
  taken: (block: Cidr) => boolean,
  after?: Ip,
): Generator<Cidr, void, undefined> {
  const all = ranges.map(toBlocks);
  const start = after === undefined ? undefined : locate(all, after);
  for (const piece of start === undefined ? all : rotate(all, start)) {
    for (let i = piece.from; i <= piece.to; i++) {
      const base = ipFromNumber(piece.family, i << piece.host);
      const block = `${base}/${piece.length}` as Cidr;
      if (!taken(block)) yield block;
    }
  }
}

/**
 * The first of {@link freeBlocks}, or undefined when every block is taken.
 *
 * @throws {RangeError} when a range mixes families or its length does not fit them.
 */
export function allocate(
  ranges: readonly AllocRange[],
  taken: (block: Cidr) => boolean,
  after?: Ip,
): Cidr | undefined {
  for (const block of freeBlocks(ranges, taken, after)) return block;
  return undefined;
}

/**
 * A test for {@link freeBlocks}: does a block share an address with any of these networks? The
 * networks are sorted once, so each question costs a binary search, not a walk.
 */
export function overlapsAny(networks: Iterable<Cidr>): (block: Cidr) => boolean {
  const spans: Record<Family, Span[]> = { 4: [], 6: [] };
  for (const network of networks) spans[familyOf(network)].push(bounds(network));
  const merged = { 4: merge(spans[4]), 6: merge(spans[6]) };
  return (block) => {
    const { first, last } = bounds(block);
    const sorted = merged[familyOf(block)];
    // The first span that ends at or behind our first address; no earlier one can touch us.
    let [low, high] = [0, sorted.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle]!.last < first) low = middle + 1;
      else high = middle;
    }
    const span = sorted[low];
    return span !== undefined && span.first <= last;
  };
}

type Span = { readonly first: bigint; readonly last: bigint };

/** Sorted, and overlapping spans joined, so that first and last addresses both ascend. */
function merge(spans: readonly Span[]): Span[] {
  const out: Span[] = [];
  for (const span of spans.toSorted((a, b) => (a.first < b.first ? -1 : 1))) {
    const previous = out.at(-1);
    if (previous === undefined || previous.last < span.first) out.push(span);
    else if (previous.last < span.last) {
      out[out.length - 1] = { first: previous.first, last: span.last };
    }
  }
  return out;
}

function toBlocks({ first, last, length }: AllocRange): Blocks {
  const family = familyOf(first);
  const { bits } = FAMILIES[family];
  if (familyOf(last) !== family) throw new RangeError(`range ${first} to ${last} mixes families`);
  if (!Number.isInteger(length) || length < 0 || length > bits) {
    throw new RangeError(`block length ${length} is not in 0 to ${bits}`);
  }
  const host = BigInt(bits - length);
  const roundUp = (1n << host) - 1n;
  return {
    family,
    length,
    host,
    from: (ipNumber(first) + roundUp) >> host,
    to: ipNumber(last) >> host,
  };
}

/** Which range and block hold the address. */
function locate(all: readonly Blocks[], ip: Ip): { range: number; block: bigint } | undefined {
  for (const [range, { family, host, from, to }] of all.entries()) {
    if (family !== familyOf(ip)) continue;
    const block = ipNumber(ip) >> host;
    if (from <= block && block <= to) return { range, block };
  }
  return undefined;
}

/** The same blocks in another order: from behind `start` to the end, then up to and with it. */
function rotate(all: readonly Blocks[], start: { range: number; block: bigint }): Blocks[] {
  const cut = all[start.range]!;
  return [
    { ...cut, from: start.block + 1n },
    ...all.slice(start.range + 1),
    ...all.slice(0, start.range),
    { ...cut, to: start.block },
  ];
}

/** A network as a range of blocks: all of it, first and last block included. */
export function rangeOf(network: Cidr, length: number): AllocRange {
  const { last } = bounds(network);
  return { first: addressOf(network), last: ipFromNumber(familyOf(network), last), length };
}
