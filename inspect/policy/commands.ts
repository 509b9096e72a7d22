/**
 * `twill inspect policy …`: the flags and the help of each.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { commonAliases, type CommonFlags, commonFlags, describe } from "../flags.ts";
import { type PodPlaces, podPlaces } from "../pods/pods.ts";
import type { Service } from "./decide.ts";
import { parseService } from "./port.ts";

/** What all of them are told. */
export type PolicyFlags = CommonFlags;

/** What those are told that find pods without the daemon. */
export interface CanFlags extends PolicyFlags, PodPlaces {}

/** The matrix. */
export interface MatrixFlags extends PolicyFlags {
  readonly namespace?: string;
  readonly port: Service;
  readonly direction: (typeof SIGHTS)[number];
}

/** The log. */
export interface LogFlags extends PodPlaces, PolicyFlags {
  readonly follow: boolean;
  /** Packets. */
  readonly count?: number;
}

/** What a matrix shows. */
export const SIGHTS = ["combined", "ingress", "egress"] as const;

const FROM = [
  "Decided from what the daemon knows (its status socket): policies, pods and namespaces of the",
  "cluster as this node sees them. The kernel's table is compared with it.",
];

/** Which policies hold for a pod. */
export const show: InspectCommand = command<CanFlags, [string]>({
  loader: () => import("./show_run.ts").then((m) => m.run),
  parameters: {
    flags: { ...podPlaces, ...commonFlags },
    aliases: commonAliases,
    positional: {
      kind: "tuple",
      parameters: [{
        parse: String,
        placeholder: "pod",
        brief: "namespace/name, name, or address",
      }],
    },
  },
  docs: {
    brief: "Which policies hold for a pod, rule by rule, and whether the kernel has them",
    fullDescription: describe([
      ...FROM,
      "Rules have their numbers in the policy, from 0; NOW is who a rule's peers are at this moment.",
      "Without the daemon: what the kernel's table tells of a pod of this node.",
      "",
      "Exit code: 0 fine, 1 the kernel holds something else, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect policy show default/web", "each rule of each policy that selects it"],
      ["twill inspect policy show 10.244.1.7", "the same, by its address"],
      [
        "twill inspect policy show web -o json | jq .item.kernel",
        "is it programmed, and if not, what is missing",
      ],
    ]),
  },
}, "pods");

/** May they? */
export const can: InspectCommand = command<CanFlags, [string, string, string]>({
  loader: () => import("./can_run.ts").then((m) => m.run),
  parameters: {
    flags: { ...podPlaces, ...commonFlags },
    aliases: commonAliases,
    positional: {
      kind: "tuple",
      parameters: [
        { parse: String, placeholder: "src", brief: "Pod (namespace/name) or address" },
        { parse: String, placeholder: "dst", brief: "The same; behind a Service: the pod" },
        {
          parse: String,
          placeholder: "port",
          brief: "The pod's port: 80, 80/TCP, 53/UDP, 80/SCTP; or icmp",
        },
      ],
    },
  },
  docs: {
    brief: "Whether policies allow a connection, and the rule that decides at each end",
    fullDescription: describe([
      ...FROM,
      "Where nothing matches, the policies are named that isolate the pod. Nothing is sent. Pods with",
      "two families are judged in both: one that is denied is a denial.",
      "",
      "Exit code: 0 allowed, 1 denied, 2 wrong usage, 3 cannot tell (no daemon: only what the table",
      "of this node denies is then known).",
    ], [
      ["twill inspect policy can default/web data/db 5432", "the rule that decides at each end"],
      ["twill inspect policy can default/web 192.0.2.80 443/TCP", "to an address outside"],
      ["twill inspect policy can web db 5432 >/dev/null || echo closed", "in a script"],
    ]),
  },
}, "pods");

/** Who may reach whom. */
export const matrix: InspectCommand = command<MatrixFlags>({
  loader: () => import("./matrix_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      namespace: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "name",
        brief: "Only pods of this namespace; default all",
      },
      port: {
        kind: "parsed",
        parse: parseService,
        default: "80/TCP",
        placeholder: "port",
        brief: "The destination's port: 80, 53/UDP; or icmp",
      },
      direction: {
        kind: "enum",
        values: SIGHTS,
        default: "combined",
        brief: "What policies of both ends say together, or of one",
      },
      ...commonFlags,
    },
    aliases: { ...commonAliases, n: "namespace", p: "port" },
  },
  docs: {
    brief: "Who may reach whom: a table of all pods, . allowed and X denied",
    fullDescription: describe([
      ...FROM,
      "Rows are sources, columns destinations, in the order of the rows. JSON has all three tables.",
      "",
      "Exit code: 0, 2 wrong usage, 3 no daemon that knows the policies.",
    ], [
      ["twill inspect policy matrix -n default", "one namespace, TCP port 80"],
      ["twill inspect policy matrix --port 53/UDP", "who may ask whom for names"],
      ["twill inspect policy matrix --direction ingress", "what destinations alone would let in"],
    ]),
  },
});

/** What is probably not meant. */
export const lint: InspectCommand = command<PolicyFlags>({
  loader: () => import("./lint_run.ts").then((m) => m.run),
  parameters: { flags: commonFlags, aliases: commonAliases },
  docs: {
    brief: "Policies that probably do not do what was meant: what, why, what to do",
    fullDescription: describe([
      ...FROM,
      "Looks for: policies that cannot be enforced as written; egress without DNS; selectors and port",
      "names that match nothing; sections that policyTypes make inert, or that isolate unasked; nodes'",
      "addresses in an ipBlock that never appear (vxlan); pods with the node's network, which no policy",
      "holds for. Ports of Services written in place of the pod's are not looked for: the daemon does",
      "not watch Services.",
      "",
      "Exit code: 0 nothing found, 1 something, 2 wrong usage, 3 no daemon that knows the policies.",
    ], [
      ["twill inspect policy lint", "everything, with what to do about it"],
      ["twill inspect policy lint -o name", "one word for each finding, and which policy"],
      ["twill inspect policy lint -o json | jq '.findings[].id'", "for a script"],
    ]),
  },
});

/** What is dropped. */
export const log: InspectCommand = command<LogFlags>({
  loader: () => import("./log_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      follow: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Packets as they are dropped, until interrupted; else the counts until now",
      },
      count: {
        kind: "parsed",
        parse: (word) => {
          if (/^[1-9]\d*$/.test(word)) return Number(word);
          throw new SyntaxError(`--count: want a number of packets, got ${JSON.stringify(word)}`);
        },
        optional: true,
        placeholder: "n",
        brief: "With --follow: end after so many packets",
      },
      ...podPlaces,
      ...commonFlags,
    },
    aliases: { ...commonAliases, f: "follow" },
  },
  docs: {
    brief: "What policies drop: pods by their names, and the policies that isolate them",
    fullDescription: describe([
      "Without -f: packets dropped until now, by the policies that isolate the pod.",
      "With -f one line for each dropped packet, as JSON Lines with -o json. While it runs, a table of",
      "this program's own (it goes with it, even if it is killed) has the kernel tell about first",
      "packets of isolated pods (nft's trace): this costs CPU where many connections are opened.",
      "",
      "Needs root (CAP_NET_ADMIN). Exit code: 0, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect policy log -f", "each packet as it is dropped"],
      ["twill inspect policy log", "which policies have dropped how much"],
      ["twill inspect policy log -f -o json --count 1", "wait for one, for a script"],
    ]),
  },
});
