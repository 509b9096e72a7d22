/**
 * NetworkPolicy as data: what of pods, namespaces and policies decides which connections are
 * allowed, and nothing else. Everything here is immutable: a change is a new object.
 *
 * @module
 */

import type { Cidr, Ip } from "../ip.ts";
import type { Labels, Selector } from "./selector.ts";

/** The transport protocols that NetworkPolicy knows. */
export const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
/** One of {@link PROTOCOLS}. */
export type Protocol = (typeof PROTOCOLS)[number];

/** Ingress is what comes to a pod, egress what leaves it. */
export type Direction = "ingress" | "egress";
/** Both. */
export const DIRECTIONS = ["ingress", "egress"] as const satisfies readonly Direction[];

/** A port of a container that has a name. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: Protocol;
  /** 1 to 65535. */
  readonly port: number;
}

/** A pod, stripped to what policies look at. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly labels: Labels;
  /** `spec.nodeName`; empty while it is not scheduled. */
  readonly node: string;
  /** It has the node's network: no policy selects it, neither as target nor as peer. */
  readonly hostNetwork: boolean;
  /** Succeeded or Failed: it has lost its addresses, although its status still shows them. */
  readonly done: boolean;
  readonly running: boolean;
  /** It has a deletion timestamp; it is a target and a peer until it is gone. */
  readonly terminating: boolean;
  /** `metadata.creationTimestamp`, RFC 3339 in UTC, so that text order is time order. */
  readonly created: string;
  readonly ips: readonly Ip[];
  readonly ports: readonly NamedPort[];
}

/** A namespace. */
export interface Namespace {
  readonly name: string;
  readonly labels: Labels;
}

/** Who the other end of a connection may be. */
export type Peer =
  /** Pods by their labels: of one namespace, or of those that a selector matches. */
  | { readonly kind: "pods"; readonly of: PodScope }
  /** Addresses in a network and in none of the exceptions. */
  | { readonly kind: "block"; readonly cidr: Cidr; readonly except: readonly Cidr[] };

/** Which pods of which namespaces. */
export interface PodScope {
  /** A namespace by name, or all that the selector matches. */
  readonly namespaces: string | Selector;
  readonly pods: Selector;
}

/** One entry of a rule's ports. */
export type Port =
  /** All ports of a protocol, or `first` to `last` of them. */
  | {
    readonly kind: "range";
    readonly protocol: Protocol;
    readonly first: number;
    readonly last: number;
  }
  /** Whatever port the destination pod calls so. */
  | { readonly kind: "named"; readonly protocol: Protocol; readonly name: string };

/** Peers and ports must both match. */
export interface PolicyRule {
  /** Absent: anybody. */
  readonly peers?: readonly Peer[];
  /** Absent: any port of any protocol. */
  readonly ports?: readonly Port[];
}

/** A NetworkPolicy. */
export interface Policy {
  readonly namespace: string;
  readonly name: string;
  /** Which pods of its namespace it isolates. */
  readonly targets: Selector;
  /** The rules of a direction; absent: the policy says nothing about it. */
  readonly ingress?: readonly PolicyRule[];
  readonly egress?: readonly PolicyRule[];
  /** Directions that it has rules for without speaking about them (`policyTypes`); absent: none. */
  readonly inert?: readonly Direction[];
  /**
   * Why it cannot be enforced as it is written. Its targets are isolated and it allows nothing;
   * other policies may.
   */
  readonly fault?: string;
}

/** All that matters of a cluster. */
export interface Cluster {
  readonly pods: readonly Pod[];
  readonly namespaces: readonly Namespace[];
  readonly policies: readonly Policy[];
}

/** `namespace/name`: what a pod or policy is known by. */
export function keyOf(object: { readonly namespace: string; readonly name: string }): string {
  return `${object.namespace}/${object.name}`;
}

/** Whether two objects of this module say the same. */
export function saysSame<T extends Pod | Namespace | Policy>(a: T, b: T): boolean {
  return textOf(a) === textOf(b);
}

/** Maps have no JSON of their own; labels come in any order. */
function textOf(value: unknown): string {
  return JSON.stringify(value, (_, one) => one instanceof Map ? [...one].sort() : one);
}
