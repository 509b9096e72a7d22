/**
 * What `nft -s list ruleset` prints as tables for the evaluator. Pure.
 *
 * Rules are read word by word. What is not known becomes a condition or an action that says so, with
 * its text, and never a guess.
 *
 * @module
 */

import { readLabels, readMap, splitElements } from "./nft_elements.ts";
import { readRuleWords } from "./nft_rule.ts";
import type { Base, Hook, TraceChain, TraceRule, TraceTable, VerdictMap } from "./rules.ts";

/** Sets and maps of a table, by name. */
export interface Named {
  readonly sets: ReadonlyMap<string, readonly string[]>;
  readonly maps: ReadonlyMap<string, VerdictMap>;
}

const TABLE = /^table (\S+) (\S+) \{/;
const BLOCK = /^\t(chain|set|map|flowtable|ct \w+|counter|quota|limit|secmark|synproxy) (\S+) \{/;
const BASE =
  /^type (filter|nat|route) hook (\w+)(?: device\S* .*?)? priority ([^;]+);(?: policy (accept|drop);)?/;
const PRIORITIES: Readonly<Record<string, number>> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

/** `filter`, `dstnat - 10`, `-5`. */
export function readPriority(text: string): number {
  const match = /^(?:([a-z]+)\s*)?([+-])?\s*(\d+)?$/.exec(text.trim());
  const base = PRIORITIES[match?.[1] ?? ""] ?? 0;
  const step = Number(match?.[3] ?? 0);
  return base + (match?.[2] === "-" ? -step : step);
}

/** One block of a table, as lines. */
interface Block {
  readonly kind: string;
  readonly name: string;
  readonly lines: string[];
}

/** Reads the tables of families ip, ip6 and inet; others see no packet at these hooks. */
export function readNft(text: string): TraceTable[] {
  const tables: TraceTable[] = [];
  let head: RegExpExecArray | null = null;
  let blocks: Block[] = [];
  let block: Block | undefined;
  for (const line of text.split("\n")) {
    const start = TABLE.exec(line);
    if (start !== null) {
      [head, blocks, block] = [start, [], undefined];
      continue;
    }
    if (line === "}" && head !== null) {
      const table = readTable(head[1]!, head[2]!, blocks);
      if (table !== undefined) tables.push(table);
      head = null;
      continue;
    }
    const inner = BLOCK.exec(line);
    if (inner !== null) blocks.push(block = { kind: inner[1]!, name: inner[2]!, lines: [] });
    else if (line === "\t}") block = undefined;
    else block?.lines.push(line);
  }
  return tables;
}

function readTable(family: string, name: string, blocks: readonly Block[]): TraceTable | undefined {
  if (!["ip", "ip6", "inet"].includes(family)) return undefined;
  const sets = new Map<string, readonly string[]>();
  const maps = new Map<string, VerdictMap>();
  const labels = new Map<string, string>();
  for (const { kind, name, lines } of blocks) {
    if (kind !== "set" && kind !== "map") continue;
    const elements = splitElements(/elements = \{([\s\S]*)\}/.exec(lines.join("\n"))?.[1] ?? "");
    if (kind === "set") sets.set(name, elements);
    else maps.set(name, readMap(elements));
    for (const [key, label] of readLabels(elements)) labels.set(key, label);
  }
  const named: Named = { sets, maps };
  const chains = new Map<string, TraceChain>();
  for (const { kind, name, lines } of blocks) {
    if (kind === "chain") chains.set(name, readChain(name, lines, named));
  }
  return {
    name: `${family} ${name}`,
    ...(family === "inet" ? {} : { family: family === "ip" ? 4 : 6 }),
    chains,
    ...(labels.size === 0 ? {} : { labels }),
  };
}

function readChain(name: string, lines: readonly string[], named: Named): TraceChain {
  const rules: TraceRule[] = [];
  let base: Base | undefined;
  for (const line of joinBraces(lines)) {
    const text = line.trim();
    const match = BASE.exec(text);
    if (match !== null) {
      base = {
        type: match[1] as Base["type"],
        hook: match[2] as Hook,
        priority: readPriority(match[3]!),
        policy: (match[4] ?? "accept") as Base["policy"],
      };
    } else if (text !== "" && !text.startsWith("comment ") && !text.startsWith("#")) {
      rules.push(readRuleWords(text, named));
    }
  }
  return { name, ...(base && { base }), rules };
}

/** A set that is written in a rule may stand on several lines. */
function joinBraces(lines: readonly string[]): string[] {
  const joined: string[] = [];
  let open = 0;
  for (const line of lines) {
    if (open > 0) joined[joined.length - 1] += ` ${line.trim()}`;
    else joined.push(line);
    const bare = line.replace(/"[^"]*"/g, "");
    open += bare.split("{").length - bare.split("}").length;
  }
  return joined;
}
