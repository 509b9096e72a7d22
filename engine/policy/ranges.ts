/**
 * Networks with exceptions as disjoint ranges of addresses, the only form in which nft's interval
 * sets take them without merging anything by themselves.
 *
 * @module
 */

import { bounds, type Cidr, FAMILIES, type Family, familyOf, ipFromNumber } from "../ip.ts";

/** Addresses `first` to `last`, both included. */
export interface IpRange {
  readonly first: bigint;
  readonly last: bigint;
}

/** A network without some others. */
export interface Block {
  readonly cidr: Cidr;
  readonly except: readonly Cidr[];
}

/** What lies in any of the blocks of a family: sorted, disjoint, with a gap between each two. */
export function rangesOf(blocks: readonly Block[], family: Family): IpRange[] {
  const own = blocks.filter(({ cidr }) => familyOf(cidr) === family);
  return union(own.flatMap(({ cidr, except }) =>
    subtract(
      bounds(cidr),
      union(except.filter((net) => familyOf(net) === family).map(bounds)),
    )
  ));
}

function union(ranges: readonly IpRange[]): IpRange[] {
  const out: IpRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.first < b.first ? -1 : 1)) {
    const before = out.at(-1);
    if (before === undefined || before.last + 1n < range.first) out.push(range);
    else if (before.last < range.last) out[out.length - 1] = { ...before, last: range.last };
  }
  return out;
}

/** @param holes sorted and disjoint. */
function subtract({ first, last }: IpRange, holes: readonly IpRange[]): IpRange[] {
  const out: IpRange[] = [];
  let from = first;
  for (const hole of holes) {
    if (hole.last < from || hole.first > last) continue;
    if (from < hole.first) out.push({ first: from, last: hole.first - 1n });
    from = hole.last + 1n;
  }
  if (from <= last) out.push({ first: from, last });
  return out;
}

/** The range as an element of an nft set: an address, `FIRST-LAST`, or the whole family. */
export function rangeText(family: Family, { first, last }: IpRange): string {
  const end = (1n << BigInt(FAMILIES[family].bits)) - 1n;
  if (first === 0n && last === end) return FAMILIES[family].any;
  const text = ipFromNumber(family, first);
  return first === last ? text : `${text}-${ipFromNumber(family, last)}`;
}
