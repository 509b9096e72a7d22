/**
 * The table as nft text: whole, or as what leads from one to another. Either is one transaction.
 *
 * @module
 */

import type { Family } from "../ip.ts";
import { KNOWN_CHAIN, UNKNOWN_CHAIN } from "./compile.ts";
import {
  type AddressMap,
  type ChainRule,
  type Enforced,
  MAP_NAMES,
  type PolicyChain,
  type PolicyMatch,
  type PolicySet,
  type PolicyTable,
  type SetKind,
  stepBetween,
  type TableOptions,
} from "./table.ts";

/** Where packets go that are allowed once and for all. */
const PASS_CHAIN = "pass";

/** The bits of a connection's mark that hold the generation; the others are left to others. */
export const MARK_MASK = 0xffff_ff00;
/** How far left of the lowest bit they begin. */
export const MARK_SHIFT = 8;

/** What nft calls the families. */
const FAMILY = {
  4: { type: "ipv4_addr", header: "ip" },
  6: { type: "ipv6_addr", header: "ip6" },
} as const satisfies Record<Family, unknown>;

/** Messages without which links do not work; none of them passes a router. */
const NEIGHBOUR_DISCOVERY = [
  "mld-listener-query",
  "mld-listener-report",
  "mld-listener-done",
  "nd-router-solicit",
  "nd-router-advert",
  "nd-neighbor-solicit",
  "nd-neighbor-advert",
  "nd-redirect",
  "mld2-listener-report",
].join(", ");

/** The table whole, in place of whatever stands there. */
export function wholeText(want: Enforced): string {
  const { options, sets, chains, maps } = want;
  const { table } = options;
  const named = [...chains].filter(([, { rules }]) => rules.some(isDeny));
  return [
    `table ${table}\ndelete table ${table}\ntable ${table} {`,
    `\tcomment "NetworkPolicy; made by twill"`,
    ...[UNKNOWN_CHAIN, ...named.map(([name]) => name)].map((name) => `\tcounter ${name} {\n\t}`),
    ...[...sets].map(([name, set]) => `\tset ${name} {\n\t\t${setText(set)}\n\t}`),
    ...[...chains].map(([name, { comment }]) =>
      comment === undefined
        ? `\tchain ${name} {\n\t}`
        : `\tchain ${name} {\n\t\tcomment "${comment}"\n\t}`
    ),
    baseText(want),
    ...MAP_NAMES.map((name) => `\tmap ${name} {\n\t\t${mapText(name, maps[name])}\n\t}`),
    hooksText(),
    "}",
    ...[...chains].flatMap(([name, chain]) => ruleCommands(options, name, chain)),
    "",
  ].join("\n");
}

/**
 * What leads from one table to another of the same options; empty when they are alike.
 *
 * References go before what they refer to: nothing that is still looked into can be deleted.
 */
export function deltaText(have: Enforced, want: Enforced): string {
  const { options: { table } } = want;
  const sets = difference(have.sets, want.sets);
  const chains = difference(have.chains, want.chains);
  const counted = (chain: PolicyChain | undefined): boolean => chain?.rules.some(isDeny) === true;
  const commands = [
    ...sets.filter(({ old }) => old === undefined).map(({ name, now }) =>
      `add set ${table} ${name} { ${setText(now!).replaceAll("\n\t\t", "; ")} ; }`
    ),
    ...chains.filter(({ old }) => old === undefined).flatMap(({ name, now }) => [
      ...(counted(now) ? [`add counter ${table} ${name}`] : []),
      `add chain ${table} ${name}${
        now?.comment === undefined ? "" : ` { comment "${now.comment}"; }`
      }`,
    ]),
    ...sets.flatMap(({ name, old, now }) =>
      old === undefined || now === undefined ? [] : elementCommands(table, name, old, now)
    ),
    ...chains.flatMap(({ name, old, now }) =>
      now === undefined ? [] : [
        ...(old === undefined ? [] : [`flush chain ${table} ${name}`]),
        ...ruleCommands(want.options, name, now),
      ]
    ),
    ...MAP_NAMES.flatMap((name) => mapCommands(table, name, have.maps[name], want.maps[name])),
    ...gone(chains).map((name) => `flush chain ${table} ${name}`),
    ...chains.filter(({ now }) => now === undefined).flatMap(({ name, old }) => [
      `delete chain ${table} ${name}`,
      ...(counted(old) ? [`delete counter ${table} ${name}`] : []),
    ]),
    ...gone(sets).map((name) => `delete set ${table} ${name}`),
    ...(have.generation === want.generation ? [] : generationCommands(want)),
  ];
  return commands.map((command) => `${command}\n`).join("");
}

