/**
 * From pods, namespaces and policies to the table of one node. The compiler keeps what it knows, so
 * that one pod among thousands costs one look at each set; from the same cluster it makes the same
 * table, whatever the way there was.
 *
 * @module
 */

import { type Family, familyOf, type Ip } from "../ip.ts";
import {
  commentOf,
  type CompiledPolicy,
  compilePolicy,
  digest,
  type Need,
  policyChainName,
  SIDES,
} from "./compile_policy.ts";
import {
  type Cluster,
  type Direction,
  DIRECTIONS,
  keyOf,
  type Namespace,
  type Pod,
  type PodScope,
  type Policy,
} from "./model.ts";
import { matches } from "./selector.ts";
import {
  type DispatchMaps,
  type PolicyChain,
  type PolicySet,
  type PolicyTable,
  tableOf,
} from "./table.ts";
import { type Move, type News, type Placement, type View, Views } from "./views.ts";

/** The chain of addresses whose pods we do not know yet: nothing is allowed. */
export const UNKNOWN_CHAIN = "unknown";
/** The chain that every pod's chain begins with. */
export const KNOWN_CHAIN = "known";

/** What is new in the cluster; undefined for what is gone. */
export interface ClusterNews {
  readonly pods?: News<Pod>;
  readonly namespaces?: News<Namespace>;
  readonly policies?: News<Policy>;
  /** Addresses that pods of this node were just given, all of them; absent: as before. */
  readonly placed?: ReadonlyMap<Ip, Placement>;
  /**
   * Addresses of this node whose pods are not known yet, all of them; absent: as before. Whatever
   * else is said of them, nothing is allowed.
   */
  readonly held?: ReadonlySet<Ip>;
}

/** Which policies isolate a pod of this node, as names of chains. */
type Isolation = Readonly<Partial<Record<Direction, string>>>;

interface Local {
  readonly ips: readonly Ip[];
  readonly isolation: Isolation;
}

interface UsedSet {
  readonly need: Need;
  set: PolicySet;
}

interface Group {
  readonly name: string;
  readonly chain: PolicyChain;
  readonly policies: readonly CompiledPolicy[];
}

/** Compiles for one node. */
export class PolicyCompiler {
  readonly #node: string;
  readonly #families: readonly Family[];
  readonly #views = new Views();
  readonly #policies = new Map<string, Policy>();
  readonly #inNamespace = new Map<string, Map<string, Policy>>();
  /** The pods of this node. */
  readonly #local = new Map<string, Local>();
  #held: ReadonlySet<Ip> = new Set();
  /** By their policies. */
  #groups = new Map<string, Group>();
  #sets = new Map<string, UsedSet>();
  #compiled = new WeakMap<Policy, Map<Direction, CompiledPolicy>>();

  /** @param families of addresses that pods have. Others of isolated pods allow nothing. */
  constructor(node: string, families: readonly Family[] = [4, 6]) {
    this.#node = node;
    this.#families = families;
  }

  /** Takes in what is new. What did not change in the table is the same object as before. */
  update(news: ClusterNews): PolicyTable {
    const steps = this.steps(news);
    for (;;) {
      const step = steps.next();
      if (step.done === true) return step.value;
    }
  }

