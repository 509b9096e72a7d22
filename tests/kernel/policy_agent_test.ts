/** The policy agent between the API and the kernel: what stands, and when new pods may start. */

import assert from "node:assert/strict";
import { parseIp } from "../../engine/ip.ts";
import { libc } from "../../ffi/libc.ts";
import { libnl } from "../../ffi/libnl.ts";
import { MemoryFile } from "../../ffi/memory_file.ts";
import { listTable, nftRunner } from "../../ffi/nft.ts";
import { holdAddresses } from "../../ffi/policy_hold.ts";
import { status } from "../daemon/kube/fake_api.ts";
import { until } from "../lab/command.ts";
import { AgentScene, PATHS, TABLE } from "./policy_agent_scene.ts";

/** x/a of the tables. */
const KNOWN = "10.244.1.10";
/** An address that no pod has. */
const NEW = "10.244.1.99";
const CLOSED = "x/p on pod=a types Ingress; in: []";
/** So long an answer may be missing before a plugin gets one (2 s, see agent.ts; clocks differ), ms. */
const PATIENCE = 1_950;

function agentTest(name: string, work: (scene: AgentScene) => Promise<void>): void {
  // Libraries stay open for good; those of the first test would count as a leak.
  for (const open of [libc, libnl, nftRunner]) open();
  new MemoryFile("twill-test", new Uint8Array())[Symbol.dispose]();
  Deno.test(`policy agent: ${name}`, async () => {
    await using scene = new AgentScene();
    await work(scene);
  });
}

for (const resource of ["pods", "namespaces", "networkpolicies"]) {
  agentTest(
    `without the right to list ${resource} what stands remains, and is told`,
    async (scene) => {
      holdAddresses(TABLE, [parseIp(NEW)]);
      const before = listTable(TABLE);
      scene.policies(CLOSED);
      scene.api.forbidden.add(`list ${resource}`);
      scene.start();
      await scene.is("degraded");
      const [reason = ""] = scene.agent.status().reasons;
      assert.match(
        reason,
        new RegExp(`Cannot list ${resource}: .*forbidden.*\\. .*twill manifest`),
      );
      assert.deepEqual(scene.alarms, [reason], "one alarm, however often it is tried");
      assert.match(scene.agent.metrics(), /twill_policy_state\{state="degraded"\} 1/);
      assert.equal(listTable(TABLE), before);
      scene.api.forbidden.clear();
      await scene.is("on");
      assert.match(scene.chainOf(KNOWN) ?? "", /^in-/);
      assert.equal(scene.chainOf(NEW), "unknown", "whoever held it: still not known");
    },
  );

  agentTest(`the right to watch ${resource} is taken away: what is known stays`, async (scene) => {
    scene.policies(CLOSED);
    scene.start();
    await scene.is("on");
    scene.api.forbidden.add(`watch ${resource}`);
    scene.api.endWatches();
    await scene.is("degraded");
    assert.match(scene.agent.status().reasons.join(), new RegExp(`Cannot watch ${resource}: `));
    assert.match(scene.chainOf(KNOWN) ?? "", /^in-/);
    scene.api.forbidden.clear();
    await scene.is("on");
    assert.deepEqual(scene.agent.status().reasons, []);
  });
}

agentTest("a pod that is known is covered when its ADD is answered", async (scene) => {
  scene.policies("x/p on pod=n types Ingress; in: []");
  scene.start();
  await scene.is("on");
  const labels = { pod: "n" };
  // As the API has it before the kubelet has told of the address.
  scene.api.put(PATHS.pods, {
    metadata: { name: "n", namespace: "x", uid: "u1", labels },
    spec: { nodeName: "node1" },
    status: { phase: "Pending" },
  });
  await until("it is known", () => {
    return scene.agent.snapshot().cluster.pods.some(({ name }) => name === "n");
  });
  await scene.admit("x/n", NEW, "u1");
  assert.match(scene.chainOf(NEW) ?? "", /^in-/);
  assert.deepEqual(scene.agent.status().held, []);
});

