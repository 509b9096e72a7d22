/**
 * Routes, rules and packets in words, and what is said where rules end a packet. Pure.
 *
 * @module
 */

import type { HookResult, PlacedRule, TracePacket } from "./evaluate.ts";
import type { RouteAnswer } from "./lookup.ts";
import type { Hop, HopFault } from "./world.ts";

/** A rule with its chain, which the lines of iptables begin with. */
export function ruleText({ chain, rule }: PlacedRule): string {
  return rule.text.startsWith("-A ") ? rule.text : `${chain}: ${rule.text}`;
}

/** kube-proxy's rules for services that nobody serves. */
const NO_ENDPOINTS = / kube-proxy reject-chain: |has no (?:local )?endpoints/;

const NO_ENDPOINT: HopFault = {
  id: "no-endpoints",
  short: "service has no endpoint",
  fix: "the service selects no pod that is ready: compare its selector with the pods' labels:",
  command: "kubectl get endpointslices -A",
};

/** The table of policies: see `policy/table.ts`. */
const POLICY = /^inet twill-policy\b/;

const DENIED: HopFault = {
  id: "denied-by-policy",
  short: "denied by policy",
  fix:
    "the entry's chain names what isolates the pod; a policy must allow this packet, at the source " +
    "(egress) and at the destination (ingress):",
  command: "kubectl get networkpolicies -A",
};

/** The hop at which rules end a packet. */
export function dropped(
  step: string,
  { verdict, by, policy }: HookResult,
): [Omit<Hop, "maybe" | "fault">, HopFault] {
  const { table, chain } = by ?? policy ?? { table: step, chain: "" };
  const did = verdict === "drop" ? "dropped" : "refused";
  const forsaken = by !== undefined && NO_ENDPOINTS.test(`${table} ${ruleText(by)}`);
  return [
    {
      step,
      at: table,
      what: `the packet is ${did} here`,
      entry: by === undefined ? `${chain}: policy ${verdict}` : ruleText(by),
    },
    forsaken ? NO_ENDPOINT : POLICY.test(table) ? DENIED : {
      id: "dropped-by-rule",
      short: `${did} by a rule`,
      fix: by === undefined
        ? "accept packets of pods in a rule of that chain, or change its policy:"
        : "see whose rule that is; it must not match packets of pods:",
      command: table.includes("tables -t ")
        ? `${table} -S ${chain}`
        : `nft -a list chain ${table} ${chain}`,
    },
  ];
}

/** `10.96.0.1 port 443`. */
export function ends({ dst, dport }: TracePacket): string {
  return dport === undefined ? dst : `${dst} port ${dport}`;
}

/** A route in the words of `ip`. */
export function routeText(answer: RouteAnswer): string {
  if (answer.kind !== "found") return answer.kind;
  const { entry, via, dev, src } = answer;
  const dst = entry === undefined
    ? "?"
    : /^(?:0\.0\.0\.0|::)\/0$/.test(entry.dst)
    ? "default"
    : entry.dst;
  const table = entry === undefined || entry.table === 254 ? "" : ` table ${entry.table}`;
  return `${dst}${via === undefined ? "" : ` via ${via}`} dev ${dev}${
    src === undefined ? "" : ` src ${src}`
  }${table}`;
}
