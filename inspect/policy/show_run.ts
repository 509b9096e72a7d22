/**
 * `twill inspect policy show`: the work.
 *
 * @module
 */

import { familyOf, type Ip } from "../../engine/ip.ts";
import { inScope } from "../../engine/policy/compile.ts";
import { differences, policiesOf } from "../../engine/policy/found.ts";
import {
  type Direction,
  DIRECTIONS,
  keyOf,
  type Peer,
  type Pod,
  type Policy,
  type PolicyRule,
} from "../../engine/policy/model.ts";
import { matches } from "../../engine/policy/selector.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { MAP_NAMES } from "../../engine/policy/table.ts";
import { peersText, peerText, portsText, portText } from "../../engine/policy/words.ts";
import type { InspectContext } from "../context.ts";
import type { Finding } from "../finding.ts";
import { give, type Report } from "../report.ts";
import { table, type TableOptions } from "../style.ts";
import { localEnds, orUsage } from "./can_run.ts";
import type { CanFlags } from "./commands.ts";
import { findPod, look, type PolicyView, UnknownName, wantedTable } from "./look.ts";

/** Gathers, and gives out. */
export async function run(this: InspectContext, flags: CanFlags, word: string): Promise<void> {
  await orUsage(this, "show", async () => {
    const view = await look(this, flags);
    if (view.snapshot !== undefined) {
      const pod = findPod(view.snapshot, word);
      if (pod === undefined) {
        throw new UnknownName(`${JSON.stringify(word)} is no pod that the daemon knows`);
      }
      return await give(this, flags, podReport(view, view.snapshot, pod));
    }
    const [end] = await localEnds(this, flags, [word]);
    await give(this, flags, tableReport(view, end!));
  });
}

/** A rule with who its peers are now. */
interface ShownRule {
  readonly index: number;
  readonly rule: PolicyRule;
  /** Pods that its peers select, `namespace/name`; empty where it has none, or anybody will do. */
  readonly now: readonly string[];
}

interface ShownPolicy {
  readonly policy: Policy;
  readonly rules: readonly ShownRule[];
}

/** Undefined: not isolated. */
type Isolation = Readonly<Record<Direction, readonly ShownPolicy[] | undefined>>;

function isolationOf({ cluster }: PolicySnapshot, pod: Pod): Isolation {
  const namespaces = new Map(cluster.namespaces.map(({ name, labels }) => [name, labels]));
  const views = cluster.pods.filter(({ hostNetwork, done, ips }) =>
    !hostNetwork && !done && ips.length > 0
  ).map((one) => ({ pod: one, ips: one.ips, namespace: namespaces.get(one.namespace) }));
  const now = (peer: Peer): string[] =>
    peer.kind === "block"
      ? []
      : views.filter((view) => inScope(peer.of, view)).map((view) => keyOf(view.pod));
  const of = (direction: Direction): ShownPolicy[] | undefined => {
    if (pod.hostNetwork) return undefined;
    const selecting = cluster.policies.filter((policy) =>
      policy[direction] !== undefined && policy.namespace === pod.namespace &&
      matches(policy.targets, pod.labels)
    ).sort((a, b) => a.name < b.name ? -1 : 1);
    return selecting.length === 0 ? undefined : selecting.map((policy) => ({
      policy,
      rules: policy[direction]!.map((rule, index) => ({
        index,
        rule,
        now: [...new Set((rule.peers ?? []).flatMap(now))].sort(),
      })),
    }));
  };
  return { ingress: of("ingress"), egress: of("egress") };
}

function podReport(view: PolicyView, snapshot: PolicySnapshot, pod: Pod): Report {
  const isolation = isolationOf(snapshot, pod);
  const held = snapshot.held.filter((ip) => pod.ips.includes(ip));
  const here = pod.node === snapshot.node;
  const kernel = !here || pod.hostNetwork
    ? "elsewhere"
    : typeof view.found === "string"
    ? "unknown"
    : differences(wantedTable(snapshot), view.found, pod.ips);
  const wrong = typeof kernel === "string" ? [] : kernel;
  return {
    kind: "policy show",
    document: {
      item: {
        namespace: pod.namespace,
        name: pod.name,
        node: pod.node,
        ips: pod.ips,
        hostNetwork: pod.hostNetwork,
        held,
        ingress: isolationJson(isolation.ingress),
        egress: isolationJson(isolation.egress),
        kernel: {
          state: typeof kernel === "string"
            ? kernel
            : wrong.length === 0
            ? "programmed"
            : "differs",
          differences: wrong,
        },
      },
    },
    names: DIRECTIONS.flatMap((direction) =>
      (isolation[direction] ?? []).map(({ policy }) => `${direction} ${keyOf(policy)}`)
    ),
    table: (options) =>
      [
        `pod ${keyOf(pod)}, ${pod.ips.join(", ") || "no address yet"}, on ${pod.node}\n`,
        ...DIRECTIONS.map((direction) => directionText(isolation[direction], direction, options)),
        stateText(pod, held, kernel),
      ].join("\n"),
    findings: wrong.length === 0 ? [] : [notProgrammed(view, pod, wrong)],
    sources: { item: "status socket", "item.kernel": "nft" },
    commands: view.commands,
    notes: view.notes,
    unknown: kernel === "unknown",
  };
}

interface Row {
  readonly policy: string;
  readonly rule: string;
  readonly peers: string;
  readonly ports: string;
  readonly now: string;
}

