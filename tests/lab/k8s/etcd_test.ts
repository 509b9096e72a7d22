/** Leases in etcd, as clusters have them whose controller manager gives nodes no podCIDRs. */

import assert from "node:assert/strict";
import { Cluster } from "./cluster.ts";
import { TwillEtcd } from "./networks.ts";
import { smoke } from "./smoke.ts";

Deno.test("k8s: twill from a copied file, with an etcd that asks for certificates", async () => {
  await using cluster = await Cluster.create({
    nodes: 2,
    network: new TwillEtcd(),
    nodeCidrs: false,
  });
  assert.deepEqual(await smoke(cluster), []);
});
