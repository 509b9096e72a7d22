/**
 * Whether a connection is allowed, by what the daemon knows, and whether the kernel's table agrees.
 * Pure.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import type { Answer, Judge, Question } from "../../engine/policy/decide.ts";
import { type Direction, keyOf, type Pod } from "../../engine/policy/model.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { answerText } from "../../engine/policy/words.ts";
import { runHook } from "../../engine/trace/evaluate.ts";
import type { TraceTable } from "../../engine/trace/rules.ts";

/** Protocol and port of a question. */
export type Service = Pick<Question, "protocol" | "port">;

/** What one end comes to. */
export interface EndVerdict {
  readonly allowed: boolean;
  readonly words: string;
  readonly answer?: Answer;
}

/** See the module. */
export interface Verdict {
  readonly source: Ip;
  readonly destination: Ip;
  readonly allowed: boolean;
  readonly egress: EndVerdict;
  readonly ingress: EndVerdict;
}

/** Decides about one packet; `ends` are the pods of both sides, where they are pods. */
export function decide(
  snapshot: PolicySnapshot,
  judge: Judge,
  [source, destination]: readonly [Ip, Ip],
  service: Service,
): Verdict {
  const held = new Set(snapshot.held);
  const { egress, ingress } = judge.decide({ source, destination, ...service });
  const ping = snapshot.ping && service.protocol === "other";
  const from = judge.podAt(source)?.pod;
  const to = judge.podAt(destination)?.pod;
  const nodes = nodesAt(snapshot, source);
  const end = (ip: Ip, pod: Pod | undefined, answer: Answer, direction: Direction): EndVerdict => {
    if (held.has(ip)) {
      return { allowed: false, words: `nothing is allowed until the pod of ${ip} is known` };
    }
    if (direction === "ingress" && pod !== undefined && nodes.includes(pod.node)) {
      return { allowed: true, words: "it comes from the pod's own node: always allowed" };
    }
    if (pod === undefined) return { allowed: true, words: `${ip} is no pod that policies see` };
    if (answer.kind === "denied" && ping) {
      return { allowed: true, words: "pings pass (--network-policy-ping)" };
    }
    return {
      allowed: answer.kind !== "denied",
      words: answerText(answer, direction),
      answer,
    };
  };
  const both = {
    egress: end(source, from, egress, "egress"),
    ingress: end(destination, to, ingress, "ingress"),
  };
  return { source, destination, allowed: both.egress.allowed && both.ingress.allowed, ...both };
}

/** The nodes that have an address, as their pods with the node's network show it. */
function nodesAt({ cluster }: PolicySnapshot, ip: Ip): string[] {
  return cluster.pods.filter(({ hostNetwork, ips }) => hostNetwork && ips.includes(ip))
    .map(({ node }) => node);
}

/**
 * What the kernel's table of this node does with the first packet of a connection.
 *
 * @returns whether it passes; undefined where rules are not understood.
 */
export function passesKernel(
  tables: readonly TraceTable[],
  [src, dst]: readonly [Ip, Ip],
  { protocol, port }: Service,
): { readonly passes: boolean; readonly chain?: string } | undefined {
  const result = runHook(
    tables,
    "forward",
    {
      src,
      dst,
      protocol: protocol === "other"
        ? (src.includes(":") ? "icmpv6" : "icmp")
        : protocol.toLowerCase(),
      ...(port === undefined ? {} : { dport: port }),
      mark: 0,
    },
    { isLocal: () => false, take: 0 },
  );
  if (result.maybe.length > 0) return undefined;
  const { verdict, by } = result;
  return { passes: verdict === "accept", ...(by === undefined ? {} : { chain: by.chain }) };
}

/** What the kernel of this node should do: it judges the ends that are here. */
export function wantsKernel(
  { node, held }: PolicySnapshot,
  judge: Judge,
  { source, destination, egress, ingress }: Verdict,
): boolean {
  const here = (ip: Ip): boolean => held.includes(ip) || judge.podAt(ip)?.pod.node === node;
  return (!here(source) || egress.allowed) && (!here(destination) || ingress.allowed);
}

/** An end as JSON. */
export function endJson({ allowed, words, answer }: EndVerdict): Record<string, unknown> {
  return {
    allowed,
    words,
    isolated: answer !== undefined && answer.kind !== "open",
    policy: answer?.kind === "allowed" ? keyOf(answer.policy) : null,
    rule: answer?.kind === "allowed" ? answer.rule : null,
    isolating: answer?.kind === "denied" ? answer.policies.map(keyOf) : [],
  };
}
