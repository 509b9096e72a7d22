/**
 * Packet rules of anybody as data: what nft and iptables list, read into one form, so that one
 * evaluator can say what they do with a packet. What cannot be read exactly is kept as text.
 *
 * @module
 */

import type { Ip } from "../ip.ts";

/** Hooks that a packet passes. */
export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** A range of addresses, as numbers of its family; both ends included. */
export interface IpRange {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
}

/** Numbers from `first` to `last`. */
export interface NumberRange {
  readonly first: number;
  readonly last: number;
}

/** One condition of a rule. */
export type Match =
  | {
    readonly kind: "address";
    readonly side: "source" | "destination";
    readonly ranges: readonly IpRange[];
    readonly not: boolean;
  }
  /** `tcp`, `udp`, `icmp`, …. */
  | { readonly kind: "protocol"; readonly names: readonly string[]; readonly not: boolean }
  | {
    readonly kind: "port";
    readonly side: "source" | "destination";
    readonly ranges: readonly NumberRange[];
    readonly not: boolean;
  }
  /** A name that ends with `*` or (iptables) `+` stands for all that begin so. */
  | {
    readonly kind: "link";
    readonly side: "in" | "out";
    readonly names: readonly string[];
    readonly not: boolean;
  }
  | { readonly kind: "mark"; readonly mask: number; readonly value: number; readonly not: boolean }
  /** Some fields together, as one of the elements, whose parts have ` . ` between. */
  | {
    readonly kind: "tuple";
    readonly fields: readonly Field[];
    readonly elements: ReadonlySet<string>;
    readonly not: boolean;
  }
  /** The mark of the connection: a new one has none. */
  | {
    readonly kind: "connection-mark";
    readonly mask: number;
    readonly value: number;
    readonly not: boolean;
  }
  /** `original`, `reply`. */
  | { readonly kind: "direction"; readonly name: string; readonly not: boolean }
  /** Types of ICMP messages, as nft names them. */
  | {
    readonly kind: "icmp-type";
    readonly family: 4 | 6;
    readonly names: readonly string[];
    readonly not: boolean;
  }
  /** Connection states: `new`, `established`, …. */
  | { readonly kind: "state"; readonly names: readonly string[]; readonly not: boolean }
  /** The address is one of this host. */
  | { readonly kind: "local"; readonly side: "source" | "destination"; readonly not: boolean }
  /** The sender was here before (iptables' `recent`, for session affinity). */
  | { readonly kind: "recent"; readonly not: boolean }
  /** True for some packets: by chance. */
  | { readonly kind: "chance" }
  | { readonly kind: "family"; readonly family: 4 | 6 }
  /** Not understood. */
  | { readonly kind: "unknown"; readonly text: string };

/** What a verdict map is asked by. */
export type Field = "saddr" | "daddr" | "protocol" | "sport" | "dport" | "iif" | "oif" | "chance";

/** What a rule does. */
export type Action =
  | { readonly kind: "accept" | "drop" | "return" | "continue" }
  | { readonly kind: "reject" }
  | { readonly kind: "jump" | "goto"; readonly chain: string }
  /** The destination becomes another; a part that is absent stays. */
  | { readonly kind: "dnat"; readonly ip?: Ip; readonly port?: number }
  /** The source becomes another; absent: that of the outgoing link. */
  | { readonly kind: "snat"; readonly ip?: Ip }
  /** mark := mark & keep ^ flip. */
  | { readonly kind: "mark"; readonly keep: number; readonly flip: number }
  /** Looks a verdict up. */
  | { readonly kind: "map"; readonly fields: readonly Field[]; readonly map: VerdictMap }
  | { readonly kind: "unknown"; readonly text: string };

/** Key, its parts with ` . ` between → verdict. */
export type VerdictMap = ReadonlyMap<string, Action>;

/** One rule. */
export interface TraceRule {
  /** As it is listed. */
  readonly text: string;
  readonly matches: readonly Match[];
  readonly actions: readonly Action[];
}

/** Where a chain hangs. */
export interface Base {
  readonly hook: Hook;
  readonly type: "filter" | "nat" | "route";
  readonly priority: number;
  /** What happens at its end. */
  readonly policy: "accept" | "drop";
}

/** One chain. */
export interface TraceChain {
  readonly name: string;
  readonly base?: Base;
  readonly rules: readonly TraceRule[];
}

/** One table. */
export interface TraceTable {
  /** `inet twill`; `iptables -t nat`. */
  readonly name: string;
  /** Which packets see it; absent: both families. */
  readonly family?: 4 | 6;
  readonly chains: ReadonlyMap<string, TraceChain>;
  /** Comments of elements of maps, by key: kube-proxy names services there. */
  readonly labels?: ReadonlyMap<string, string>;
}

/** All bits of a mark. */
export const ALL_BITS = 0xffff_ffff;