agentTest(
  "a pod whose labels do not come is closed after two seconds, until they do",
  async (scene) => {
    scene.policies("x/p on pod=other types Ingress; in: []");
    scene.start();
    await scene.is("on");
    const took = await scene.admit("x/n", NEW, "u1");
    assert.ok(took >= PATIENCE, `answered after ${took} ms, without waiting`);
    assert.equal(scene.chainOf(NEW), "unknown");
    assert.deepEqual(scene.agent.status().held, [NEW]);
    assert.match(scene.agent.metrics(), /^twill_policy_held_addresses 1$/m);
    scene.api.put(PATHS.pods, {
      metadata: { name: "n", namespace: "x", uid: "u1", labels: { pod: "n" } },
      spec: { nodeName: "node1" },
      status: { phase: "Pending" },
    });
    await until("it is open", () => scene.chainOf(NEW) === undefined);
    assert.deepEqual(scene.agent.status().held, []);
  },
);

agentTest("the labels of an earlier pod of the same name do not count", async (scene) => {
  scene.policies(CLOSED);
  scene.start();
  await scene.is("on");
  await scene.admit("x/c", NEW, "another than uid-x/c");
  assert.equal(scene.chainOf(NEW), "unknown");
});

agentTest("where a namespace has no policies nobody waits", async (scene) => {
  scene.policies(CLOSED);
  scene.start();
  await scene.is("on");
  await scene.admit("y/n", NEW, "u1");
  assert.equal(scene.chainOf(NEW), undefined);
  assert.deepEqual(scene.agent.status().held, [], "held by nobody");
});

agentTest(
  "an API that says nothing: closed where there were policies, else open",
  async (scene) => {
    scene.api.answer = () => status(503, "ServiceUnavailable", "not yet");
    Deno.writeTextFileSync(scene.file, '["x"]\n');
    scene.start();
    const both = await Promise.all([
      scene.admit("x/n", NEW),
      scene.admit("y/n", "10.244.1.98"),
    ]);
    assert.ok(both.every((took) => took >= PATIENCE), `${both} ms`);
    assert.equal(scene.chainOf(NEW), "unknown");
    assert.equal(scene.chainOf("10.244.1.98"), undefined);
  },
);

agentTest(
  "rights that were taken away: closed where there were policies, at once",
  async (scene) => {
    for (const path of Object.keys(PATHS)) scene.api.forbidden.add(`list ${path}`);
    Deno.writeTextFileSync(scene.file, '["x"]\n');
    scene.start();
    await scene.is("degraded");
    await scene.admit("x/n", NEW);
    await scene.admit("y/n", "10.244.1.98");
    assert.equal(scene.chainOf(NEW), "unknown");
    assert.equal(scene.chainOf("10.244.1.98"), undefined);
  },
);

agentTest(
  "the API goes away: what stands remains, and new pods are still covered",
  async (scene) => {
    scene.policies(CLOSED);
    scene.start();
    await scene.is("on");
    const before = listTable(TABLE);
    scene.api.answer = () => status(503, "ServiceUnavailable", "gone");
    scene.api.endWatches();
    await scene.is("degraded");
    assert.equal(listTable(TABLE), before);
    await scene.admit("x/n", NEW);
    assert.equal(scene.chainOf(NEW), "unknown");
    assert.match(scene.chainOf(KNOWN) ?? "", /^in-/);
  },
);

agentTest("a policy that cannot be read closes its targets alone, and is told", async (scene) => {
  scene.policies("x/q on pod=c types Ingress; in: any peer @ any port");
  const metadata = { name: "odd", namespace: "x" };
  const spec = {
    podSelector: { matchLabels: { pod: "a" } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/33" } }] }],
  };
  scene.api.put(PATHS.networkpolicies, { metadata, spec });
  scene.start();
  await scene.is("on");
  assert.deepEqual(scene.agent.status().faults, [{
    policy: "x/odd",
    reason:
      'spec.ingress[0].from[0].ipBlock.cidr: want a network such as 10.0.0.0/8, got "10.0.0.0/33"',
  }]);
  assert.match(scene.agent.metrics(), /twill_policies\{state="faulty"\} 1/);
  assert.match(scene.chainOf(KNOWN) ?? "", /^in-/);
  assert.match(scene.chainOf("10.244.1.11") ?? "", /^in-/, "x/c, which the other selects");
});

agentTest("the namespaces with policies are written down, newest word last", async (scene) => {
  scene.policies(CLOSED);
  scene.start();
  await scene.is("on");
  assert.deepEqual(JSON.parse(Deno.readTextFileSync(scene.file)), ["x"]);
  scene.policies("z/p on all types Egress; out: []");
  scene.api.delete(PATHS.networkpolicies, "x/p");
  await until("z alone", () => Deno.readTextFileSync(scene.file).trim() === '["z"]');
});
