/**
 * Traces in iptables: chains and rules of flannel's daemon, of every version, and those that the
 * plugins `bridge` and `portmap` made for pods of one network.
 *
 * @module
 */

import {
  commentOwner,
  type IptablesRule,
  IptablesTable,
  removalText,
  targetOf,
  valueOf,
} from "../engine/rules/iptables.ts";
import type { IptablesView } from "./inventory.ts";
import type { Removal } from "./removal.ts";

/** Chains of flannel's daemon. */
const FLANNEL_CHAINS = ["FLANNEL-POSTRTG", "FLANNEL-FWD"];

/** Comments of its rules; before its chains came, they stood among everybody else's. */
const FLANNEL_COMMENTS = ["flanneld masq", "flanneld forward"];

/** The chain whose rules lead to those of pods with host ports, of all networks. */
const HOST_PORTS = "CNI-HOSTPORT-DNAT";

/** Chains that serve it, and one of older versions of the plugin. */
const HOST_PORT_HELPERS = ["CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ", "CNI-HOSTPORT-SNAT"];

/** The chain of one pod. */
const POD_CHAIN = /^CNI-(?:[DS]N-[0-9a-f]{21}|[0-9a-f]{24})$/;

/** What goes of one table. */
interface Traces {
  readonly rules: readonly IptablesRule[];
  readonly chains: readonly string[];
}

/**
 * The steps that take the traces out of one variant of iptables.
 *
 * @param network name of the network whose pods are gone, or lose it
 * @param before nft tables from before the install; when known, tables that came since, and would
 *   hold nothing any more, go too: only iptables itself makes such
 */
export function iptablesRemovals(
  { program, nft, save }: IptablesView,
  network: string,
  before: readonly string[] | undefined,
): Removal[] {
  return tablesIn(save).flatMap(({ name, chains }): Removal[] => {
    const table = new IptablesTable(name, save);
    const rules = [...chains.keys()].flatMap((chain) => table.rules(chain));
    const traces = tracesIn(rules, [...chains.keys()], network);
    const input = removalText(table, traces.rules, traces.chains);
    const removals: Removal[] = input === ""
      ? []
      : [{ kind: "iptables", what: `${name}: ${inWords(traces)}`, program, input }];
    const own = `${nft} ${name}`;
    if (nft === undefined || before === undefined || before.includes(own)) return removals;
    const { rules: goneRules, chains: goneChains } = traces;
    const left = rules.length - goneRules.length -
      rules.filter(({ chain }) => goneChains.includes(chain)).length;
    const bases = [...chains].filter(([chain]) => !goneChains.includes(chain));
    // A chain without policy is somebody's own.
    if (left > 0 || bases.some(([, policy]) => policy !== "ACCEPT")) return removals;
    return [...removals, { kind: "emptyTable", table: own }];
  });
}

/** The tables of a listing, with their chains and the policy of each (`-` for none). */
function tablesIn(
  save: string,
): { readonly name: string; readonly chains: ReadonlyMap<string, string> }[] {
  const tables: { name: string; chains: Map<string, string> }[] = [];
  for (const line of save.split("\n")) {
    if (line.startsWith("*")) tables.push({ name: line.slice(1), chains: new Map() });
    const [, chain, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (chain !== undefined) tables.at(-1)?.chains.set(chain, policy ?? "-");
  }
  return tables;
}

function tracesIn(
  rules: readonly IptablesRule[],
  chains: readonly string[],
  network: string,
): Traces {
  const goneChains = new Set(chains.filter((chain) => FLANNEL_CHAINS.includes(chain)));
  const owned = (rule: IptablesRule): boolean =>
    FLANNEL_COMMENTS.includes(valueOf(rule, "--comment") ?? "") ||
    ["", "dnat "].some((prefix) => commentOwner(rule, prefix)?.network === network);
  for (const rule of rules) {
    if (!owned(rule)) continue;
    for (const chain of [rule.chain, targetOf(rule)]) {
      if (chain !== undefined && POD_CHAIN.test(chain)) goneChains.add(chain);
    }
  }
  const goes = (rule: IptablesRule): boolean =>
    owned(rule) || goneChains.has(rule.chain) || goneChains.has(targetOf(rule) ?? "");
  const hostPortsLeft = rules.some((rule) => rule.chain === HOST_PORTS && !goes(rule));
  if (!hostPortsLeft) {
    for (const chain of chains) {
      if (chain === HOST_PORTS || HOST_PORT_HELPERS.includes(chain)) goneChains.add(chain);
    }
  }
  return {
    // Those of a chain that goes, go with it.
    rules: rules.filter((rule) => goes(rule) && !goneChains.has(rule.chain)),
    chains: [...goneChains],
  };
}

function inWords({ rules, chains }: Traces): string {
  const count = rules.length === 1 ? "1 rule" : `${rules.length} rules`;
  const parts = [
    ...(chains.length === 0
      ? []
      : [`${chains.length === 1 ? "chain" : "chains"} ${chains.join(", ")}`]),
    ...(rules.length === 0
      ? []
      : [`${count} in ${[...new Set(rules.map((r) => r.chain))].join(", ")}`]),
  ];
  return parts.join(", ");
}