function directionText(
  policies: readonly ShownPolicy[] | undefined,
  direction: Direction,
  options: TableOptions,
): string {
  if (policies === undefined) return `${direction}: not isolated, everything is allowed\n`;
  const rows = policies.flatMap(({ policy, rules }): Row[] => {
    const nothing = policy.fault === undefined ? "allows nothing" : `closed: ${policy.fault}`;
    if (rules.length === 0) {
      return [{ policy: keyOf(policy), rule: "-", peers: nothing, ports: "-", now: "-" }];
    }
    return rules.map(({ index, rule, now }) => ({
      policy: keyOf(policy),
      rule: String(index),
      peers: peersText(rule),
      ports: portsText(rule),
      now: nowText(rule, now),
    }));
  });
  const lines = table(rows, [
    { head: "POLICY", cell: ({ policy }) => policy },
    { head: "RULE", cell: ({ rule }) => rule },
    { head: direction === "ingress" ? "FROM" : "TO", cell: ({ peers }) => peers },
    { head: "PORTS", cell: ({ ports }) => ports },
    { head: "NOW", cell: ({ now }) => now },
  ], options);
  const count = policies.length === 1 ? "1 policy" : `${policies.length} policies`;
  return `${direction}: isolated by ${count}; what no rule allows is dropped\n${lines}`;
}

/** So many pods are named in a table. */
const MOST = 5;

function nowText({ peers }: PolicyRule, now: readonly string[]): string {
  if (peers === undefined || peers.every(({ kind }) => kind === "block")) return "";
  if (now.length === 0) return "no pod";
  return now.slice(0, MOST).join(", ") + (now.length > MOST ? `, ${now.length - MOST} more` : "");
}

function stateText(pod: Pod, held: readonly Ip[], kernel: string | readonly string[]): string {
  if (pod.hostNetwork) return "It has its node's network: no policy holds for it.\n";
  const closed = held.length === 0
    ? ""
    : `Nothing is allowed for ${held.join(", ")} until its pod is known.\n`;
  if (kernel === "elsewhere") return `${closed}It is enforced on ${pod.node}: look there.\n`;
  if (kernel === "unknown") return closed;
  return `${closed}kernel: ${kernel.length === 0 ? "programmed" : "differs from what is wanted"}\n`;
}

function notProgrammed({ table }: PolicyView, pod: Pod, wrong: readonly string[]): Finding {
  return {
    id: "not-programmed",
    subject: keyOf(pod),
    short: "not programmed",
    what: `the kernel's table is other than wanted: ${wrong.join("; ")}`,
    breaks: "what its policies say does not hold, or not yet",
    fix: "the daemon puts this right within a second; if it stays, its log and status say why:",
    command: `twill inspect status; nft list table ${table}`,
  };
}

function isolationJson(policies: readonly ShownPolicy[] | undefined): Record<string, unknown> {
  return {
    isolated: policies !== undefined,
    policies: (policies ?? []).map(({ policy, rules }) => ({
      policy: keyOf(policy),
      fault: policy.fault ?? null,
      rules: rules.map(({ index, rule, now }) => ({
        rule: index,
        peers: rule.peers?.map(peerText) ?? null,
        ports: rule.ports?.map(portText) ?? null,
        now,
      })),
    })),
  };
}

/** What the table alone tells. */
function tableReport(
  view: PolicyView,
  { label, ips }: { readonly label: string; readonly ips: readonly Ip[] },
): Report {
  const { found } = view;
  const side = (direction: Direction): Record<string, unknown> => {
    const chains = typeof found !== "object"
      ? []
      : MAP_NAMES.flatMap((name) =>
        name.startsWith(direction === "ingress" ? "to" : "from")
          ? ips.flatMap((ip) =>
            name.endsWith(String(familyOf(ip))) ? found.maps[name].get(ip) ?? [] : []
          )
          : []
      );
    const policies = typeof found !== "object"
      ? []
      : [...new Set(chains.flatMap((chain) => policiesOf(found, chain)))];
    return {
      isolated: typeof found === "object" ? chains.length > 0 : null,
      policies: policies.map((policy) => ({ policy, fault: null, rules: [] })),
    };
  };
  const held = typeof found !== "object"
    ? []
    : ips.filter((ip) => MAP_NAMES.some((name) => found.maps[name].get(ip) === "unknown"));
  const both = { ingress: side("ingress"), egress: side("egress") };
  const words = (direction: Direction): string => {
    const { isolated, policies } = both[direction] as {
      isolated: boolean | null;
      policies: { policy: string }[];
    };
    if (isolated === null) return `${direction}: not known\n`;
    if (!isolated) return `${direction}: not isolated in the kernel\n`;
    const names = policies.map(({ policy }) => policy).join(", ");
    return `${direction}: isolated by ${names || "nobody's policy: its pod is not known yet"}\n`;
  };
  return {
    kind: "policy show",
    document: {
      item: {
        namespace: null,
        name: label,
        node: null,
        ips,
        hostNetwork: null,
        held,
        ...both,
        kernel: { state: "unknown", differences: [] },
      },
    },
    names: [],
    table: () => `pod ${label}, ${ips.join(", ")}\n\n${DIRECTIONS.map(words).join("")}`,
    findings: [],
    sources: { item: "nft" },
    commands: view.commands,
    notes: view.notes,
    unknown: true,
  };
}
