/**
 * The rule model as lines of `iptables-save`, and the input for `iptables-restore --noflush` that
 * brings one chain of ours to them. Pure.
 *
 * @module
 */

import type { ChainFact } from "../fact.ts";
import type { Match, Rule, Verdict } from "./model.ts";

/** One rule of a chain as `iptables-save` prints it, with the comment that all our rules carry. */
export function chainLine(chain: string, rule: Omit<Rule, "comment">, comment: string): string {
  const words = [
    ...rule.match.map(matchText),
    `-m comment --comment "${comment}"`,
    verdictText(rule.verdict),
  ];
  return `-A ${chain} ${words.join(" ")}`;
}

function matchText(match: Match): string {
  switch (match.kind) {
    case "source":
    case "destination": {
      const option = match.kind === "source" ? "-s" : "-d";
      return `${match.not ? "! " : ""}${option} ${match.net}`;
    }
    case "mark": {
      const bits = `0x${match.bits.toString(16)}`;
      return `-m mark --mark ${match.exactly ? bits : `${bits}/${bits}`}`;
    }
  }
}

function verdictText(verdict: Verdict): string {
  switch (verdict.kind) {
    case "accept":
    case "return":
      return `-j ${verdict.kind.toUpperCase()}`;
    case "masquerade":
      return verdict.fullyRandom ? "-j MASQUERADE --random-fully" : "-j MASQUERADE";
  }
}

/** The lines of a saved table that make a chain, as {@link ChainFact}'s text. */
export function chainText(
  saved: string,
  { chain, comment }: Pick<ChainFact, "chain" | "comment">,
): string {
  const lines = saved.split("\n").filter((line) => line.startsWith("-A "));
  const own = lines.filter((line) => isIn(line, chain));
  const outside = lines.filter((line) =>
    !isIn(line, chain) &&
    (line.endsWith(` -j ${chain}`) || line.includes(` --comment "${comment}" `))
  );
  const empty = own.length === 0 && saved.includes(`\n:${chain} `) ? [`-N ${chain}`] : [];
  return [...outside, ...own, ...empty].join("\n");
}

function isIn(line: string, chain: string): boolean {
  return line.startsWith(`-A ${chain} `);
}

/**
 * The input that makes `want` of `have`, as one transaction: the chain is emptied and filled, jumps
 * to it are kept where they are right already.
 */
export function chainInput(want: ChainFact, have: string): string {
  const { chain, table, text } = want;
  const before = have.split("\n").filter((line) => line !== "");
  const after = text.split("\n").filter((line) => line !== "");
  const outside = (lines: readonly string[]): string[] =>
    lines.filter((line) => line.startsWith("-A ") && !isIn(line, chain));
  const kept = outside(after).filter((line) =>
    outside(before).filter((b) => b === line).length === 1
  );
  const removed = outside(before).filter((line) => !kept.includes(line));
  const added = outside(after).filter((line) => !kept.includes(line));
  const exists = before.some((line) => isIn(line, chain) || line === `-N ${chain}`);
  return [
    `*${table}`,
    ...(after.length > 0 ? [`:${chain} - [0:0]`] : []),
    ...removed.map((line) => line.replace("-A", "-D")),
    ...added,
    ...after.filter((line) => isIn(line, chain)),
    ...(after.length === 0 && exists ? [`-F ${chain}`, `-X ${chain}`] : []),
    "COMMIT",
    "",
  ].join("\n");
}
