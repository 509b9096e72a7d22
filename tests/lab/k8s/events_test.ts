/** What happens to a cluster of nodes with twill, one test each, in one cluster. */

import assert from "node:assert/strict";
import { Cluster, type RunningPod } from "./cluster.ts";
import {
  manyPods,
  nodeJoins,
  nodeLeaves,
  onePodEach,
  PodStream,
  powerCut,
  sandboxFailures,
} from "./events.ts";
import { nextBuild } from "./images.ts";
import { TwillService } from "./networks.ts";
import type { KubeNode } from "./node.ts";
import { Pings } from "./pings.ts";

const network = new TwillService();
let cluster: Cluster;
let pods: Map<KubeNode, RunningPod>;
let pings: Pings;

Deno.test.beforeAll(async () => {
  cluster = await Cluster.create({ nodes: 3, network });
  pods = await onePodEach(cluster);
  pings = await Pings.start([...pods.values()].slice(0, 2));
});

Deno.test.afterAll(async () => {
  await pings?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** A test after which pods on nodes that it does not touch must not have lost a packet. */
function event(name: string, run: () => Promise<void>): void {
  Deno.test(`k8s: ${name}`, async () => {
    await pings.lost();
    await run();
    await pings.unharmed();
  });
}

event("a node joins", async () => {
  const [known] = pods.values();
  await nodeJoins(cluster, known as RunningPod);
});

event("the power of a node is cut and comes back", async () => {
  const node = cluster.node("node3");
  const back = await powerCut(cluster, node, "node3");
  pods.set(node, back);
  const [other] = pods.values();
  await other?.must(["ping", "-c1", "-W2", back.ip]);
});

event("many pods come and go at once", async () => {
  await manyPods(cluster, Deno.env.get("TWILL_FULL") === "1" ? 100 : 20);
});

event("an upgrade under a stream of pods", async () => {
  const node = cluster.node("node3");
  const next = await nextBuild();
  await using stream = new PodStream(cluster, node);
  await stream.more(2);
  const pid = (await node.must(["pgrep", "-f", "twill daemon"])).trim();
  await node.copyIn(next, "/usr/local/bin/twill");
  await network.upgrade(node);
  await stream.more(2);
  assert.notEqual((await node.must(["pgrep", "-f", "twill daemon"])).trim(), pid);
  assert.deepEqual(await sandboxFailures(cluster), []);
});

event("a node leaves", async () => {
  await nodeLeaves(cluster, cluster.node("node4"));
});
