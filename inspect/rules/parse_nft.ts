/**
 * Reads `nft -s list ruleset`. Pure, and never fails: what it does not understand stays text.
 *
 * @module
 */

import type { Chain, Clause, Hook, Rule, Verdict } from "./model.ts";
import { HOOKS } from "./model.ts";
import { netsOf, portsOf } from "./values.ts";

/** linux/netfilter_ipv4.h; nft writes the names. */
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

/** The chains of all tables of IPv4, IPv6 and both. */
export function parseNft(text: string): Chain[] {
  const chains: Chain[] = [];
  let table: { readonly family: string; readonly name: string } | undefined;
  let chain: { name: string; base?: NonNullable<Chain["base"]>; rules: Rule[] } | undefined;
  for (const raw of text.split("\n")) {
    const depth = /^\t*/.exec(raw)![0].length;
    const line = raw.trim();
    if (line === "") continue;
    const [, family, name] = /^table (\w+) (\S+) \{$/.exec(line) ?? [];
    if (depth === 0) {
      table = family === undefined || name === undefined ? undefined : { family, name };
      continue;
    }
    if (table === undefined || !isFamily(table.family)) continue;
    if (depth === 1) {
      if (chain !== undefined && line === "}") {
        chains.push({ program: "nft", family: table.family, table: table.name, ...chain });
      }
      const opened = /^chain (\S+) \{$/.exec(line)?.[1];
      chain = opened === undefined ? undefined : { name: opened, rules: [] };
      continue;
    }
    if (chain === undefined || line.startsWith("comment ")) continue;
    const base = baseOf(line);
    if (base !== undefined) chain.base = base;
    else chain.rules.push(readRule(line));
  }
  return chains;
}

function isFamily(family: string): family is Chain["family"] {
  return family === "ip" || family === "ip6" || family === "inet";
}

function baseOf(line: string): NonNullable<Chain["base"]> | undefined {
  const match =
    /^type (\w+) hook (\w+)(?: device \S+)? priority (\w+|-?\d+)(?: ([+-]) (\d+))?;(?: policy (\w+);)?/
      .exec(line);
  if (match === null) return undefined;
  const [, type = "", hook = "", name = "", sign, offset = "0", policy] = match;
  const start = PRIORITIES[name] ?? Number(name);
  if (!HOOKS.some((one) => one === hook)) return undefined;
  return {
    hook: hook as Hook,
    type,
    priority: start + (sign === "-" ? -1 : 1) * Number(offset),
    policy: policy === "drop" ? "drop" : "accept",
  };
}

/** One rule. */
export function readRule(text: string): Rule {
  const words = text.match(/"[^"]*"|\{[^}]*\}|\S+/g) ?? [];
  const clauses: Clause[] = [];
  const rest: string[] = [];
  let verdict: Verdict = { kind: "continue" };
  let comment: string | undefined;
  let at = 0;
  const next = (): string => words[at++] ?? "";
  const peek = (): string => words[at] ?? "";
  /** The value of a condition, and whether it must not hold. */
  const value = (): { readonly not: boolean; readonly text: string } => {
    const not = peek() === "!=";
    if (not || peek() === "==") at++;
    return { not, text: next() };
  };
  const listOf = (text: string): string[] =>
    text.replace(/^\{|\}$/g, "").split(",").map((one) => one.trim().replaceAll('"', ""))
      .filter((one) => one !== "");
  const other = (text: string): void => void clauses.push({ kind: "other", not: false, text });
  while (at < words.length) {
    const word = next();
    switch (word) {
      case "ip":
      case "ip6": {
        const field = next();
        if (field === "saddr" || field === "daddr") {
          const { not, text } = value();
          const nets = netsOf(listOf(text));
          if (nets === undefined) other(`${word} ${field} ${not ? "!= " : ""}${text}`);
          else clauses.push({ kind: field === "saddr" ? "source" : "destination", not, nets });
        } else if (field === "protocol" || field === "nexthdr") {
          const { not, text } = value();
          clauses.push({ kind: "protocol", not, names: listOf(text) });
        } else rest.push(word, field);
        break;
      }
      case "iifname":
      case "oifname":
      case "iif":
      case "oif": {
        const { not, text } = value();
        const kind = word.startsWith("i") ? "in" : "out";
        clauses.push({ kind, not, names: listOf(text) });
        break;
      }
      case "tcp":
      case "udp":
      case "sctp":
      case "th": {
        const field = next();
        const { not, text } = value();
        const ports = portsOf(listOf(text));
        if (word !== "th") clauses.push({ kind: "protocol", not: false, names: [word] });
        if (ports === undefined || (field !== "dport" && field !== "sport")) {
          other(`${word} ${field} ${not ? "!= " : ""}${text}`);
        } else {
          clauses.push({
            kind: field === "dport" ? "destination-port" : "source-port",
            not,
            ports,
          });
        }
        break;
      }
      case "ct": {
        const field = next();
        const { not, text } = value();
        if (field === "state" && text !== "vmap") {
          clauses.push({ kind: "state", not, states: listOf(text) });
        } else if (text === "vmap") verdict = { kind: "other", text: `ct ${field} vmap ${next()}` };
        else other(`ct ${field} ${not ? "!= " : ""}${text}`);
        break;
      }
      case "mark":
      case "meta": {
        const field = word === "mark" ? "mark" : next();
        if (field === "mark" && peek() === "set") {
          verdict = { kind: "mark", text: words.slice(at + 1).join(" ") };
          at = words.length;
        } else if (field === "mark") {
          let mask = 0xffff_ffff;
          if (peek() === "&" || peek() === "and") {
            at++;
            mask = Number(next());
          }
          const { not, text } = value();
          clauses.push({ kind: "mark", not, mask, value: Number(text) });
        } else if (field === "l4proto") {
          const { not, text } = value();
          clauses.push({ kind: "protocol", not, names: listOf(text) });
        } else if (field === "nfproto") {
          const { not, text } = value();
          clauses.push({ kind: "family", not, family: text === "ipv6" ? 6 : 4 });
        } else {
          const { not, text } = value();
          other(`meta ${field} ${not ? "!= " : ""}${text}`);
        }
        break;
      }
      case "fib": {
        const end = next();
        const field = next();
        const { not, text } = value();
        if (field === "type" && text === "local" && (end === "daddr" || end === "saddr")) {
          clauses.push({ kind: end === "daddr" ? "destination-local" : "source-local", not });
        } else other(`fib ${end} ${field} ${not ? "!= " : ""}${text}`);
        break;
      }
      case "limit": {
        const words_ = [next(), next()];
        if (words_[1] === "over") words_.push(next());
        while (peek() === "burst" || /^(?:\d+|packets|bytes)$/.test(peek())) words_.push(next());
        other(`limit ${words_.join(" ")}`);
        break;
      }
      case "counter":
        while (/^(?:packets|bytes|\d+)$/.test(peek())) at++;
        break;
      case "log":
        while (["prefix", "level", "group", "flags", "snaplen"].includes(peek())) at += 2;
        break;
      case "comment":
        comment = next().replaceAll('"', "");
        break;
      case "accept":
      case "drop":
      case "return":
        verdict = { kind: word };
        break;
      case "reject":
        verdict = { kind: "reject" };
        while (at < words.length && peek() !== "comment") at++;
        break;
      case "masquerade":
        verdict = { kind: "masquerade" };
        while (at < words.length && peek() !== "comment") at++;
        break;
      case "jump":
      case "goto":
        verdict = { kind: word, chain: next() };
        break;
      case "snat":
      case "dnat":
      case "redirect": {
        const to: string[] = [];
        while (at < words.length && peek() !== "comment") to.push(next());
        verdict = { kind: word, to: to.join(" ").replace(/^(?:ip6? )?to /, "") };
        break;
      }
      case "vmap":
        verdict = { kind: "other", text: `vmap ${next()}` };
        break;
      default:
        rest.push(word);
    }
  }
  if (rest.length > 0) other(rest.join(" "));
  return { clauses, verdict, text, ...(comment === undefined ? {} : { comment }) };
}
