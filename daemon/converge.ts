/**
 * The daemon's promise, one pass at a time: from the newest snapshot of leases to a kernel that
 * holds what it says.
 *
 * A whole pass reads the kernel and plans everything. When nothing but leases changed since the
 * last pass, and nothing was left undone, the facts that this pass put are known to be held: then
 * only the leases that came and went are planned, so that one peer among thousands costs one
 * peer.
 *
 * @module
 */

import type { Backend, Self } from "../engine/backend/backend.ts";
import { describe, type Fact, type Scope, slotOf } from "../engine/fact.ts";
import { type Lease, leaseKey } from "../engine/lease.ts";
import { type Change, type Ours, type Plan, plan } from "../engine/plan.ts";
import type { Kernel } from "../ffi/kernel.ts";

/** Something that the node should hold and does not. */
export interface Refusal {
  /** The peer's subnets, or `this node`. */
  readonly who: string;
  readonly reason: string;
}

/** What one pass found and did. */
export interface Report {
  /** Peers in the snapshot. */
  readonly peers: number;
  /** Peers whose every fact the kernel holds. */
  readonly programmed: number;
  /** Peers that the kernel, or a foreign fact in their place, refused: worth another try. */
  readonly refused: readonly Refusal[];
  /** Peers whose records cannot be used. */
  readonly bad: readonly Refusal[];
  /** What is missing of this node's own: device, address, rules. Not ready while there is any. */
  readonly own: readonly Refusal[];
  /** What was changed. */
  readonly changes: readonly Change[];
}

/** What the node wants in a pass, beside the peers. */
export interface Wish {
  readonly self: Self;
  /** Facts that depend on neither peers nor backend; the same objects while they say the same. */
  readonly common: readonly Fact[];
}

/** Runs passes, and remembers what the last one left in the kernel. */
export class Converger {
  readonly #kernel: Pick<Kernel, "read" | "apply">;
  readonly #backend: Backend;
  /** The facts of each peer that the kernel holds. */
  #held = new Map<Lease, readonly Fact[]>();
  #refused = new Map<Lease, string>();
  #bad = new Map<Lease, string>();
  #wish: Wish | undefined;

  constructor(kernel: Pick<Kernel, "read" | "apply">, backend: Backend) {
    this.#kernel = kernel;
    this.#backend = backend;
  }

  /**
   * Makes the kernel hold what the leases say, whatever it holds now.
   *
   * @throws {OpError} when the kernel cannot be read; {@link Overrun} when answers were lost. Both
   * mean: run another whole pass.
   */
  whole(wish: Wish, leases: readonly Lease[]): Report {
    this.#wish = undefined;
    const peers = peersOf(wish.self, leases);
    const { own, peers: good, bad } = this.#backend.facts(wish.self, peers);
    const facts = new Map(good.map(({ lease, facts }) => [lease, facts]));
    const want = [...wish.common, ...own, ...[...facts.values()].flat()];
    const planned = plan(want, this.#kernel.read(this.#scope(wish)), this.#ours(wish));
    this.#held = new Map();
    this.#bad = new Map(bad.map(({ lease, reason }) => [lease, reason]));
    return this.#carryOut(wish, peers, planned, facts);
  }

  /** What the backend must see, and the slots of the common facts. */
  #scope({ common }: Wish): Scope {
    const scope = this.#backend.scope();
    return {
      ...scope,
      rules: tablesOf(common),
      chains: common.filter((fact) => fact.kind === "chain"),
      routes: scope.routes === true || common.some((fact) => fact.kind === "route"),
    };
  }

  #ours({ common }: Wish): Ours {
    const tables = tablesOf(common);
    const ours = this.#backend.ours();
    return (fact) =>
      fact.kind === "rules" ? tables.includes(fact.table) : fact.kind === "chain" || ours(fact);
  }

  /**
   * As {@link Converger.whole}, but only for the leases that changed since the last pass; for when
   * nothing else can have changed. Falls back to a whole pass when the last one left something of
   * this node undone, or this node itself changed.
   */
  changed(wish: Wish, leases: readonly Lease[]): Report {
    const last = this.#wish;
    const same = last !== undefined && last.self.lease === wish.self.lease &&
      last.common.every((fact, i) => fact === wish.common[i]);
    if (!same) return this.whole(wish, leases);
    const peers = peersOf(wish.self, leases);
    const present = new Set(peers);
    const fresh = peers.filter((lease) => !this.#held.has(lease) && !this.#bad.has(lease));
    const gone: Fact[] = [];
    for (const [lease, facts] of this.#held) {
      if (present.has(lease)) continue;
      gone.push(...facts);
      this.#held.delete(lease);
    }
    for (const lease of this.#bad.keys()) if (!present.has(lease)) this.#bad.delete(lease);
    const { peers: good, bad } = this.#backend.facts(wish.self, fresh);
    for (const { lease, reason } of bad) this.#bad.set(lease, reason);
    const facts = new Map(good.map(({ lease, facts }) => [lease, facts]));
    const planned = plan([...facts.values()].flat(), gone, () => true);
    return this.#carryOut(wish, peers, planned, facts);
  }

  /** @param fresh the facts that were planned, by peer. */
  #carryOut(
    wish: Wish,
    peers: readonly Lease[],
    { changes, conflicts }: Plan,
    fresh: ReadonlyMap<Lease, readonly Fact[]>,
  ): Report {
    const failed: (readonly [Fact, string])[] = [
      ...conflicts.map(({ want, have }) =>
        [want, `its place is taken by ${describe(have)}, which is not ours`] as const
      ),
      ...this.#kernel.apply(changes).flatMap(({ change, error }) =>
        error === undefined ? [] : [[change.fact, error.message] as const]
      ),
    ];
    const peerOf = new Map<string, Lease>();
    if (failed.length > 0) {
      for (const [lease, facts] of fresh) for (const f of facts) peerOf.set(slotOf(f), lease);
    }
    this.#refused = new Map();
    const own: Refusal[] = [];
    for (const [fact, reason] of failed) {
      const lease = peerOf.get(slotOf(fact));
      if (lease === undefined) own.push({ who: "this node", reason });
      else if (!this.#refused.has(lease)) this.#refused.set(lease, reason);
    }
    for (const [lease, facts] of fresh) {
      if (!this.#refused.has(lease)) this.#held.set(lease, facts);
    }
    if (own.length === 0) this.#wish = wish;
    const named = ([lease, reason]: [Lease, string]): Refusal => ({ who: leaseKey(lease), reason });
    return {
      peers: peers.length,
      programmed: [...this.#held.keys()].filter((lease) => !this.#bad.has(lease)).length,
      refused: [...this.#refused].map(named),
      bad: [...this.#bad].map(named),
      own,
      changes,
    };
  }
}

function tablesOf(facts: readonly Fact[]): string[] {
  return facts.flatMap((fact) => fact.kind === "rules" ? [fact.table] : []);
}

/** All but our own. Subnets are never shared, so one equal subnet makes it ours. */
export function peersOf({ lease: own }: Self, leases: readonly Lease[]): Lease[] {
  return leases.filter((lease) =>
    !((own.subnet !== undefined && own.subnet === lease.subnet) ||
      (own.subnet6 !== undefined && own.subnet6 === lease.subnet6))
  );
}
