/**
 * The table as the kernel lists it, and what in it is other than wanted for a pod. Pure.
 *
 * @module
 */

import { type Ip, parseIp } from "../ip.ts";
import { splitElements } from "../trace/nft_elements.ts";
import { readIpRange } from "../trace/ranges.ts";
import { UNKNOWN_CHAIN } from "./compile.ts";
import { generationIn } from "./frame.ts";
import { type DispatchMaps, MAP_NAMES, type PolicySet, type PolicyTable } from "./table.ts";

/** A chain as it was found. */
export interface FoundChain {
  readonly comment?: string;
  readonly rules: readonly string[];
}

/** See the module. */
export interface FoundTable {
  readonly maps: DispatchMaps;
  readonly chains: ReadonlyMap<string, FoundChain>;
  /** Elements as they are written. */
  readonly sets: ReadonlyMap<string, readonly string[]>;
  readonly generation?: number;
}

/** Reads `nft list table`; undefined when there is no table. */
export function readFound(listing: string): FoundTable | undefined {
  if (!/^table inet /m.test(listing)) return undefined;
  const maps = { from4: new Map(), from6: new Map(), to4: new Map(), to6: new Map() } as const;
  const chains = new Map<string, FoundChain>();
  const sets = new Map<string, readonly string[]>();
  const blocks = listing.matchAll(/^\t(map|set|chain) (\S+) \{[^\n]*\n([^]*?)^\t\}$/gm);
  for (const [, kind, name = "", body = ""] of blocks) {
    const elements = splitElements(/elements = \{([^]*?)\}/.exec(body)?.[1] ?? "");
    switch (kind) {
      case "map": {
        const map = MAP_NAMES.find((one) => one === name);
        for (const element of map === undefined ? [] : elements) {
          const [ip = "", verdict = ""] = element.split(" : ");
          maps[map!].set(parseIp(ip), verdict.replace(/^(?:goto|jump) /, ""));
        }
        break;
      }
      case "set":
        sets.set(name, elements);
        break;
      case "chain": {
        const comment = /^\t\tcomment "([^"]*)"$/m.exec(body)?.[1];
        const rules = body.split("\n").map((line) => line.trim())
          .filter((line) => line !== "" && !/^(?:comment |type )/.test(line));
        chains.set(name, { rules, ...(comment === undefined ? {} : { comment }) });
      }
    }
  }
  const generation = generationIn(listing);
  return { maps, chains, sets, ...(generation === undefined ? {} : { generation }) };
}

/** The policies that a group's chain jumps to, `namespace/name`; where a name is a digest, that. */
export function policiesOf(found: FoundTable, chain: string): string[] {
  const jumps = (found.chains.get(chain)?.rules ?? []).flatMap((rule) =>
    /^jump ((?:in|out)\/\S+)$/.exec(rule)?.[1] ?? []
  );
  return jumps.map((name) => found.chains.get(name)?.comment ?? name.replace(/^\w+\//, ""));
}

/** What is other than wanted for these addresses; empty when all is programmed. */
export function differences(
  want: PolicyTable,
  found: FoundTable | undefined,
  ips: readonly Ip[],
): string[] {
  if (found === undefined) return ["the kernel has no table of policies"];
  const out: string[] = [];
  const wanted = new Set<string>();
  for (const ip of ips) {
    for (const name of MAP_NAMES) {
      const [now, then] = [found.maps[name].get(ip), want.maps[name].get(ip)];
      if (then !== undefined) wanted.add(then);
      if (now === then) continue;
      const has = now === undefined ? "nothing" : `chain ${now}`;
      out.push(`map ${name} has ${has} for ${ip}, want ${then ?? "nothing"}`);
    }
  }
  for (const group of wanted) {
    if (group === UNKNOWN_CHAIN) continue;
    const jumps = want.chains.get(group)?.rules.flatMap(({ verdict }) =>
      verdict.kind === "jump" ? [verdict.chain] : []
    ) ?? [];
    for (const name of [group, ...jumps]) {
      out.push(...chainDifferences(want, found, name));
    }
  }
  return [...new Set(out)];
}

function chainDifferences(want: PolicyTable, found: FoundTable, name: string): string[] {
  const chain = want.chains.get(name);
  // Those that every table has are no part of the model.
  if (chain === undefined) return [];
  const here = found.chains.get(name);
  if (here === undefined) return [`chain ${name} is missing`];
  const [has, wants] = [here.rules.length, chain.rules.length];
  const sets = chain.rules.flatMap(({ match }) =>
    match.flatMap((one) => "set" in one ? one.set : [])
  );
  return [
    ...(has === wants ? [] : [`chain ${name} has ${has} rules, want ${wants}`]),
    ...sets.flatMap((set) => {
      const [old, now] = [found.sets.get(set), want.sets.get(set)];
      if (now === undefined) return [];
      if (old === undefined) return [`set ${set} is missing`];
      return setDifferences(set, now, old);
    }),
  ];
}

function setDifferences(name: string, want: PolicySet, found: readonly string[]): string[] {
  const plain = (element: string): string => {
    if (want.kind !== "ranges") return element;
    const { first, last } = readIpRange(element);
    return `${first}-${last}`;
  };
  const [now, then] = [new Set(found.map(plain)), new Set([...want.elements].map(plain))];
  const lacks = [...want.elements].filter((one) => !now.has(plain(one)));
  const more = found.filter((one) => !then.has(plain(one)));
  const few = (all: readonly string[]): string =>
    all.slice(0, 3).join(", ") + (all.length > 3 ? ` and ${all.length - 3} more` : "");
  return [
    ...(lacks.length === 0 ? [] : [`set ${name} lacks ${few(lacks)}`]),
    ...(more.length === 0 ? [] : [`set ${name} has ${few(more)}, which is not wanted`]),
  ];
}
