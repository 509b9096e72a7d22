/**
 * Packet rules as data: chains at hooks, each with rules that match and then say a verdict. One
 * model, rendered by each back end (`nft.ts`; iptables-restore text later).
 *
 * @module
 */

import type { Cidr } from "../ip.ts";

/** What a rule looks at; all matches of a rule must hold. */
export type Match =
  /** Source or destination lies in a network, or (`not`) outside of it. */
  | { readonly kind: "source" | "destination"; readonly net: Cidr; readonly not?: boolean }
  /** The packet's mark has these bits; with `exactly`, and no others. */
  | { readonly kind: "mark"; readonly bits: number; readonly exactly?: boolean };

/** What happens to a packet that matched. */
export type Verdict =
  | { readonly kind: "accept" | "return" }
  /** The source becomes the address of the outgoing link. */
  | { readonly kind: "masquerade"; readonly fullyRandom: boolean };

/** One rule. The comment, if any, says in words what it is for; `inspect` and `nft list` show it. */
export interface Rule {
  readonly match: readonly Match[];
  readonly verdict: Verdict;
  readonly comment?: string;
}

/** A base chain of ours. */
export interface Chain {
  readonly name: string;
  readonly comment?: string;
  readonly hook: "forward" | "postrouting";
  readonly type: "filter" | "nat";
  readonly rules: readonly Rule[];
}

/** A table of ours, whole. */
export interface RuleSet {
  /** nft family and name: `inet twill`. */
  readonly table: string;
  readonly comment?: string;
  readonly chains: readonly Chain[];
}
