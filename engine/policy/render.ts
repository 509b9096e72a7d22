/**
 * The table as nft text: whole, or as what leads from one to another. Either is one transaction.
 *
 * @module
 */

import type { Family } from "../ip.ts";
import { UNKNOWN_CHAIN } from "./compile.ts";
import { baseText, FAMILY, generationCommands, hooksText, PASS_CHAIN } from "./frame.ts";
import {
  type AddressMap,
  type ChainRule,
  type Enforced,
  followsMaps,
  MAP_NAMES,
  type PolicyChain,
  type PolicyMatch,
  type PolicySet,
  type PolicyTable,
  type SetKind,
  stepBetween,
  type TableOptions,
} from "./table.ts";

const TABLE_COMMENT = "NetworkPolicy; made by twill";

/** What stands in the kernel under the table's name, and goes when the table is written. */
export interface Standing {
  readonly chains: readonly string[];
  readonly counters: readonly string[];
  readonly maps: readonly string[];
  readonly sets: readonly string[];
  /** Sets that hold already what is wanted: they stay. */
  readonly filled: ReadonlySet<string>;
}

/**
 * The table whole, in place of whatever stands there.
 *
 * @param standing absent: the table is deleted with all that is in it, whatever that is.
 */
export function wholeText(want: Enforced, standing?: Standing): string {
  const { options, chains, maps } = want;
  const { table } = options;
  const named = [...chains].filter(([, { rules }]) => rules.some(isDeny));
  const sets = [...want.sets].filter(([name]) => standing?.filled.has(name) !== true);
  const counters = new Set([UNKNOWN_CHAIN, ...named.map(([name]) => name)]);
  return [
    ...(standing === undefined
      ? [`table ${table}`, `delete table ${table}`]
      : [addTableCommand(table), ...clearCommands(table, standing, counters)]),
    `table ${table} {`,
    `\tcomment "${TABLE_COMMENT}"`,
    ...[...counters].map((name) => `\tcounter ${name} {\n\t}`),
    ...sets.map(([name, set]) => `\tset ${name} {\n\t\t${setText(set)}\n\t}`),
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

/** References go first. Counters count on where they are wanted. */
function clearCommands(
  table: string,
  { chains, maps, sets, counters, filled }: Standing,
  wanted: ReadonlySet<string>,
): string[] {
  return [
    `flush table ${table}`,
    ...maps.map((name) => `delete map ${table} ${name}`),
    ...chains.map((name) => `delete chain ${table} ${name}`),
    ...sets.filter((name) => !filled.has(name)).map((name) => `delete set ${table} ${name}`),
    ...counters.filter((name) => !wanted.has(name)).map((name) =>
      `delete counter ${table} ${name}`
    ),
  ];
}

/** Makes sets without elements, and the table around them. */
export function emptySetsText(
  { table }: TableOptions,
  sets: Iterable<readonly [string, PolicySet]>,
): string {
  const commands = [...sets].map(([name, set]) =>
    addSetCommand(table, name, { ...set, elements: new Set() })
  );
  return [addTableCommand(table), ...commands, ""].join("\n");
}

/** What the kernel keeps of a table's words are those with which it was made. */
function addTableCommand(table: string): string {
  return `add table ${table} { comment "${TABLE_COMMENT}" ; }`;
}

function addSetCommand(table: string, name: string, set: PolicySet): string {
  return `add set ${table} ${name} { ${setText(set).replaceAll("\n\t\t", "; ")} ; }`;
}

/** What changes in a set or a map. */
export interface ElementStep {
  readonly name: string;
  readonly lost: readonly string[];
  /** In maps with the chain of each. */
  readonly fresh: readonly (string | readonly [ip: string, chain: string])[];
}

/**
 * What leads from one table to another when nothing but elements and the generation differs; else
 * undefined.
 */
export function elementSteps(have: Enforced, want: Enforced): ElementStep[] | undefined {
  const sets = difference(have.sets, want.sets);
  if (difference(have.chains, want.chains).length > 0) return undefined;
  const out: ElementStep[] = [];
  for (const { name, old, now } of sets) {
    if (old === undefined || now === undefined) return undefined;
    out.push({ name, ...stepBetween(old, now) });
  }
  for (const name of MAP_NAMES) out.push({ name, ...mapStep(have.maps[name], want.maps[name]) });
  return out.filter(({ lost, fresh }) => lost.length + fresh.length > 0);
}

/** Takes the generation to the wanted one; empty when it is there. */
export function generationText(have: Enforced, want: Enforced): string {
  if (have.generation === want.generation) return "";
  return generationCommands(want).map((command) => `${command}\n`).join("");
}

/**
 * What leads from one table to another of the same options; empty when they are alike.
 *
 * References go before what they refer to: nothing that is still looked into can be deleted.
 *
 * @param filled sets that are new, and stand in the kernel already.
 */
export function deltaText(
  have: Enforced,
  want: Enforced,
  filled: ReadonlySet<string> = new Set(),
): string {
  const { options: { table } } = want;
  const sets = difference(have.sets, want.sets);
  const chains = difference(have.chains, want.chains);
  const counted = (chain: PolicyChain | undefined): boolean => chain?.rules.some(isDeny) === true;
  const commands = [
    ...sets.filter(({ name, old }) => old === undefined && !filled.has(name)).map((
      { name, now },
    ) => addSetCommand(table, name, now!)),
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
  ];
  return commands.map((command) => `${command}\n`).join("") + generationText(have, want);
}

/**
 * Whether a connection that was allowed may not be any more, so that all must be judged again.
 * Cautious: says so also where only a look at all connections could tell that none is concerned.
 */
export function narrows(have: PolicyTable, want: PolicyTable): boolean {
  return difference(have.sets, want.sets).some(({ name, old, now }) =>
    // Those that follow from the maps shrink only when somebody is isolated no more.
    !followsMaps(name) && old !== undefined && now !== undefined &&
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
  const { lost, fresh } = mapStep(old, now);
  return [
    ...(lost.length > 0 ? [`delete element ${table} ${name} { ${lost.join(", ")} }`] : []),
    ...(fresh.length > 0
      ? [`add element ${table} ${name} { ${fresh.map(mapElement).join(", ")} }`]
      : []),
  ];
}

function mapStep(
  old: AddressMap,
  now: AddressMap,
): { readonly lost: string[]; readonly fresh: (readonly [string, string])[] } {
  return {
    lost: [...old].filter(([ip, chain]) => now.get(ip) !== chain).map(([ip]) => ip),
    fresh: [...now].filter(([ip, chain]) => old.get(ip) !== chain),
  };
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