/**
 * Whether a connection that was allowed may not be any more, so that all must be judged again.
 * Cautious: says so also where only a look at all connections could tell that none is concerned.
 */
export function narrows(have: PolicyTable, want: PolicyTable): boolean {
  return difference(have.sets, want.sets).some(({ name, old, now }) =>
    // Those that follow from the maps shrink only when somebody is isolated no more.
    !/^(loops|senders)[46]$/.test(name) && old !== undefined && now !== undefined &&
    stepBetween(old, now).lost.length > 0
  ) ||
    difference(have.chains, want.chains).some(({ old, now }) =>
      old !== undefined && now !== undefined
    ) ||
    MAP_NAMES.some((name) =>
      [...want.maps[name]].some(([ip, chain]) => have.maps[name].get(ip) !== chain)
    );
}

interface Difference<T> {
  readonly name: string;
  readonly old: T | undefined;
  readonly now: T | undefined;
}

/** Pieces that are other objects, by name. */
function difference<T>(
  have: ReadonlyMap<string, T>,
  want: ReadonlyMap<string, T>,
): Difference<T>[] {
  const out: Difference<T>[] = [];
  for (const [name, now] of want) {
    const old = have.get(name);
    if (old !== now) out.push({ name, old, now });
  }
  for (const [name, old] of have) if (!want.has(name)) out.push({ name, old, now: undefined });
  return out;
}

function gone<T>(differences: readonly Difference<T>[]): string[] {
  return differences.filter(({ now }) => now === undefined).map(({ name }) => name);
}

function isDeny({ verdict }: ChainRule): boolean {
  return verdict.kind === "deny";
}

/** `elements` in commands of bounded length: nft's own errors repeat the whole line. */
function elementCommands(
  table: string,
  name: string,
  old: PolicySet,
  now: PolicySet,
): string[] {
  const { lost, fresh } = stepBetween(old, now);
  return [
    ...(lost.length > 0 ? [`delete element ${table} ${name} { ${lost.join(", ")} }`] : []),
    ...(fresh.length > 0 ? [`add element ${table} ${name} { ${fresh.join(", ")} }`] : []),
  ];
}

function mapCommands(table: string, name: string, old: AddressMap, now: AddressMap): string[] {
  const other = [...old].filter(([ip, chain]) => now.get(ip) !== chain).map(([ip]) => ip);
  const fresh = [...now].filter(([ip, chain]) => old.get(ip) !== chain);
  return [
    ...(other.length > 0 ? [`delete element ${table} ${name} { ${other.join(", ")} }`] : []),
    ...(fresh.length > 0
      ? [`add element ${table} ${name} { ${fresh.map(mapElement).join(", ")} }`]
      : []),
  ];
}

function mapElement([ip, chain]: readonly [string, string]): string {
  return `${ip} : goto ${chain}`;
}

/** The type of a set's elements. */
function typeText(kind: SetKind, family: Family): string {
  const { type } = FAMILY[family];
  switch (kind) {
    case "addresses":
    case "ranges":
      return type;
    case "loops":
      return `${type} . ${type}`;
    case "ports":
      return `${type} . inet_service`;
  }
}

function setText({ kind, family, comment, elements }: PolicySet): string {
  return [
    `type ${typeText(kind, family)}`,
    ...(kind === "ranges" ? ["flags interval"] : []),
    ...(comment === undefined ? [] : [`comment "${comment}"`]),
    ...(elements.size === 0 ? [] : [`elements = { ${[...elements].join(", ")} }`]),
  ].join("\n\t\t");
}

function mapText(name: (typeof MAP_NAMES)[number], map: AddressMap): string {
  const family = name.endsWith("4") ? 4 : 6;
  return [
    `type ${FAMILY[family].type} : verdict`,
    ...(map.size === 0 ? [] : [`elements = { ${[...map].map(mapElement).join(", ")} }`]),
  ].join("\n\t\t");
}

