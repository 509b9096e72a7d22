/**
 * All rules of a node as tables for the evaluator.
 *
 * @module
 */

import { messageOf, OpError } from "../../engine/errors.ts";
import type { Family } from "../../engine/ip.ts";
import { readIptables } from "../../engine/trace/iptables_read.ts";
import { readNft } from "../../engine/trace/nft_read.ts";
import type { TraceTable } from "../../engine/trace/rules.ts";
import type { TraceTools } from "./tools.ts";

/** The tables that iptables has, and that its nf_tables variant keeps under the same names. */
const IPTABLES = ["raw", "mangle", "nat", "filter", "security"] as const;
const FAMILIES = { 4: "ip", 6: "ip6" } as const satisfies Record<Family, string>;
/** The legacy variant's tables that are in use. */
const LEGACY = { 4: "/proc/net/ip_tables_names", 6: "/proc/net/ip6_tables_names" } as const;

/** Everybody's tables, or why they are not known. */
export function readTables(
  tools: TraceTools,
  readFile: (path: string) => string,
): TraceTable[] | string {
  try {
    const text = tools.ruleset();
    const all = readNft(text);
    const found: TraceTable[] = [];
    const replaced = new Set<string>();
    for (const family of [4, 6] as const) {
      const legacy = namesIn(LEGACY[family], readFile);
      for (const table of IPTABLES) {
        const name = `${FAMILIES[family]} ${table}`;
        // A table that is only asked about must not be made by that.
        const here = all.some((one) => one.name === name && isOfIptables(one));
        if (!here && !legacy.includes(table)) continue;
        const saved = tools.iptables(family, table);
        if (saved === undefined) continue;
        found.push(...readIptables(saved, family));
        replaced.add(name);
      }
    }
    return [...all.filter(({ name }) => !replaced.has(name)), ...found];
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    return messageOf(e);
  }
}

/** Its chains are called PREROUTING, FORWARD and so on. */
function isOfIptables({ chains }: TraceTable): boolean {
  return [...chains.values()].some(({ name, base }) => base !== undefined && /^[A-Z]+$/.test(name));
}

function namesIn(path: string, readFile: (path: string) => string): string[] {
  try {
    return readFile(path).split("\n");
  } catch {
    return []; // no legacy tables in this kernel
  }
}
