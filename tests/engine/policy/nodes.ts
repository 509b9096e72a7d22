/**
 * A cluster's nodes, each with a compiler that hears of every change, as daemons do.
 *
 * @module
 */

import { PolicyCompiler } from "../../../engine/policy/compile.ts";
import { keyOf } from "../../../engine/policy/model.ts";
import { readNamespace, readPod } from "../../../engine/policy/read_objects.ts";
import { readPolicy } from "../../../engine/policy/read_policy.ts";
import { noPolicies, type PolicyTable } from "../../../engine/policy/table.ts";
import type { Cluster } from "../../../engine/policy/model.ts";
import type { ApiCluster, Flow } from "./naive.ts";
import { arrives, leaves } from "./packets.ts";

/** A cluster of the API as the engine sees it. */
export function readCluster({ pods, namespaces, policies }: ApiCluster): Cluster {
  return {
    pods: pods.map(readPod),
    namespaces: namespaces.map(readNamespace),
    policies: policies.map(readPolicy),
  };
}

/** Nodes by name. */
export class Nodes {
  readonly compilers: ReadonlyMap<string, PolicyCompiler>;
  readonly tables = new Map<string, PolicyTable>();
  #before: Cluster = { pods: [], namespaces: [], policies: [] };

  constructor(names: readonly string[]) {
    this.compilers = new Map(names.map((name) => [name, new PolicyCompiler(name)]));
    for (const name of names) this.tables.set(name, noPolicies());
  }

  /** Tells every node what is other than before. Objects that read alike count as the same. */
  update(api: ApiCluster): void {
    const now = readCluster(api);
    const before = this.#before;
    this.#before = now;
    for (const [name, compiler] of this.compilers) {
      const table = compiler.update({
        pods: news(before.pods, now.pods, keyOf),
        namespaces: news(before.namespaces, now.namespaces, (one) => one.name),
        policies: news(before.policies, now.policies, keyOf),
      });
      this.tables.set(name, table);
    }
  }

  /** Whether the tables of all nodes together let a connection be made. */
  open(flow: Flow): boolean {
    return [...this.tables.values()].every((table) => leaves(table, flow) && arrives(table, flow));
  }
}

/** What is other than before, by key. */
export function news<T>(
  before: readonly T[],
  now: readonly T[],
  key: (one: T) => string,
): Map<string, T | undefined> {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, one) => one instanceof Map ? [...one] : one);
  const old = new Map(before.map((one) => [key(one), text(one)]));
  const out = new Map<string, T | undefined>();
  for (const one of now) if (old.get(key(one)) !== text(one)) out.set(key(one), one);
  const present = new Set(now.map(key));
  for (const gone of old.keys()) if (!present.has(gone)) out.set(gone, undefined);
  return out;
}

/** A table as what it says, in an order that does not depend on its history. */
export function plain(table: PolicyTable | undefined): unknown {
  const { sets, chains, maps } = table ?? noPolicies();
  const byName = <T>(map: ReadonlyMap<string, T>): [string, T][] =>
    [...map].sort(([a], [b]) => a < b ? -1 : 1);
  return {
    sets: byName(sets).map((
      [name, set],
    ) => [name, { ...set, elements: [...set.elements].sort(), step: undefined }]),
    chains: byName(chains),
    maps: Object.values(maps).map((map) => byName(map)),
  };
}
