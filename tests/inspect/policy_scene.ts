/**
 * Node 1 of the policies' cases on paper: what its daemon tells, and what its kernel lists.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import { compile } from "../../engine/policy/compile.ts";
import type { Cluster } from "../../engine/policy/model.ts";
import { wholeText } from "../../engine/policy/render.ts";
import { formatPolicySnapshot, type PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { Scene as Cases } from "../engine/policy/language.ts";
import { readCluster } from "../engine/policy/nodes.ts";
import { NOW, type Scene } from "./scene.ts";

const TABLE = "inet twill-policy";

/** The cluster of the cases after some deeds. */
export function clusterAfter(...deeds: readonly string[]): Cluster {
  const cases = new Cases();
  for (const deed of deeds) cases.do(deed);
  return readCluster({
    namespaces: [...cases.namespaces.values()],
    pods: [...cases.pods.values()],
    policies: [...cases.policies.values()],
  });
}

/** What the daemon of node 1 knows of it. */
export function known(cluster: Cluster, change: Partial<PolicySnapshot> = {}): PolicySnapshot {
  return {
    node: "node1",
    table: TABLE,
    ping: false,
    state: "on",
    reasons: [],
    synced: NOW - 1_000,
    held: [],
    cluster,
    ...change,
  };
}

/** The table of node 1 as nft lists it: rules inside their chains. */
export function listed(cluster: Cluster, held: readonly Ip[] = []): string {
  const options = { table: TABLE, ping: false };
  const text = wholeText({ ...compile(cluster, "node1", new Set(held)), options, generation: 7 });
  const rules = new Map<string, string[]>();
  const lines = text.split("\n").filter((line) => {
    const [, chain, rule] = /^add rule inet \S+ (\S+) (.*)$/.exec(line) ?? [];
    if (chain === undefined) return true;
    rules.set(chain, [...rules.get(chain) ?? [], `\t\t${rule}`]);
    return false;
  });
  let chain: string | undefined;
  return lines.slice(2).flatMap((line) => {
    chain = /^\tchain (\S+) \{/.exec(line)?.[1] ?? chain;
    if (line !== "\t}" || chain === undefined) return [line];
    const own = rules.get(chain) ?? [];
    chain = undefined;
    return [...own, line];
  }).join("\n");
}

/** The scene with a daemon. */
export function policyScene(
  cluster: Cluster,
  change: Partial<PolicySnapshot> = {},
  rest: Scene = {},
): Scene {
  const snapshot = known(cluster, change);
  return {
    status: { "/policy": formatPolicySnapshot(snapshot) },
    policyTable: listed(cluster, snapshot.held),
    ...rest,
  };
}
