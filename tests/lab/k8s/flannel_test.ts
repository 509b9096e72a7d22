/** The lab itself, with the original: what twill is held against must work in it. */

import assert from "node:assert/strict";
import { Cluster } from "./cluster.ts";
import { FlannelDaemonSet } from "./networks.ts";
import { smoke } from "./smoke.ts";

Deno.test("k8s: a cluster with flannel passes the smoke test", async () => {
  await using cluster = await Cluster.create({ nodes: 2, network: new FlannelDaemonSet() });
  assert.deepEqual(await smoke(cluster), []);
});
