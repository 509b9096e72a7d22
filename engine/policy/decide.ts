/**
 * Whether policies allow a connection, and which rule decides: by reading the policies, not the
 * compiled table, so that people can ask why and tests can hold the table against it.
 *
 * @module
 */

import { contains, type Ip } from "../ip.ts";
import { inScope } from "./compile.ts";
import {
  type Cluster,
  type Direction,
  keyOf,
  type Peer,
  type Policy,
  type PolicyRule,
  type Port,
  type Protocol,
} from "./model.ts";
import { matches } from "./selector.ts";
import { type View, Views } from "./views.ts";

/** A connection that somebody might open. */
export interface Question {
  readonly source: Ip;
  /** Behind any Service: an address of a pod, a node, or of neither. */
  readonly destination: Ip;
  /** `other`: what has no ports, such as ICMP. */
  readonly protocol: Protocol | "other";
  /** The destination's; absent for `other`. */
  readonly port?: number;
}

/** What the policies of one end say. */
export type Answer =
  /** No policy isolates this end, or it is no pod. */
  | { readonly kind: "open" }
  /** `rules[rule]` of the policy's direction matches. */
  | { readonly kind: "allowed"; readonly policy: Policy; readonly rule: number }
  /** These policies isolate it, and none has a rule that matches. */
  | { readonly kind: "denied"; readonly policies: readonly Policy[] };

/** The decision: both ends must agree. */
export interface Decision {
  readonly allowed: boolean;
  /** At the source. */
  readonly egress: Answer;
  /** At the destination. */
  readonly ingress: Answer;
}

/** Decides for one cluster. */
export class Judge {
  readonly #byIp = new Map<Ip, View>();
  readonly #policies: readonly Policy[];

  constructor({ pods, namespaces, policies }: Cluster) {
    const views = new Views();
    views.update(
      new Map(pods.map((pod) => [keyOf(pod), pod])),
      new Map(namespaces.map((one) => [one.name, one])),
    );
    for (const view of views.all()) for (const ip of view.ips) this.#byIp.set(ip, view);
    this.#policies = policies;
  }

  /** The pod that has an address; undefined for an address of nobody that policies can see. */
  podAt(ip: Ip): View | undefined {
    return this.#byIp.get(ip);
  }

  /**
   * Decides about one connection. What a node sends to its own pods is always allowed, and is not
   * asked about here.
   */
  decide(question: Question): Decision {
    const { source, destination } = question;
    // What a pod sends to itself, also by way of a Service, is nobody's business.
    const own = source === destination;
    const egress = own ? OPEN : this.#answer("egress", source, destination, question);
    const ingress = own ? OPEN : this.#answer("ingress", destination, source, question);
    const allowed = egress.kind !== "denied" && ingress.kind !== "denied";
    return { allowed, egress, ingress };
  }

  #answer(direction: Direction, ip: Ip, peer: Ip, question: Question): Answer {
    const pod = this.#byIp.get(ip)?.pod;
    if (pod === undefined) return OPEN;
    const policies = this.#policies.filter((policy) =>
      policy[direction] !== undefined && policy.namespace === pod.namespace &&
      matches(policy.targets, pod.labels)
    );
    if (policies.length === 0) return OPEN;
    for (const policy of policies) {
      const rule = policy[direction]?.findIndex((rule) => this.#fits(rule, peer, question)) ?? -1;
      if (rule >= 0) return { kind: "allowed", policy, rule };
    }
    return { kind: "denied", policies };
  }

  #fits({ peers, ports }: PolicyRule, peer: Ip, question: Question): boolean {
    return (peers === undefined || peers.some((one) => this.#isPeer(one, peer))) &&
      (ports === undefined || ports.some((one) => this.#isPort(one, question)));
  }

  #isPeer(peer: Peer, ip: Ip): boolean {
    if (peer.kind === "block") {
      return contains(peer.cidr, ip) && !peer.except.some((net) => contains(net, ip));
    }
    const view = this.#byIp.get(ip);
    return view !== undefined && inScope(peer.of, view);
  }

  #isPort(wanted: Port, { protocol, port, destination }: Question): boolean {
    if (wanted.protocol !== protocol || port === undefined) return false;
    if (wanted.kind === "range") return wanted.first <= port && port <= wanted.last;
    return this.#byIp.get(destination)?.pod.ports.some((named) =>
      named.name === wanted.name && named.protocol === protocol && named.port === port
    ) ?? false;
  }
}

const OPEN: Answer = { kind: "open" };
