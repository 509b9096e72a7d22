/**
 * The rule model as nft text, in exactly the form in which `nft -s list table` prints it back, so
 * that wanted and found rules are compared as text.
 *
 * @module
 */

import { familyOf } from "../ip.ts";
import type { Chain, Match, Rule, RuleSet, Verdict } from "./model.ts";

/** nft's name of the priority that belongs to each hook. */
const PRIORITY = { forward: "filter", postrouting: "srcnat" } as const;

/** The table as one block of text; running it in a transaction makes the table. */
export function nftText(rules: RuleSet): string {
  const chains = rules.chains.map(chainText).join("\n");
  return `table ${rules.table} {\n${commentLine(rules.comment, "\t")}${chains}}\n`;
}

function chainText(chain: Chain): string {
  const head = `type ${chain.type} hook ${chain.hook} priority ${PRIORITY[chain.hook]}`;
  const rules = chain.rules.map((rule) => `\t\t${ruleText(rule)}\n`).join("");
  const comment = commentLine(chain.comment, "\t\t");
  return `\tchain ${chain.name} {\n${comment}\t\t${head}; policy accept;\n${rules}\t}\n`;
}

function commentLine(comment: string | undefined, indent: string): string {
  return comment === undefined ? "" : `${indent}comment "${comment}"\n`;
}

/** One rule as nft writes it. */
export function ruleText(rule: Rule): string {
  const words = [...rule.match.map(matchText), verdictText(rule.verdict)].join(" ");
  return rule.comment === undefined ? words : `${words} comment "${rule.comment}"`;
}

function matchText(match: Match): string {
  switch (match.kind) {
    case "source":
    case "destination": {
      const field = match.kind === "source" ? "saddr" : "daddr";
      const family = familyOf(match.net) === 4 ? "ip" : "ip6";
      return `${family} ${field} ${match.not ? "!= " : ""}${match.net}`;
    }
    case "mark": {
      const bits = `0x${match.bits.toString(16).padStart(8, "0")}`;
      return match.exactly ? `meta mark ${bits}` : `meta mark & ${bits} == ${bits}`;
    }
  }
}

function verdictText(verdict: Verdict): string {
  switch (verdict.kind) {
    case "accept":
    case "return":
      return verdict.kind;
    case "masquerade":
      return verdict.fullyRandom ? "masquerade fully-random" : "masquerade";
  }
}
