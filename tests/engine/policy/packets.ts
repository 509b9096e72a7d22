/**
 * What a compiled table does to the first packet of a connection: the kernel's part in a few lines.
 *
 * @module
 */

import { familyOf, ipNumber, parseIp } from "../../../engine/ip.ts";
import { KNOWN_CHAIN, UNKNOWN_CHAIN } from "../../../engine/policy/compile.ts";
import type { ChainRule, PolicyMatch, PolicyTable } from "../../../engine/policy/table.ts";
import type { Flow } from "./naive.ts";

/** Whether packets from an isolated pod of this node get out of it. */
export function leaves(table: PolicyTable, flow: Flow): boolean {
  const source = parseIp(flow.source);
  return walkFrom(table, table.maps[`from${familyOf(source)}`].get(source), flow);
}

/** Whether packets to an isolated pod of this node reach it. */
export function arrives(table: PolicyTable, flow: Flow): boolean {
  const destination = parseIp(flow.destination);
  return walkFrom(table, table.maps[`to${familyOf(destination)}`].get(destination), flow);
}

function walkFrom(table: PolicyTable, chain: string | undefined, flow: Flow): boolean {
  return chain === undefined || (walk(table, chain, flow) ?? true);
}

/** True for accepted, false for dropped, undefined for the end of the chain. */
function walk(table: PolicyTable, name: string, flow: Flow): boolean | undefined {
  if (name === UNKNOWN_CHAIN) return false;
  if (name === KNOWN_CHAIN) {
    const family = familyOf(parseIp(flow.source));
    const loop = table.sets.get(`loops${family}`);
    return loop?.elements.has(`${flow.source} . ${flow.destination}`) ? true : undefined;
  }
  const chain = table.chains.get(name);
  if (chain === undefined) throw new Error(`no chain ${name}`);
  for (const { match, verdict } of chain.rules) {
    if (!match.every((one) => fits(table, one, flow))) continue;
    const result = judge(table, verdict, flow);
    if (result !== undefined) return result;
  }
  return undefined;
}

function judge(
  table: PolicyTable,
  verdict: ChainRule["verdict"],
  flow: Flow,
): boolean | undefined {
  switch (verdict.kind) {
    case "accept":
    case "remember":
      return true;
    case "deny":
      return false;
    case "jump":
      return walk(table, verdict.chain, flow);
  }
}

function fits(table: PolicyTable, match: PolicyMatch, flow: Flow): boolean {
  const elements = (set: string): ReadonlySet<string> => {
    const found = table.sets.get(set);
    if (found === undefined) throw new Error(`no set ${set}`);
    return found.elements;
  };
  const family = familyOf(parseIp(flow.source));
  switch (match.kind) {
    case "address": {
      const ip = flow[match.side];
      return match.family === family && [...elements(match.set)].some((one) => covers(one, ip));
    }
    case "protocol":
      return match.protocol === flow.protocol;
    case "ports":
      return match.protocol === flow.protocol &&
        match.ranges.some(([first, last]) => first <= flow.port && flow.port <= last);
    case "named-port":
      return match.protocol === flow.protocol && match.family === family &&
        elements(match.set).has(`${flow.destination} . ${flow.port}`);
  }
}

/** Whether an element of a set of addresses or ranges holds an address. */
function covers(element: string, ip: string): boolean {
  if (element.endsWith("/0")) return true;
  const [first = "", last = first] = element.split("-");
  const at = ipNumber(parseIp(ip));
  return ipNumber(parseIp(first)) <= at && at <= ipNumber(parseIp(last));
}
