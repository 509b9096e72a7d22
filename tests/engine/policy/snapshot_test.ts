import assert from "node:assert/strict";
import { parseIp } from "../../../engine/ip.ts";
import { PolicyCompiler } from "../../../engine/policy/compile.ts";
import { keyOf } from "../../../engine/policy/model.ts";
import {
  formatPolicySnapshot,
  parsePolicySnapshot,
  type PolicySnapshot,
} from "../../../engine/policy/snapshot.ts";
import { errors, load } from "../../inspect/schema.ts";
import { CASES } from "./cases.ts";
import { Scene } from "./language.ts";
import { readCluster } from "./nodes.ts";

function snapshotOf(scene: Scene): PolicySnapshot {
  const cluster = readCluster({
    namespaces: [...scene.namespaces.values()],
    pods: [...scene.pods.values()],
    policies: [
      ...scene.policies.values(),
      {
        metadata: { namespace: "z", name: "odd" },
        spec: { podSelector: {}, later: {} },
        // deno-lint-ignore no-explicit-any -- what a later Kubernetes might send
      } as any,
    ],
  });
  return {
    node: "node1",
    table: "inet twill-policy",
    ping: true,
    state: "degraded",
    reasons: ["why"],
    synced: Date.UTC(2026, 0, 2),
    held: [parseIp("10.244.1.99"), parseIp("fd00::1")],
    cluster,
  };
}

for (const { id, steps } of CASES) {
  Deno.test(`policy snapshot: ${id} is the same after a round trip, and as docs/schema says`, () => {
    const scene = new Scene();
    for (const { deeds } of steps) for (const deed of deeds) scene.do(deed);
    const snapshot = snapshotOf(scene);
    const text = formatPolicySnapshot(snapshot);
    assert.deepEqual(parsePolicySnapshot(text), snapshot);
    assert.deepEqual(errors(load("daemon_policy.json"), JSON.parse(text), "policy"), []);
  });
}

for (
  const [what, text] of [
    ["another version", '{"schema":2,"kind":"policy"}'],
    ["another document", '{"schema":1,"kind":"daemon"}'],
    ["no JSON", "<html>"],
    ["an address that is none", '{"schema":1,"kind":"policy","held":["x"]}'],
    [
      "a peer of another kind",
      '{"schema":1,"kind":"policy","policies":[{"ingress":[{"peers":[{"kind":"x"}]}]}]}',
    ],
  ] as const
) {
  Deno.test(`policy snapshot: ${what} is refused`, () => {
    assert.throws(() => parsePolicySnapshot(text), SyntaxError);
  });
}

Deno.test("PolicyCompiler.cluster: an address that two pods show is that of one", () => {
  const scene = new Scene();
  const { pods, namespaces } = snapshotOf(scene).cluster;
  const [a, b] = [pods.find((pod) => keyOf(pod) === "x/a")!, pods.find((p) => keyOf(p) === "x/c")!];
  const late = { ...b, ips: a.ips, running: true };
  const early = { ...a, terminating: true };
  const host = { ...a, name: "host", hostNetwork: true, ips: [parseIp("192.0.2.1")] };
  const compiler = new PolicyCompiler("node1");
  compiler.update({
    pods: new Map([early, late, host].map((pod) => [keyOf(pod), pod])),
    namespaces: new Map(namespaces.map((one) => [one.name, one])),
  });
  const ips = Object.fromEntries(compiler.cluster().pods.map((pod) => [keyOf(pod), pod.ips]));
  assert.deepEqual(ips, { "x/a": [], "x/c": a.ips, "x/host": host.ips });
});
