/**
 * What of the table does not depend on pods and policies: the chains at hooks, those that all pods'
 * chains begin with, and the generation. As nft text.
 *
 * @module
 */

import type { Family } from "../ip.ts";
import { KNOWN_CHAIN, UNKNOWN_CHAIN } from "./compile.ts";
import type { Enforced } from "./table.ts";

/** Where packets go that are allowed once and for all. */
export const PASS_CHAIN = "pass";

/** The bits of a connection's mark that hold the generation; the others are left to others. */
export const MARK_MASK = 0xffff_ff00;
/** How far left of the lowest bit they begin. */
export const MARK_SHIFT = 8;

/** What nft calls the families. */
export const FAMILY = {
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

/** The chains that every table has. */
export function baseText({ options, generation }: Enforced): string {
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
export function hooksText(): string {
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

/** Commands that take a table to its generation. */
export function generationCommands({ options: { table }, generation }: Enforced): string[] {
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

/** The generation in a connection's mark; undefined when there is none. */
export function generationOf(mark: number): number | undefined {
  return mark >>> MARK_SHIFT || undefined;
}

/** The generation of a rule as nft lists it; undefined when there is none. */
export function generationIn(listing: string): number | undefined {
  const mark = /ct mark set .*\| (0x[0-9a-f]+)/.exec(listing)?.[1];
  return mark === undefined ? undefined : generationOf(Number(mark));
}
