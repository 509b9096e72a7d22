/** The lab itself, with the original: what twill is held against must work in it. */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import { Cluster } from "./cluster.ts";
import { FlannelDaemonSet } from "./networks.ts";
import { smoke } from "./smoke.ts";

/** Processes beside this one, mounts, devices, and names in /run. */
function traces(): Record<string, string[]> {
  const names = (path: string): string[] => [...Deno.readDirSync(path)].map(({ name }) => name);
  return {
    processes: names("/proc").filter((name) => /^\d+$/.test(name)).toSorted(),
    mounts: Deno.readTextFileSync("/proc/self/mounts").trimEnd().split("\n"),
    devices: names("/sys/class/net").toSorted(),
    run: names("/run").toSorted(),
  };
}

Deno.test("k8s: a cluster with flannel passes the smoke test, and leaves nothing", async () => {
  const before = traces();
  {
    await using cluster = await Cluster.create({ nodes: 2, network: new FlannelDaemonSet() });
    assert.deepEqual(await smoke(cluster), []);
  }
  // Its groups would have made the disposal fail. Orphans are collected when their time comes.
  await until("all is as before", () => (assert.deepEqual(traces(), before), true));
});
