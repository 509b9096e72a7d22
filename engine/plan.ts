/**
 * The planner: from what we want and what is there to ordered changes. It decides everything that
 * the applier then only carries out, and it reads nothing but its arguments.
 *
 * Facts of one slot compete (see `slotOf`); a plan therefore holds, for each wanted fact,
 *
 * - nothing, when the kernel already holds one that satisfies it;
 * - a `put`, when the slot is empty or holds something of ours that can be changed in place;
 * - a `delete` and a `put`, when the slot holds a link of ours that must be made anew;
 * - a conflict, when the slot holds something foreign. It is reported and left alone.
 *
 * Whatever is ours and not wanted is deleted, after everything wanted was put: no moment without
 * a route that both states have.
 *
 * @module
 */

import { type Driver, type Fact, slotOf } from "./fact.ts";
import { Secret } from "./secret.ts";

/** One step of a plan. */
export type Change =
  | { readonly op: "put"; readonly fact: Fact; readonly had?: Fact }
  | { readonly op: "delete"; readonly fact: Fact };

/** A wanted fact whose slot is held by something that is not ours. */
export interface Conflict {
  readonly want: Fact;
  readonly have: Fact;
}

/** Ordered changes, and what stands in the way of the rest. */
export interface Plan {
  readonly changes: readonly Change[];
  readonly conflicts: readonly Conflict[];
}

/** Says whether a fact that was found belongs to us. */
export type Ours = (fact: Fact) => boolean;

/**
 * The order of puts. A link exists before what hangs on it; settings come next, since whatever is
 * no message ends a batch of the applier; addresses come while a pod's link is
 * still down, so that the kernel announces them when it goes up; a route needs its link up and
 * its neighbour known, a VTEP its FDB entry, a WireGuard link its peer, before the first packet.
 */
const RANK = {
  link: 0,
  sysctl: 1,
  wireguard: 1,
  port: 2,
  vlan: 3,
  rules: 4,
  chain: 4,
  address: 5,
  up: 6,
  neighbour: 7,
  fdb: 8,
  "wireguard-peer": 8,
  route: 9,
} as const satisfies Record<Fact["kind"], number>;

/**
 * What must change so that a kernel that holds `have` holds `want`.
 *
 * Pure: the same input gives the same plan, and `plan(x, x)` is empty.
 *
 * @param want The facts we want; those of one kind are put in the given order.
 * @param have The facts that were read; a slot that is not in it counts as empty.
 * @param ours Which of `have` may be changed or deleted.
 */
export function plan(want: readonly Fact[], have: readonly Fact[], ours: Ours): Plan {
  const found = new Map(have.map((fact) => [slotOf(fact), fact]));
  const changes: Change[] = [];
  const conflicts: Conflict[] = [];
  const wanted = new Set<string>();
  /** By the slot of a link that changes: what goes with that. */
  const losses = new Map<string, Loss>();
  const isLost = (fact: Fact): boolean =>
    hangsOn(fact).some((link) => {
      const loss = losses.get(link);
      return loss === "all" || loss === fact.kind;
    });

  for (const fact of inOrder(want)) {
    const slot = slotOf(fact);
    if (wanted.has(slot)) continue;
    wanted.add(slot);
    const had = isLost(fact) ? undefined : found.get(slot);
    if (had !== undefined && satisfies(had, fact)) continue;
    if (had === undefined || isSetting(fact)) {
      changes.push({ op: "put", fact, ...(had === undefined ? {} : { had }) });
    } else if (!ours(had) && !isAdoptable(had, fact)) {
      conflicts.push({ want: fact, have: had });
    } else {
      const loss = lossOf(had, fact);
      if (loss !== undefined) losses.set(slot, loss);
      if (loss === "all") changes.push({ op: "delete", fact: had }, { op: "put", fact });
      else changes.push({ op: "put", fact, had });
    }
  }

  for (const fact of inOrder(have).reverse()) {
    if (wanted.has(slotOf(fact)) || isSetting(fact) || isLost(fact) || !ours(fact)) continue;
    changes.push({ op: "delete", fact });
  }
  return { changes, conflicts };
}

