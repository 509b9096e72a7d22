/**
 * Rules as a table and as JSON. Pure.
 *
 * @module
 */

import { table, type TableOptions } from "../style.ts";
import type { RuleRow } from "./judge.ts";
import { placeOf } from "./model.ts";

/** The table for people; empty without rules. */
export function rulesTable(rows: readonly RuleRow[], options: TableOptions): string {
  if (rows.length === 0) return "";
  return table(rows, [
    { head: "HOOK", cell: ({ hook }) => hook },
    { head: "PRIORITY", cell: ({ priority }) => String(priority) },
    { head: "CHAIN", cell: ({ chain }) => placeOf(chain).replaceAll(" ", "/") },
    { head: "RULE", cell: ({ number }) => number === undefined ? "-" : String(number) },
    { head: "OWNER", cell: ({ owner }) => owner },
    {
      head: "EFFECT",
      cell: ({ effect }) => effect.replace(" ", "-"),
      colour: ({ effect }) => effect === "hazard" ? "red" : undefined,
    },
    { head: "TEXT", cell: ({ rule }) => rule?.text ?? "-", wide: true },
    { head: "MEANING", cell: ({ depth, words }) => "> ".repeat(depth) + words },
  ], options);
}

/** The items of `-o json`: `docs/schema/inspect_rules.json`. */
export function rulesJson(rows: readonly RuleRow[]): Record<string, unknown> {
  return {
    items: rows.map(({ hook, priority, chain, depth, rule, number, owner, words, effect }) => ({
      hook,
      priority,
      program: chain.program,
      family: chain.family,
      table: chain.table,
      chain: chain.name,
      depth,
      number: number ?? null,
      owner,
      text: rule?.text ?? null,
      verdict: rule?.verdict.kind ?? null,
      comment: rule?.comment ?? null,
      effect,
      meaning: words,
    })),
  };
}
