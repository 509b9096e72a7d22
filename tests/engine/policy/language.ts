/**
 * The language of the case tables: policies, changes of the cluster and expectations in words, and
 * the cluster on which they are tried.
 *
 * ```text
 * deed          x/p on pod=a types Ingress; in: P(pod=b) OR N(ns=y) @ TCP/80, UDP/any ; any peer @ TCP/81
 *               delete x/p | pod x/b labels tier=db | namespace y labels -team | create pod … | delete pod …
 * peer          P(selector), N(selector), N(…)+P(…), IP(10.0.0.0/8 except 10.1.0.0/16), any peer
 * expectation   TCP/80: deny * → x/a ; x/a → * but allow x/b → x/a
 * ```
 *
 * Namespaces x, y, z are labelled `ns=NAME` and (as `k8s-name`) with their name, pods a, b, c
 * `pod=NAME`. Each serves TCP, UDP and SCTP on 80 and 81; the ports are named `serve-80-tcp` and so on.
 *
 * @module
 */

import type { MetadataObject, PodObject } from "../../../engine/policy/read_objects.ts";

/** One row of a table. */
export interface Case {
  readonly id: string;
  readonly title: string;
  /** Each builds on those before. */
  readonly steps: readonly {
    readonly deeds: readonly string[];
    readonly expect: readonly string[];
  }[];
}

/** A selector as the API has it. */
export interface SelectorObject {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
}
/** A peer as the API has it. */
export interface PeerObject {
  podSelector?: SelectorObject;
  namespaceSelector?: SelectorObject;
  ipBlock?: { cidr: string; except?: string[] };
}
/** A port as the API has it. */
export interface PortObject {
  protocol?: string;
  port?: number | string;
  endPort?: number;
}
/** A rule as the API has it. */
export interface RuleObject {
  from?: PeerObject[];
  to?: PeerObject[];
  ports?: PortObject[];
}
/** A NetworkPolicy as the API has it. */
export interface PolicyObject {
  apiVersion: "networking.k8s.io/v1";
  kind: "NetworkPolicy";
  metadata: { name: string; namespace: string };
  spec: {
    podSelector: SelectorObject;
    policyTypes?: string[];
    ingress?: RuleObject[];
    egress?: RuleObject[];
  };
}

/** Every label key is itself, but for this one. */
const LABELS: Readonly<Record<string, string>> = { "k8s-name": "kubernetes.io/metadata.name" };

/** Where the pods are: node and last part of the address. */
const PLACES: Readonly<Record<string, readonly [node: 1 | 2, host: number]>> = {
  "x/a": [1, 10],
  "x/c": [1, 11],
  "x/d": [1, 12],
  "y/a": [1, 20],
  "z/a": [1, 30],
  "z/c": [1, 31],
  "x/b": [2, 10],
  "y/b": [2, 20],
  "y/c": [2, 21],
  "z/b": [2, 30],
};

/** Protocols and ports on which every pod serves. */
export const SERVED = ["TCP", "UDP", "SCTP"].flatMap((protocol) =>
  [80, 81].map((port) => ({ protocol, port, name: `serve-${port}-${protocol.toLowerCase()}` }))
);

/** A cluster as the API shows it. */
export class Scene {
  readonly namespaces = new Map<string, MetadataObject>();
  readonly pods = new Map<string, PodObject>();
  readonly policies = new Map<string, PolicyObject>();

  constructor() {
    for (const name of ["x", "y", "z"]) {
      const labels = { ns: name, "kubernetes.io/metadata.name": name };
      this.namespaces.set(name, { metadata: { name, labels } });
      for (const pod of ["a", "b", "c"]) {
        this.pods.set(`${name}/${pod}`, podObject(`${name}/${pod}`));
      }
    }
  }

  /** Does what one deed of a case says. */
  do(deed: string): void {
    const [, what, subject = "", change = ""] =
      /^(delete pod|delete|create pod|pod|namespace) (\S+)(?: \S+)?(?: labels (.*))?$/.exec(deed) ??
        [];
    switch (what) {
      case undefined: {
        const policy = policyObject(deed);
        this.policies.set(`${policy.metadata.namespace}/${policy.metadata.name}`, policy);
        return;
      }
      case "delete":
        return void this.policies.delete(subject);
      case "delete pod":
        return void this.pods.delete(subject);
      case "create pod":
        return void this.pods.set(subject, podObject(subject));
      case "pod":
        return void this.pods.set(subject, relabelled(this.pods.get(subject)!, change));
      case "namespace":
        return void this.namespaces.set(
          subject,
          relabelled(this.namespaces.get(subject)!, change),
        );
    }
  }
}

function podObject(key: string): PodObject {
  const [namespace = "", name = ""] = key.split("/");
  const [node, host] = PLACES[key]!;
  return {
    metadata: {
      name,
      namespace,
      uid: `uid-${key}`,
      labels: { pod: name },
      creationTimestamp: "2026-01-01T00:00:00Z",
    },
    spec: {
      nodeName: `node${node}`,
      containers: SERVED.map(({ protocol, port, name }) => ({
        ports: [{ name, protocol, containerPort: port }],
      })),
    },
    status: {
      phase: "Running",
      podIP: `10.244.${node}.${host}`,
      podIPs: [{ ip: `10.244.${node}.${host}` }, { ip: `fd00:10:244:${node}::${host}` }],
    },
  };
}