  /**
   * The same in steps of a millisecond or so, for who has other things to do. What is asked meanwhile
   * is answered; nothing else may be taken in before the last step.
   */
  *steps({ pods, namespaces, policies, placed, held }: ClusterNews): Generator<void, PolicyTable> {
    if (held !== undefined) this.#held = held;
    const moves = this.#views.update(pods ?? new Map(), namespaces ?? new Map(), placed);
    for (const used of this.#sets.values()) {
      yield;
      used.set = moved(used, moves);
    }
    for (const move of moves) this.#place(move.key, move.after);
    for (const namespace of this.#takePolicies(policies ?? new Map())) {
      yield;
      for (const [key, view] of this.#views.of(namespace)) this.#place(key, view);
    }
    return yield* this.#table();
  }

  /** The pod that has an address now, if policies can see it. */
  podAt(ip: Ip): Pod | undefined {
    return this.#views.at(ip);
  }

  /** A pod by `namespace/name`. */
  pod(key: string): Pod | undefined {
    return this.#views.pod(key);
  }

  /** Namespaces in which there is a policy. */
  namespacesWithPolicies(): string[] {
    return [...this.#inNamespace].filter(([, all]) => all.size > 0).map(([name]) => name).sort();
  }

  /** Whether there are policies in a namespace. */
  hasPolicies(namespace: string): boolean {
    return (this.#inNamespace.get(namespace)?.size ?? 0) > 0;
  }

  /** How many policies there are. */
  get policies(): number {
    return this.#policies.size;
  }

  /** The policies that cannot be enforced as they are written. */
  faults(): Policy[] {
    return [...this.#policies.values()].filter(({ fault }) => fault !== undefined);
  }

  /** All that is known, with the addresses that are each pod's own now. */
  cluster(): Cluster {
    return {
      pods: [...this.#views.pods()],
      namespaces: [...this.#views.namespaces()],
      policies: [...this.#policies.values()],
    };
  }

  /** How many pods of this node some policy isolates. */
  get isolated(): number {
    return this.#local.size;
  }

  #takePolicies(policies: News<Policy>): Set<string> {
    const touched = new Set<string>();
    for (const [key, policy] of policies) {
      const old = this.#policies.get(key);
      if (old !== undefined) {
        touched.add(old.namespace);
        this.#policies.delete(key);
        this.#inNamespace.get(old.namespace)?.delete(key);
      }
      if (policy === undefined) continue;
      touched.add(policy.namespace);
      this.#policies.set(key, policy);
      const neighbours = this.#inNamespace.get(policy.namespace);
      if (neighbours === undefined) {
        this.#inNamespace.set(policy.namespace, new Map([[key, policy]]));
      } else neighbours.set(key, policy);
    }
    return touched;
  }

  /** Finds the policies of a pod, if it is one of ours. */
  #place(key: string, view: View | undefined): void {
    this.#local.delete(key);
    if (view === undefined || view.pod.node !== this.#node) return;
    const { pod } = view;
    const selecting = [...this.#inNamespace.get(pod.namespace)?.values() ?? []]
      .filter(({ targets }) => matches(targets, pod.labels))
      .sort((a, b) => a.name < b.name ? -1 : 1);
    const isolation: { [D in Direction]?: string } = {};
    for (const direction of DIRECTIONS) {
      const group = selecting.filter((policy) => policy[direction] !== undefined);
      if (group.length > 0) isolation[direction] = this.#group(direction, group);
    }
    if (Object.keys(isolation).length > 0) this.#local.set(key, { ips: view.ips, isolation });
  }

  /** The chain of all pods that just these policies select. */
  #group(direction: Direction, policies: readonly Policy[]): string {
    const chains = policies.map((policy) => policyChainName(direction, policy));
    const list = chains.join(" ");
    const old = this.#groups.get(list);
    const group = {
      name: old?.name ?? `${SIDES[direction].prefix}-${digest(list)}`,
      // What it says depends on nothing but which policies they are.
      chain: old?.chain ?? groupChain(policies, chains),
      policies: policies.map((policy) => this.#compile(policy, direction)),
    };
    this.#groups.set(list, group);
    return group.name;
  }

  #compile(policy: Policy, direction: Direction): CompiledPolicy {
    let both = this.#compiled.get(policy);
    if (both === undefined) this.#compiled.set(policy, both = new Map());
    let one = both.get(direction);
    if (one === undefined) {
      both.set(direction, one = compilePolicy(policy, direction, this.#families));
    }
    return one;
  }

  /** What is used now; the rest is forgotten. */
  *#table(): Generator<void, PolicyTable> {
    const maps = this.#maps();
    const names = new Set(Object.values(maps).flatMap((map) => [...map.values()]));
    this.#groups = new Map([...this.#groups].filter(([, { name }]) => names.has(name)));
    const groups = [...this.#groups.values()];
    const compiled = new Set(groups.flatMap(({ policies }) => policies));
    const sets = new Map<string, UsedSet>();
    for (const { needs } of compiled) {
      for (const need of needs) {
        if (sets.has(need.name)) continue;
        yield;
        const used = this.#sets.get(need.name) ?? { need, set: filled(need, this.#views.all()) };
        sets.set(need.name, used);
      }
    }
    this.#sets = sets;
    return tableOf(
      maps,
      [
        ...[...compiled].map(({ name, chain }) => [name, chain] as const),
        ...groups.map(({ name, chain }) => [name, chain] as const),
      ],
      [...sets].map(([name, { set }]) => [name, set] as const),
    );
  }

  #maps(): DispatchMaps {
    const maps = { from4: new Map(), from6: new Map(), to4: new Map(), to6: new Map() } as const;
    const put = (ip: Ip, { egress, ingress }: Isolation): void => {
      const family = familyOf(ip);
      if (egress !== undefined) maps[`from${family}`].set(ip, egress);
      if (ingress !== undefined) maps[`to${family}`].set(ip, ingress);
    };
    for (const { ips, isolation } of this.#local.values()) {
      for (const ip of ips) put(ip, isolation);
    }
    for (const ip of this.#held) put(ip, { egress: UNKNOWN_CHAIN, ingress: UNKNOWN_CHAIN });
    return maps;
  }
}

/** The table of one node for a whole cluster. */
export function compile(
  { pods, namespaces, policies }: Cluster,
  node: string,
  held: ReadonlySet<Ip> = new Set(),
): PolicyTable {
  return new PolicyCompiler(node).update({
    pods: new Map(pods.map((pod) => [keyOf(pod), pod])),
    namespaces: new Map(namespaces.map((one) => [one.name, one])),
    policies: new Map(policies.map((policy) => [keyOf(policy), policy])),
    held,
  });
}

function groupChain(policies: readonly Policy[], chains: readonly string[]): PolicyChain {
  return {
    comment: commentOf(policies.map(keyOf).join(" ")),
    rules: [
      ...[KNOWN_CHAIN, ...chains].map((chain) => ({
        match: [],
        verdict: { kind: "jump", chain } as const,
      })),
      { match: [], verdict: { kind: "deny" } },
    ],
  };
}

/** Whether the scope of a peer has the pod in it. */
export function inScope({ namespaces, pods }: PodScope, { pod, namespace }: View): boolean {
  const near = typeof namespaces === "string"
    ? pod.namespace === namespaces
    : namespace !== undefined && matches(namespaces, namespace);
  return near && matches(pods, pod.labels);
}

/** What a pod puts into a set. */
function elementsOf(need: Need, view: View | undefined): string[] {
  if (view === undefined || need.kind === "ranges") return [];
  const own = view.ips.filter((ip) => familyOf(ip) === need.family);
  if (need.kind === "pods") return inScope(need.of, view) ? own : [];
  const { protocol, port: name } = need;
  return view.pod.ports
    .filter((port) => port.name === name && port.protocol === protocol)
    .flatMap(({ port }) => own.map((ip) => `${ip} . ${port}`));
}

function filled(need: Need, views: Iterable<View>): PolicySet {
  const { family, comment } = need;
  switch (need.kind) {
    case "ranges":
      return { kind: "ranges", family, comment, elements: need.elements };
    case "pods":
    case "ports": {
      const elements = new Set<string>();
      for (const view of views) for (const one of elementsOf(need, view)) elements.add(one);
      return { kind: need.kind === "pods" ? "addresses" : "ports", family, comment, elements };
    }
  }
}

/** The set after the moves; the same object when they do not touch it. */
function moved({ need, set }: UsedSet, moves: readonly Move[]): PolicySet {
  const changes = moves.flatMap(({ before, after }) => {
    const [old, now] = [elementsOf(need, before), elementsOf(need, after)];
    return old.join() === now.join() ? [] : [{ old, now }];
  });
  if (changes.length === 0) return set;
  const elements = new Set(set.elements);
  // An address may go from one pod to another at once.
  for (const { old } of changes) for (const element of old) elements.delete(element);
  for (const { now } of changes) for (const element of now) elements.add(element);
  const concerned = new Set(changes.flatMap(({ old, now }) => [...old, ...now]));
  const step = {
    from: set.elements,
    lost: [...concerned].filter((one) => set.elements.has(one) && !elements.has(one)),
    fresh: [...concerned].filter((one) => !set.elements.has(one) && elements.has(one)),
  };
  return { ...set, elements, step };
}