/** The chains that every table has. */
function baseText({ options, generation }: Enforced): string {
  const families = Object.entries(FAMILY) as unknown as [Family, (typeof FAMILY)[Family]][];
  const chain = (name: string, rules: readonly string[]): string =>
    `\tchain ${name} {\n${rules.map((rule) => `\t\t${rule}\n`).join("")}\t}`;
  return [
    chain("current", [currentRule(generation)]),
    chain("remember", [rememberRule(generation)]),
    chain(PASS_CHAIN, ["jump remember", "accept"]),
    chain(KNOWN_CHAIN, [
      "jump current",
      "ct direction reply ct state established accept",
      // Errors about a connection; connections that helpers expect are judged like others.
      "ct state related meta l4proto { icmp, ipv6-icmp } accept",
      `icmpv6 type { ${NEIGHBOUR_DISCOVERY} } accept`,
      ...families.map(([family, { header }]) =>
        `${header} saddr . ${header} daddr @loops${family} accept comment "a pod to itself"`
      ),
      ...(options.ping ? ["icmp type echo-request accept", "icmpv6 type echo-request accept"] : []),
    ]),
    chain(UNKNOWN_CHAIN, [`jump ${KNOWN_CHAIN}`, `counter name "${UNKNOWN_CHAIN}" drop`]),
  ].join("\n");
}

/** The chains at hooks; they hold for isolated pods only, and accept what falls through. */
function hooksText(): string {
  const base = (name: string, hook: string, before: number, rules: readonly string[]): string =>
    `\tchain ${name} {\n\t\ttype filter hook ${hook} priority filter - ${before}; policy accept;\n${
      rules.map((rule) => `\t\t${rule}\n`).join("")
    }\t}`;
  const from = ["ip saddr vmap @from4", "ip6 saddr vmap @from6"];
  const sent = [`ip saddr @senders4 goto ${PASS_CHAIN}`, `ip6 saddr @senders6 goto ${PASS_CHAIN}`];
  return [
    base("from-pods", "forward", 10, from),
    base("to-pods", "forward", 5, [
      "ip daddr vmap @to4",
      "ip6 daddr vmap @to6",
      // The last look at what an isolated pod sends to one that is not.
      ...sent,
    ]),
    base("to-node", "input", 10, from),
    base("in-node", "input", 5, sent),
  ].join("\n");
}

/** Connections that were judged under this generation. */
function currentRule(generation: number): string {
  return `ct mark & ${hex(MARK_MASK)} == ${markOf(generation)} accept`;
}

/** Only packets in a connection's own direction were judged. */
function rememberRule(generation: number): string {
  const others = hex(~MARK_MASK >>> 0);
  return `ct direction original ct mark set ct mark & ${others} | ${markOf(generation)}`;
}

function generationCommands({ options: { table }, generation }: Enforced): string[] {
  return [
    `flush chain ${table} current`,
    `add rule ${table} current ${currentRule(generation)}`,
    `flush chain ${table} remember`,
    `add rule ${table} remember ${rememberRule(generation)}`,
  ];
}

function markOf(generation: number): string {
  return hex(generation * 2 ** MARK_SHIFT);
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, "0")}`;
}

/** The generation of a rule as nft lists it; undefined when there is none. */
export function generationIn(listing: string): number | undefined {
  const mark = /ct mark set .*\| (0x[0-9a-f]+)/.exec(listing)?.[1];
  return mark === undefined ? undefined : Number(mark) >>> MARK_SHIFT || undefined;
}

function ruleCommands({ table }: TableOptions, name: string, { rules }: PolicyChain): string[] {
  return rules.map((rule) => `add rule ${table} ${name} ${ruleText(name, rule)}`);
}

function ruleText(chain: string, { match, verdict }: ChainRule): string {
  return [...match.map(matchText), verdictText(chain, verdict)].join(" ");
}

function matchText(match: PolicyMatch): string {
  switch (match.kind) {
    case "address":
      return `${FAMILY[match.family].header} ${
        match.side === "source" ? "saddr" : "daddr"
      } @${match.set}`;
    case "protocol":
      return `meta l4proto ${match.protocol.toLowerCase()}`;
    case "ports": {
      const ranges = match.ranges.map(([first, last]) =>
        first === last ? `${first}` : `${first}-${last}`
      );
      const list = ranges.length === 1 ? ranges[0] : `{ ${ranges.join(", ")} }`;
      return `${match.protocol.toLowerCase()} dport ${list}`;
    }
    case "named-port": {
      const { header } = FAMILY[match.family];
      return `${header} daddr . ${match.protocol.toLowerCase()} dport @${match.set}`;
    }
  }
}

function verdictText(chain: string, verdict: ChainRule["verdict"]): string {
  switch (verdict.kind) {
    case "accept":
      return "accept";
    case "remember":
      return `goto ${PASS_CHAIN}`;
    case "jump":
      return `jump ${verdict.chain}`;
    case "deny":
      return `counter name "${chain}" drop`;
  }
}