function relabelled<T extends MetadataObject>(object: T, change: string): T {
  const labels = { ...object.metadata.labels };
  const [key = "", value] = change.split("=");
  if (key.startsWith("-")) delete labels[key.slice(1)];
  else labels[key] = value ?? "";
  return { ...object, metadata: { ...object.metadata, labels } };
}

/** A policy in words as the API has it. */
export function policyObject(words: string): PolicyObject {
  const [head = "", ...sections] = words.split(/; (?=in:|out:)/);
  const [, namespace = "", name = "", target = "", types = ""] =
    /^(\S+)\/(\S+) on (.*) types (\S+)$/.exec(head) ?? [];
  if (namespace === "") throw new SyntaxError(`no policy: ${words}`);
  const section = (title: string, side: "from" | "to"): RuleObject[] | undefined => {
    const text = sections.find((one) => one.startsWith(title))?.slice(title.length).trim();
    if (text === undefined) return undefined;
    return text === "[]" ? [] : text.split(" ; ").map((rule) => ruleObject(rule, side));
  };
  const ingress = section("in:", "from");
  const egress = section("out:", "to");
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace },
    spec: {
      podSelector: selectorObject(target),
      ...(types === "(unset)" ? {} : { policyTypes: types.split("+") }),
      ...(ingress === undefined ? {} : { ingress }),
      ...(egress === undefined ? {} : { egress }),
    },
  };
}

function ruleObject(text: string, side: "from" | "to"): RuleObject {
  const [peers = "", ports = ""] = text.split(" @ ");
  return {
    ...(peers === "any peer" ? {} : { [side]: peers.split(" OR ").map(peerObject) }),
    ...(ports === "any port" ? {} : { ports: ports.split(", ").map(portObject) }),
  };
}

function peerObject(text: string): PeerObject {
  const block = /^IP\((\S+)(?: except (.*))?\)$/.exec(text);
  if (block !== null) {
    const [, cidr = "", except] = block;
    return { ipBlock: { cidr, ...(except === undefined ? {} : { except: except.split(" ") }) } };
  }
  const [, namespaces, pods] = /^(?:N\((.*?)\))?\+?(?:P\((.*)\))?$/.exec(closed(text)) ?? [];
  return {
    ...(namespaces === undefined ? {} : { namespaceSelector: selectorObject(opened(namespaces)) }),
    ...(pods === undefined ? {} : { podSelector: selectorObject(opened(pods)) }),
  };
}

/** Lists in other brackets, so that the outer ones are the only round ones. */
function closed(text: string): string {
  return text.replaceAll(/ \(([^()]*)\)/g, " [$1]");
}

function opened(text: string): string {
  return text.replaceAll("[", "(").replaceAll("]", ")");
}

function selectorObject(text: string): SelectorObject {
  if (text === "all") return {};
  const matchLabels: Record<string, string> = {};
  const matchExpressions = text.split(" , ").flatMap((part) => {
    const [, key = "", not, list] = /^(\S+) (not)?in \((.*)\)$/.exec(part) ?? [];
    if (list !== undefined) {
      return [{ key: labelKey(key), operator: not ? "NotIn" : "In", values: list.split(",") }];
    }
    const [name = "", value] = part.split("=");
    if (value !== undefined) {
      matchLabels[labelKey(name)] = value;
      return [];
    }
    const absent = part.startsWith("!");
    return [{
      key: labelKey(absent ? part.slice(1) : part),
      operator: absent ? "DoesNotExist" : "Exists",
    }];
  });
  return {
    ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}),
    ...(matchExpressions.length > 0 ? { matchExpressions } : {}),
  };
}

function labelKey(key: string): string {
  return LABELS[key] ?? key;
}

function portObject(text: string): PortObject {
  const [protocol = "", port = ""] = text.split("/");
  const range = /^(\d+)(?:-(\d+))?$/.exec(port);
  return {
    ...(protocol === "TCP(default)" || protocol === "(unset)" ? {} : { protocol }),
    ...(port === "any" ? {} : { port: range === null ? port : Number(range[1]) }),
    ...(range?.[2] === undefined ? {} : { endPort: Number(range[2]) }),
  };
}

/** What an expectation says of one protocol and port. */
export interface Expectation {
  readonly protocol: string;
  readonly port: number;
  /** Whether the first pod reaches the second. */
  readonly open: (source: string, destination: string) => boolean;
}

/** Reads an expectation. Pods themselves are not judged. */
export function expectation(text: string): Expectation {
  const [, protocol = "", port = "", rest = ""] = /^(\w+)\/(\d+): (.*)$/.exec(text) ?? [];
  if (protocol === "") throw new SyntaxError(`no expectation: ${text}`);
  const [deny = "", allow = ""] = rest === "all open"
    ? []
    : rest.replace(/^deny /, "").split(" but allow ");
  const [denied, allowed] = [pairs(deny), pairs(allow)];
  return {
    protocol,
    port: Number(port),
    open: (source, destination) => !denied(source, destination) || allowed(source, destination),
  };
}

function pairs(text: string): (source: string, destination: string) => boolean {
  const all = text === ""
    ? []
    : text.split(" ; ").map((pair) =>
      pair.split(" → ").map((side) => side.split(",").map(podPattern))
    );
  return (source, destination) =>
    all.some(([from = [], to = []]) =>
      from.some((fits) => fits(source)) && to.some((fits) => fits(destination))
    );
}

function podPattern(text: string): (key: string) => boolean {
  if (text === "*") return () => true;
  return text.endsWith("/*") ? (key) => key.startsWith(text.slice(0, -1)) : (key) => key === text;
}
