/**
 * What uninstall can do to a node, as data: the same list is printed by a dry run and carried out
 * by a real one.
 *
 * @module
 */

import { describe, type LinkFact, type RouteFact } from "../engine/fact.ts";
import { SAVED, UNIT } from "./layout.ts";

/** One step. */
export type Removal =
  /** The unit is stopped, and does not start at boot any more. */
  | { readonly kind: "unit" }
  /** A device or a route. */
  | { readonly kind: "kernel"; readonly fact: LinkFact | RouteFact }
  /** nft commands, one transaction. */
  | { readonly kind: "nft"; readonly what: string; readonly commands: string }
  /** A table that iptables made and nobody uses by then. */
  | { readonly kind: "emptyTable"; readonly table: string }
  /** Input for `iptables-restore --noflush`, or a program of its kind. */
  | {
    readonly kind: "iptables";
    readonly what: string;
    /** `iptables-nft`, `ip6tables`, … */
    readonly program: string;
    readonly input: string;
  }
  /** A file or a link. */
  | { readonly kind: "file"; readonly path: string }
  /** A file of ours, in whose place an earlier one comes back. */
  | { readonly kind: "restore"; readonly path: string }
  /** A directory with all that is in it. */
  | { readonly kind: "tree"; readonly path: string }
  /** A directory that is empty by then. */
  | { readonly kind: "directory"; readonly path: string };

/** What is to be done, what stays, and what forbids all of it. */
export interface RemovalPlan {
  /** In the order in which they are carried out. */
  readonly removals: readonly Removal[];
  /** Sentences about what looks like ours and stays. */
  readonly kept: readonly string[];
  /** Sentences; if there is one, nothing may be done. */
  readonly blockers: readonly string[];
}

/** The step in words: what goes. */
export function removalText(removal: Removal): string {
  switch (removal.kind) {
    case "unit":
      return `unit       ${UNIT}: stopped, and not started at boot`;
    case "kernel":
      return removal.fact.kind === "link"
        ? `device     ${removal.fact.name}`
        : `route      ${describe(removal.fact)}`;
    case "nft":
      return `nft        ${removal.what}`;
    case "emptyTable":
      return `nft        table ${removal.table} (empty)`;
    case "iptables":
      return `${removal.program.split("-")[0]!.padEnd(10)} ${removal.what}`;
    case "file":
      return `file       ${removal.path}`;
    case "restore":
      return `file       ${removal.path} (comes back from ${removal.path}${SAVED})`;
    case "tree":
      return `directory  ${removal.path} and all in it`;
    case "directory":
      return `directory  ${removal.path} (empty)`;
  }
}
