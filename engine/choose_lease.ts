/**
 * Which subnet a node leases, where the nodes choose for themselves. Pure: it looks at all leases
 * once and says what to do; the store does it, and asks again when another node was faster.
 *
 * @module
 */

import { type AllocRange, freeBlocks, overlapsAny } from "./allocate.ts";
import {
  addressOf,
  type Cidr,
  type Cidr4,
  type Cidr6,
  type Family,
  type Ip,
  ipNumber,
  lengthOf,
} from "./ip.ts";
import { type LeaseSubnets, leaseSubnets } from "./lease.ts";
import type { LeaseRanges } from "./net_conf.ts";

/** One lease in the store, as far as the choice needs it. */
export interface Claim extends LeaseSubnets {
  /** The node's address for peers; absent when the record cannot be read. */
  readonly publicIp?: Ip;
  /** The record has no end of life: somebody keeps this subnet for that node. */
  readonly reserved: boolean;
  /**
   * Who holds the lease, where that is known for certain; absent: whoever has its address. Another
   * node's lease is not touched, also if that node has our address.
   */
  readonly holder?: "us" | "another";
}

/** What the choice depends on. */
export interface ChoiceInput<C extends Claim> {
  /** All leases, in the store's order, own ones included. */
  readonly claims: readonly C[];
  /** What nodes may lease; says which families are wanted. */
  readonly ranges: LeaseRanges;
  /** This node's address for peers: how it knows its own lease again. */
  readonly publicIp?: Ip;
  /** What this node had before, from its subnet file or from a lease that was lost. */
  readonly previous: LeaseSubnets;
  /** 0 to 1. Spreads nodes that start together, so that they rarely want the same subnet. */
  readonly random: () => number;
}

/** What to do. `remove` lists own leases that do not fit the configuration any more. */
export type Choice<C extends Claim> =
  /** The node has a lease: write it again. */
  | { readonly kind: "keep"; readonly claim: C; readonly remove: readonly C[] }
  /** Create a lease for these subnets, if nobody did so meanwhile. */
  | {
    readonly kind: "create";
    readonly subnets: LeaseSubnets;
    /** The families whose subnet the node had before. */
    readonly again: readonly Family[];
    readonly remove: readonly C[];
  }
  /** No subnet of this family is free. */
  | { readonly kind: "full"; readonly family: Family; readonly remove: readonly C[] };

/** A new lease is one of this many free subnets, the first ones; flannel's number. */
const CANDIDATES = 100;

/**
 * Chooses in flannel's order: the lease that is this node's, or names its address; else the subnets it had
 * before, each family for itself; else one of the first 100 free subnets, at random. Own leases
 * that do not fit the ranges are to be removed, but a reservation is never.
 */
export function chooseLease<C extends Claim>(input: ChoiceInput<C>): Choice<C> {
  const { claims, ranges, publicIp, previous } = input;
  const own = claims.filter(({ holder, publicIp: ip }) =>
    holder === "us" || holder === undefined && ip !== undefined && ip === publicIp
  );
  const fitting = own.filter((claim) => fits(claim, ranges));
  // With several, the one we had: a node must not hop between two reservations.
  const kept = fitting.find((claim) => claim.subnet === previous.subnet) ??
    fitting.find(({ holder }) => holder === "us") ?? fitting[0];
  const remove = own.filter((claim) => !claim.reserved && !fitting.includes(claim));
  if (kept !== undefined) return { kind: "keep", claim: kept, remove };

  const others = claims.filter((claim) => !remove.includes(claim));
  const taken = overlapsAny(others.flatMap(leaseSubnets));
  const chosen: { subnet?: Cidr4; subnet6?: Cidr6 } = {};
  const again: Family[] = [];
  for (const { family, name } of ROWS) {
    const range = ranges[family];
    if (range === undefined) continue;
    const before = previous[name];
    let block: Cidr | undefined;
    if (before !== undefined && inRange(before, range) && !taken(before)) {
      block = before;
      again.push(family);
    } else {
      block = pick(range, taken, input.random);
    }
    if (block === undefined) return { kind: "full", family, remove };
    Object.assign(chosen, { [name]: block });
  }
  return { kind: "create", subnets: chosen, again, remove };
}

/** True when the lease has a subnet of each wanted family, in range, and none of another. */
export function fits(lease: LeaseSubnets, ranges: LeaseRanges): boolean {
  return ROWS.every(({ family, name }) => {
    const [subnet, range] = [lease[name], ranges[family]];
    if (range === undefined) return subnet === undefined;
    return subnet !== undefined && inRange(subnet, range);
  });
}

const ROWS = [{ family: 4, name: "subnet" }, { family: 6, name: "subnet6" }] as const;

function inRange(subnet: Cidr, range: AllocRange): boolean {
  const base = ipNumber(addressOf(subnet));
  return lengthOf(subnet) === range.length && ipNumber(range.first) <= base &&
    base <= ipNumber(range.last);
}

function pick(
  range: AllocRange,
  taken: (block: Cidr) => boolean,
  random: () => number,
): Cidr | undefined {
  const free = freeBlocks([range], taken).take(CANDIDATES).toArray();
  return free[Math.floor(random() * free.length)];
}
