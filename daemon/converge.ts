/**
 * One pass of the daemon's promise: from the newest snapshot of leases to a kernel that holds
 * what it says. Snapshot, facts, read, plan, apply; nothing is remembered from pass to pass but
 * what is reported.
 *
 * @module
 */

import type { Backend, Self } from "../engine/backend/backend.ts";
import { OpError } from "../engine/errors.ts";
import { describe, type Fact, slotOf } from "../engine/fact.ts";
import type { Lease } from "../engine/lease.ts";
import { leaseKey } from "../engine/lease.ts";
import { type Change, plan } from "../engine/plan.ts";
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
  /** Peers that the kernel, or a foreign fact in their place, refused; and bad records. */
  readonly refused: readonly Refusal[];
  /** What is missing of this node's own: device, address, rules. Not ready while there is any. */
  readonly own: readonly Refusal[];
  readonly changes: number;
}

/** Where the pass works. */
export interface ConvergeContext {
  readonly kernel: Kernel;
  readonly backend: Backend;
  /** Facts that do not depend on peers or backend: the rules. */
  readonly common: readonly Fact[];
}

/**
 * Makes the kernel hold what the leases say.
 *
 * @throws {OpError} when the kernel cannot be read; {@link Overrun} when answers were lost. Both
 * mean: run another pass.
 */
export function converge(context: ConvergeContext, self: Self, leases: readonly Lease[]): Report {
  const { kernel, backend, common } = context;
  const peers = leases.filter((lease) => !isOwn(self.lease, lease));
  const { own, peers: good, bad } = backend.facts(self, peers);
  const want = [...common, ...own, ...good.flatMap(({ facts }) => facts)];
  const { changes, conflicts } = plan(want, kernel.read(backend.scope()), backend.ours());

  const peerOf = new Map<string, Lease>();
  for (const { lease, facts } of good) for (const fact of facts) peerOf.set(slotOf(fact), lease);
  const failed: (readonly [Fact, string])[] = [
    ...conflicts.map(({ want, have }) =>
      [want, `its place is taken by ${describe(have)}, which is not ours`] as const
    ),
    ...kernel.apply(changes).flatMap(({ change, error }) =>
      error === undefined ? [] : [[change.fact, wordsOf(change, error)] as const]
    ),
  ];

  const refusedPeers = new Map<Lease, string>();
  const ownFailures: Refusal[] = [];
  for (const [fact, reason] of failed) {
    const lease = peerOf.get(slotOf(fact));
    if (lease === undefined) ownFailures.push({ who: "this node", reason });
    else if (!refusedPeers.has(lease)) refusedPeers.set(lease, reason);
  }
  for (const { lease, reason } of bad) refusedPeers.set(lease, reason);
  return {
    peers: peers.length,
    programmed: good.filter(({ lease }) => !refusedPeers.has(lease)).length,
    refused: [...refusedPeers].map(([lease, reason]) => ({ who: leaseKey(lease), reason })),
    own: ownFailures,
    changes: changes.length,
  };
}

function wordsOf({ op, fact }: Change, error: OpError): string {
  return `${error.message || `${op} ${describe(fact)}`}`;
}

/** Subnets are never shared, so one equal subnet makes it ours. */
function isOwn(own: Lease, lease: Lease): boolean {
  return (own.subnet !== undefined && own.subnet === lease.subnet) ||
    (own.subnet6 !== undefined && own.subnet6 === lease.subnet6);
}
