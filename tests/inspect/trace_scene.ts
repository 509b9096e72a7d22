/**
 * Node 1 with two pods, for traces.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import type { TraceTools } from "../../inspect/trace/tools.ts";
import { FACTS, FILES } from "./check_scene.ts";
import { nodeOf, podParts } from "./pods_scene.ts";
import { errors, load } from "./schema.ts";
import { inspect, link, type Scene } from "./scene.ts";

/** A file of golden/. */
export const golden = (name: string): string =>
  Deno.readTextFileSync(new URL(`../golden/${name}`, import.meta.url));

const PODS = nodeOf(podParts(2, "default/web"), podParts(5, "default/shop"));

/** Our own rules. */
export const OURS = FACTS.find((fact) => fact.kind === "rules")!.text;

/** Node 1 with two pods, leases of peers 2 and 3, and our rules; changed as told. */
export function node(
  change: {
    readonly facts?: (all: readonly Fact[]) => readonly Fact[];
    readonly rules?: string;
    readonly asked?: (facts: readonly Fact[]) => Partial<TraceTools>;
  } = {},
): Scene {
  const { facts = (all) => all, rules = OURS, asked = () => ({}) } = change;
  const ports = ["veth2", "veth5"].flatMap((name): Fact[] => [
    ...link(name, 1450, "veth"),
    { kind: "port", where: "host", dev: name, bridge: "cni0", hairpin: true },
  ]);
  const all = facts([...FACTS, ...ports]);
  return {
    facts: all,
    ...(PODS.namespaces && { namespaces: PODS.namespaces }),
    files: {
      ...PODS.files,
      "/var/lib/twill/snapshot.json": FILES["/var/lib/twill/snapshot.json"]!,
    },
    asked: { ruleset: () => rules, ...asked(all) },
  };
}

/** What a trace says, in short; its document is as the schema says. */
export async function traced(line: string, on: Scene): Promise<{
  readonly code: number;
  readonly endings: readonly string[];
  readonly steps: readonly string[];
  readonly findings: readonly string[];
}> {
  const { stdout, stderr, code } = await inspect(`trace ${line} -o json`, on);
  assert.equal(stderr, "", stdout);
  assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
  const { items, findings } = JSON.parse(stdout);
  return {
    code,
    endings: items.map((one: { ending: string }) => one.ending),
    steps: items[0].hops.map((one: { step: string }) => one.step),
    findings: findings.map((one: Record<string, string>) => `${one.id} ${one.subject}`),
  };
}

/** What node 2 says when it is asked. */
export async function far(to: string, change: Parameters<typeof node>[0] = {}): Promise<string> {
  return (await inspect(`trace 10.244.2.7 ${to} 80 -o json`, node(change))).stdout;
}
