/** twill as a DaemonSet from `twill manifest`. */

import assert from "node:assert/strict";
import { Cluster } from "./cluster.ts";
import { TwillDaemonSet } from "./networks.ts";
import { smoke } from "./smoke.ts";

Deno.test("k8s: twill as a DaemonSet passes the smoke test", async () => {
  await using cluster = await Cluster.create({ nodes: 2, network: new TwillDaemonSet() });
  assert.deepEqual(await smoke(cluster), []);
});