/** What a link takes with it: all that hangs on it, or only its neighbours. */
type Loss = "all" | "neighbour";

/**
 * A link of another driver is made anew; with its address the kernel forgets its neighbours. An
 * address cannot be changed, only replaced.
 */
function lossOf(had: Fact, want: Fact): Loss | undefined {
  if (want.kind === "address") return "all";
  if (had.kind !== "link" || want.kind !== "link") return undefined;
  if (!sameDriver(had.driver, want.driver)) return "all";
  return want.mac === undefined || want.mac === had.mac ? undefined : "neighbour";
}

/** A route that is the wanted one but for the number of who made it: flannel's, taken over. */
function isAdoptable(had: Fact, want: Fact): boolean {
  return had.kind === "route" && want.kind === "route" && want.protocol !== undefined &&
    satisfies({ ...had, protocol: want.protocol }, want);
}

function inOrder(facts: readonly Fact[]): Fact[] {
  return facts.toSorted((a, b) => RANK[a.kind] - RANK[b.kind]);
}

/** Settings have no owner and cannot be deleted: whoever needs a value writes it. */
function isSetting(fact: Fact): boolean {
  return fact.kind === "sysctl" || fact.kind === "up" || fact.kind === "wireguard";
}

/** The slots of the links that take this fact with them when they go. */
function hangsOn(fact: Fact): readonly string[] {
  switch (fact.kind) {
    case "up":
    case "vlan":
    case "address":
    case "neighbour":
    case "fdb":
    case "wireguard":
    case "wireguard-peer":
      return [`link ${fact.where} ${fact.dev}`];
    case "port":
      return [`link ${fact.where} ${fact.dev}`, `link ${fact.where} ${fact.bridge}`];
    case "route":
      return fact.dev === undefined ? [] : [`link ${fact.where} ${fact.dev}`];
    case "sysctl": {
      const match = /^net\/ipv[46]\/conf\/([^/]+)\//.exec(fact.key);
      return match === null ? [] : [`link ${fact.where} ${match[1]}`];
    }
    case "link":
    case "rules":
    case "chain":
      return [];
  }
}

/**
 * True when the found fact, of the same slot, is all that the wanted one asks for: every field
 * that the wanted fact has, the found one has with the same value.
 */
export function satisfies(have: Fact, want: Fact): boolean {
  if (want.kind === "link") {
    return have.kind === "link" && sameDriver(have.driver, want.driver) &&
      agrees(have, want, ["driver"]);
  }
  if (want.kind === "wireguard-peer" && have.kind === "wireguard-peer") {
    // A peer behind NAT has another endpoint than it says, and WireGuard follows it: as long as
    // it answers there, that is the right one.
    return agrees(have, want, have.traffic?.alive ? ["remote", "port"] : []);
  }
  // Equal slots have equal metrics, however they are written. Of two halves of a key one tells all.
  return agrees(have, want, ["optional", "metric", "privateKey"]);
}

/** True when a link can become the wanted one without being made anew. */
function sameDriver(have: Driver, want: Driver): boolean {
  // Where a veth's other end lies matters only when the pair is made.
  return agrees(have, want, ["peer", "peerWhere"]);
}

/** True when all that `want` says, but for these fields, `have` says too. */
function agrees(have: object, want: object, but: readonly string[]): boolean {
  const found = new Map<string, unknown>(Object.entries(have));
  return Object.entries(want).every(([name, value]) =>
    value === undefined || but.includes(name) || same(found.get(name), value) ||
    (!value && found.get(name) === undefined)
  );
}

function same(have: unknown, want: unknown): boolean {
  if (want instanceof Secret) return want.equals(have);
  if (!Array.isArray(want) || !Array.isArray(have)) return have === want;
  return have.length === want.length && want.every((one, at) => one === have[at]);
}
