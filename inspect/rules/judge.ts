/**
 * Which rules act on pods' packets, in the order in which packets meet them, and what is wrong with
 * that order. Pure.
 *
 * @module
 */

import type { Finding } from "../finding.ts";
import { type Chain, type Hook, HOOKS, placeOf, type Rule } from "./model.ts";
import type { Sample } from "./packets.ts";
import { baseChains, holds, type Packet, type Place, walk, type Way } from "./walk.ts";
import { ownerOf, ruleWords, verdictWords } from "./words.ts";

/** One line: a rule, a chain's policy, or the rules of a chain that are left out. */
export interface RuleRow {
  readonly hook: Hook;
  readonly priority: number;
  readonly chain: Chain;
  /** How many jumps lead here. */
  readonly depth: number;
  readonly rule?: Rule;
  /** Its place in the chain, from 1. */
  readonly number?: number;
  readonly owner: string;
  readonly words: string;
  /** What the rule is to pods' packets. */
  readonly effect: "acts" | "may act" | "hazard";
}

/** Chains of others that are longer than this are summed up. */
const LONG = 25;

/** The rows. @param all also rules that touch no pod's packets, and long chains */
export function ruleRows(
  chains: readonly Chain[],
  samples: readonly Sample[],
  hazards: readonly Hazard[],
  all: boolean,
): RuleRow[] {
  const byKey = new Map(chains.map((chain) => [placeOf(chain), chain]));
  const dangerous = new Set(hazards.map(({ place }) => place.rule ?? place.chain));
  const rows: RuleRow[] = [];
  for (const hook of HOOKS) {
    const packets = samples.map(({ packet }) => packet).filter(({ hooks }) => hooks.includes(hook));
    const add = (chain: Chain, base: Chain, depth: number, seen: ReadonlySet<Chain>): void => {
      const place = { hook, priority: base.base!.priority, chain, depth };
      if (!all && depth > 0 && chain.rules.length > LONG) {
        rows.push({
          ...place,
          owner: ownerOf(chain, chain.rules[0]!),
          words: `${chain.rules.length} rules; --all lists them`,
          effect: "may act",
        });
        return;
      }
      chain.rules.forEach((rule, i) => {
        const effect = effectOf(rule, chain, packets);
        if (effect === undefined && !all) return;
        rows.push({
          ...place,
          rule,
          number: i + 1,
          owner: ownerOf(chain, rule),
          words: ruleWords(rule),
          effect: dangerous.has(rule) ? "hazard" : effect ?? "may act",
        });
        if (!("chain" in rule.verdict)) return;
        const target = byKey.get(placeOf({ ...chain, name: rule.verdict.chain }));
        if (target === undefined || seen.has(target)) return;
        add(target, base, depth + 1, new Set([...seen, target]));
      });
      const { base: own } = chain;
      if (own?.policy !== "drop") return;
      rows.push({
        ...place,
        owner: "other",
        words: "everything else: thrown away (the chain's policy)",
        effect: dangerous.has(chain) ? "hazard" : "may act",
      });
    };
    for (const chain of baseChains(chains, hook)) add(chain, chain, 0, new Set([chain]));
  }
  return rows;
}

function effectOf(
  rule: Rule,
  { family }: Chain,
  packets: readonly Packet[],
): "acts" | "may act" | undefined {
  const own = packets.filter((packet) =>
    family === "inet" || family === (packet.family === 4 ? "ip" : "ip6")
  );
  const truths = own.map((packet) => holds(rule, packet));
  return truths.includes(true) ? "acts" : truths.includes("perhaps") ? "may act" : undefined;
}

/** Something that goes wrong, and the rule or policy that does it. */
export interface Hazard {
  readonly place: Place;
  readonly finding: Finding;
}

/** What goes wrong with the packets that a pod network lives by. */
export function findHazards(chains: readonly Chain[], samples: readonly Sample[]): Hazard[] {
  const found = new Map<Rule | Chain, { place: Place; kind: Kind; names: string[]; way: Way }>();
  const note = (place: Place | undefined, kind: Kind, { name }: Packet, way: Way): void => {
    if (place === undefined) return;
    const key = place.rule ?? place.chain;
    const known = found.get(key);
    if (known === undefined) found.set(key, { place, kind, names: [name], way });
    else known.names.push(name);
  };
  for (const { packet, role } of samples) {
    if (role === "shown") continue;
    const way = walk(chains, packet);
    note(way.dropped, role === "outer" ? "outer" : "dropped", packet, way);
    if (role === "inside") note(way.masqueraded, "masqueraded", packet, way);
  }
  return [...found.values()].map(({ place, kind, names, way }) => ({
    place,
    finding: finding(place, kind, names, way),
  }));
}

type Kind = "dropped" | "outer" | "masqueraded";

function finding(place: Place, kind: Kind, names: readonly string[], way: Way): Finding {
  const { chain, rule } = place;
  const subject = placeOf(chain);
  const who = names.join("; ");
  const what = rule === undefined
    ? "the chain's policy is to throw away what no rule of it lets through"
    : `its rule ${chain.rules.indexOf(rule) + 1} says: ${ruleWords(rule)}`;
  if (kind === "masqueraded") {
    return {
      id: "second-masquerade",
      subject,
      short: "masquerades pods",
      what: `packets inside the pod network get another source address (${who}): ${what}`,
      breaks:
        "pods see a node's address instead of the other pod's: network policies, access lists " +
        "and logs go wrong",
      fix: "find out who made the rule, and exclude the pod network from it",
    };
  }
  const elsewhere = way.accepted.filter((one) => one.chain !== chain);
  const overruled = elsewhere.length === 0
    ? ""
    : `; that ${
      elsewhere.map((one) => placeOf(one.chain)).join(", ")
    } lets them through does not help: every chain of a hook must`;
  return {
    id: kind === "outer" ? "drops-overlay" : "drops-pods",
    subject,
    short: kind === "outer" ? "drops the overlay" : "drops pods' packets",
    what: `${who} ${names.length === 1 ? "is" : "are"} ${
      rule === undefined ? "thrown away" : verdictWords(rule.verdict)
    }: ${what}${overruled}`,
    breaks: kind === "outer"
      ? "no packet of a pod reaches another node"
      : "these packets do not arrive",
    fix: rule === undefined
      ? "let pods' packets through in that very chain:"
      : "find out who made the rule; let pods' packets through before it:",
    command: acceptCommand(chain, kind),
  };
}

/** PORT and NETWORK stand for this node's. */
function acceptCommand({ program, family, table, name }: Chain, kind: Kind): string {
  if (program === "legacy") {
    const tool = family === "ip6" ? "ip6tables-legacy" : "iptables-legacy";
    return kind === "outer"
      ? `${tool} -t ${table} -I ${name} -p udp --dport PORT -j ACCEPT`
      : `${tool} -t ${table} -I ${name} -s NETWORK -j ACCEPT && ` +
        `${tool} -t ${table} -I ${name} -d NETWORK -j ACCEPT`;
  }
  const insert = `nft insert rule ${family} ${table} ${name}`;
  if (kind === "outer") return `${insert} udp dport PORT accept`;
  const ip = family === "ip6" ? "ip6" : "ip";
  return `${insert} ${ip} saddr NETWORK accept && ${insert} ${ip} daddr NETWORK accept`;
}
