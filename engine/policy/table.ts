/**
 * What policies come to on one node: an nftables table as data. Two tables are compared piece by
 * piece; pieces that did not change are the same objects, which makes that cheap.
 *
 * ```text
 * from-pods  forward, before any other filter: packets of isolated pods, by source
 * to-pods    forward, behind it: packets to isolated pods, by destination
 * to-node    input: packets of isolated pods to this node; in-node remembers what it allows
 *            what this node sends to its pods passes none of them, and is always allowed
 *
 *   map of address → chain of the pod's policies       only isolated pods are there
 *     known      what is allowed already, and what policies do not speak about
 *     out/NS/P   the rules of one policy, shared by all pods that it selects
 *     drop
 * ```
 *
 * @module
 */

import type { Family, Ip } from "../ip.ts";
import type { Protocol } from "./model.ts";

/** What the elements of a set are. */
export type SetKind =
  /** Addresses. */
  | "addresses"
  /** An address twice: from and to the same pod. */
  | "loops"
  /** Disjoint ranges of addresses. */
  | "ranges"
  /** An address and a port. */
  | "ports";

/** A set of the table. */
export interface PolicySet {
  readonly kind: SetKind;
  readonly family: Family;
  /** What it stands for, in words. */
  readonly comment?: string;
  /** As nft writes them: `10.0.0.1`, `10.0.0.1-10.0.0.9`, `10.0.0.1 . 80`. */
  readonly elements: ReadonlySet<string>;
  /** How it differs from an earlier state of itself, so that nobody has to compare. */
  readonly step?: SetStep;
}

/** From one state of a set to the next. */
export interface SetStep {
  readonly from: ReadonlySet<string>;
  readonly lost: readonly string[];
  readonly fresh: readonly string[];
}

/** What leads from one state of a set to another. */
export function stepBetween(old: PolicySet, now: PolicySet): Omit<SetStep, "from"> {
  if (now.step?.from === old.elements) return now.step;
  return {
    lost: [...old.elements].filter((one) => !now.elements.has(one)),
    fresh: [...now.elements].filter((one) => !old.elements.has(one)),
  };
}

/** What a rule looks at; all matches of a rule must hold. */
export type PolicyMatch =
  /** Source or destination is in a set. */
  | {
    readonly kind: "address";
    readonly side: "source" | "destination";
    readonly family: Family;
    readonly set: string;
  }
  | { readonly kind: "protocol"; readonly protocol: Protocol }
  /** The destination port is in one of the ranges. */
  | {
    readonly kind: "ports";
    readonly protocol: Protocol;
    readonly ranges: readonly (readonly [first: number, last: number])[];
  }
  /** Destination address and port are in a set. */
  | {
    readonly kind: "named-port";
    readonly protocol: Protocol;
    readonly family: Family;
    readonly set: string;
  };

/** What becomes of a packet that matched. */
export type PolicyVerdict =
  /** Allowed to leave its pod. Whether the destination takes it is judged behind. */
  | { readonly kind: "accept" }
  /** Allowed, and the connection is remembered: this was the last look at it. */
  | { readonly kind: "remember" }
  /** On to a chain, and back if that says nothing. */
  | { readonly kind: "jump"; readonly chain: string }
  /** Counted by the counter that has the chain's name, and dropped. */
  | { readonly kind: "deny" };

/** One rule. */
export interface ChainRule {
  readonly match: readonly PolicyMatch[];
  readonly verdict: PolicyVerdict;
}

/** A chain that is not at a hook. */
export interface PolicyChain {
  readonly comment?: string;
  readonly rules: readonly ChainRule[];
}

/** Chains by the addresses that they are for. */
export type AddressMap = ReadonlyMap<Ip, string>;

/** A map of the table for each family and direction. */
export interface DispatchMaps {
  /** By source: egress. */
  readonly from4: AddressMap;
  readonly from6: AddressMap;
  /** By destination: ingress. */
  readonly to4: AddressMap;
  readonly to6: AddressMap;
}

/** Names of {@link DispatchMaps}. */
export const MAP_NAMES = ["from4", "from6", "to4", "to6"] as const satisfies readonly (
  keyof DispatchMaps
)[];

/** What does not depend on the cluster. */
export interface TableOptions {
  /** Family and name: `inet twill-policy`. */
  readonly table: string;
  /** Echo requests pass whatever the policies say. */
  readonly ping: boolean;
}

/** The table, but for its generation. */
export interface PolicyTable {
  readonly sets: ReadonlyMap<string, PolicySet>;
  readonly chains: ReadonlyMap<string, PolicyChain>;
  readonly maps: DispatchMaps;
}

/** The table as the kernel is to hold it. */
export interface Enforced extends PolicyTable {
  readonly options: TableOptions;
  /**
   * 1 to {@link LAST_GENERATION}. Allowed connections carry the number under which they were
   * judged; those with another one are judged again.
   */
  readonly generation: number;
}

/** The greatest generation: a connection that sleeps long must not meet its number again. */
export const LAST_GENERATION = 0xff_ffff;

/** The generation after this one. */
export function nextGeneration(generation: number): number {
  return generation >= LAST_GENERATION ? 1 : generation + 1;
}

/** The table without any policy. */
export function noPolicies(): PolicyTable {
  return tableOf({ from4: new Map(), from6: new Map(), to4: new Map(), to6: new Map() }, [], []);
}

/** The table with these pieces; sets that follow from who is isolated come on top. */
export function tableOf(
  maps: DispatchMaps,
  chains: Iterable<readonly [string, PolicyChain]>,
  sets: Iterable<readonly [string, PolicySet]>,
): PolicyTable {
  const own = ([4, 6] as const).flatMap((family): [string, PolicySet][] => {
    const from = [...maps[`from${family}`].keys()];
    const all = new Set([...from, ...maps[`to${family}`].keys()]);
    const loops = new Set([...all].map((ip) => `${ip} . ${ip}`));
    return [
      [`loops${family}`, { kind: "loops", family, elements: loops }],
      [`senders${family}`, { kind: "addresses", family, elements: new Set(from) }],
    ];
  });
  return { maps, chains: new Map(chains), sets: new Map([...own, ...sets]) };
}

/** Whether a set holds who is in the maps: it means nothing without them. */
export function followsMaps(set: string): boolean {
  return /^(loops|senders)[46]$/.test(set);
}

/** Our table's name; daemons that share a host have one each. */
export function policyTable(instance: string): string {
  return instance === "" ? "inet twill-policy" : `inet twill-policy-${instance}`;
}
