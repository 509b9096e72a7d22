/**
 * Packet rules as they are found on a node, of whatever program: chains at hooks, rules with the
 * conditions that we understand, and the rest as text.
 *
 * @module
 */

import type { Cidr } from "../../engine/ip.ts";

/** A condition of a rule. `not`: it holds where the rest does not. */
export type Clause =
  & { readonly not: boolean }
  & (
    | { readonly kind: "source" | "destination"; readonly nets: readonly Cidr[] }
    /** Names of devices; a star or a plus at the end stands for anything. */
    | { readonly kind: "in" | "out"; readonly names: readonly string[] }
    | { readonly kind: "protocol"; readonly names: readonly string[] }
    | {
      readonly kind: "source-port" | "destination-port";
      readonly ports: readonly (readonly [first: number, last: number])[];
    }
    /** Of the connection: `new`, `established`, … */
    | { readonly kind: "state"; readonly states: readonly string[] }
    | { readonly kind: "mark"; readonly value: number; readonly mask: number }
    /** The address is one of this node's. */
    | { readonly kind: "source-local" | "destination-local" }
    | { readonly kind: "family"; readonly family: 4 | 6 }
    /** Anything else, as its program writes it. */
    | { readonly kind: "other"; readonly text: string }
  );

/** What happens to a packet that matched. */
export type Verdict =
  | { readonly kind: "accept" | "drop" | "reject" | "return" | "masquerade" | "continue" }
  | { readonly kind: "jump" | "goto"; readonly chain: string }
  | { readonly kind: "snat" | "dnat" | "redirect"; readonly to: string }
  | { readonly kind: "mark"; readonly text: string }
  | { readonly kind: "other"; readonly text: string };

/** One rule. */
export interface Rule {
  readonly clauses: readonly Clause[];
  readonly verdict: Verdict;
  readonly comment?: string;
  /** As its program lists it. */
  readonly text: string;
}

/** Where packets meet chains. */
export const HOOKS = ["prerouting", "input", "forward", "output", "postrouting"] as const;
/** One of them. */
export type Hook = typeof HOOKS[number];

/** One chain. */
export interface Chain {
  /** `legacy`: in the old tables of iptables, which nft does not show. */
  readonly program: "nft" | "legacy";
  /** `inet` stands for both. */
  readonly family: "ip" | "ip6" | "inet";
  readonly table: string;
  readonly name: string;
  /** Absent for chains that others jump to. */
  readonly base?: {
    readonly hook: Hook;
    readonly type: string;
    /** Lower is earlier. */
    readonly priority: number;
    readonly policy: "accept" | "drop";
  };
  readonly rules: readonly Rule[];
}

/** `table ip nat`, `legacy table ip nat`. */
export function placeOf({ program, family, table, name }: Chain): string {
  return `${program === "legacy" ? "legacy " : ""}${family} ${table} ${name}`;
}
