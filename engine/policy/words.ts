/**
 * Policies in words: who, which ports, what decides. Pure.
 *
 * @module
 */

import type { Answer } from "./decide.ts";
import {
  type Direction,
  keyOf,
  type Peer,
  type Policy,
  type PolicyRule,
  type Port,
} from "./model.ts";
import type { Selector } from "./selector.ts";

/** `pods app=web in namespace x`, `10.0.0.0/8 except 10.1.0.0/16`. */
export function peerText(peer: Peer): string {
  if (peer.kind === "block") {
    return peer.except.length === 0 ? peer.cidr : `${peer.cidr} except ${peer.except.join(", ")}`;
  }
  const { namespaces, pods } = peer.of;
  const where = typeof namespaces === "string"
    ? `in namespace ${namespaces}`
    : namespaces.text === ""
    ? "in all namespaces"
    : `in namespaces ${namespaces.text}`;
  return `${podsText(pods)} ${where}`;
}

/** `pods app=web`, `all pods`. */
export function podsText({ text }: Selector): string {
  return text === "" ? "all pods" : `pods ${text}`;
}

/** `TCP 80`, `UDP 8000-8100`, `TCP any`, `TCP named http`. */
export function portText(port: Port): string {
  const { protocol } = port;
  if (port.kind === "named") return `${protocol} named ${port.name}`;
  const { first, last } = port;
  if (first === 0 && last === 65535) return `${protocol} any`;
  return first === last ? `${protocol} ${first}` : `${protocol} ${first}-${last}`;
}

/** The peers of a rule. */
export function peersText({ peers }: PolicyRule): string {
  return peers === undefined ? "anybody" : peers.map(peerText).join("; ");
}

/** The ports of a rule. */
export function portsText({ ports }: PolicyRule): string {
  return ports === undefined ? "any port and protocol" : ports.map(portText).join(", ");
}

/** `x/p ingress[0]: pods pod=b in namespace x; TCP 80`: a rule by its place in the policy. */
export function ruleName(policy: Policy, direction: Direction, index: number): string {
  return `${keyOf(policy)} ${direction}[${index}]`;
}

/** What one end says, in words. */
export function answerText(answer: Answer, direction: Direction): string {
  switch (answer.kind) {
    case "open":
      return `no policy isolates it for ${direction}`;
    case "allowed": {
      const { policy, rule: index } = answer;
      const rule = policy[direction]?.[index] ?? {};
      const side = direction === "ingress" ? "from" : "to";
      return `allowed by ${ruleName(policy, direction, index)}: ${side} ${peersText(rule)}, ${
        portsText(rule)
      }`;
    }
    case "denied":
      return `isolated by ${answer.policies.map(keyOf).join(", ")}; no rule matches`;
  }
}
