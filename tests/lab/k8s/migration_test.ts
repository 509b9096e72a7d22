/** From flannel to twill, node by node, and back, in a cluster whose pods never stop talking. */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import { Cluster } from "./cluster.ts";
import { addressesAgree, onePodEach, routesAgree } from "./events.ts";
import { FLANNEL_OBJECTS, flannelDaemonSet } from "./flannel_manifest.ts";
import { flannelImage, twillImage } from "./images.ts";
import { FlannelDaemonSet, manifest, netConf, rolledOut } from "./networks.ts";
import { Pings } from "./pings.ts";
import { smoke } from "./smoke.ts";

const full = Deno.env.get("TWILL_FULL") === "1";
const NS = ["-n", "kube-flannel"];

/** Which program makes the network of a node. */
async function programOf(cluster: Cluster, node: string): Promise<string> {
  const pods = await cluster.list("pods");
  const own = pods.filter(({ metadata, spec }) =>
    metadata.namespace === "kube-flannel" && spec?.nodeName === node
  );
  const images = own.map(({ spec }) => (spec?.containers as { image: string }[])[0]?.image);
  return images.join(" and ");
}

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

/** All of it, in a cluster that is gone afterwards. */
async function migrate(): Promise<void> {
  await using cluster = await Cluster.create({
    nodes: full ? 3 : 2,
    network: new FlannelDaemonSet(),
  });
  // The lab itself, with the original: what twill is held against must work in it.
  assert.deepEqual(await smoke(cluster), [], "flannel on all nodes");
  const pods = await onePodEach(cluster);
  await using pings = await Pings.start([...pods.values()]);
  const image = await twillImage();
  for (const node of cluster.nodes) await node.importImage(image.path);

  // One node first: it and two of flannel's are one cluster.
  const waits = { spec: { updateStrategy: { type: "OnDelete" } } };
  const patch = [...NS, "patch", "daemonset", "kube-flannel-ds", "--type=merge", "-p"];
  await cluster.kubectl([...patch, JSON.stringify(waits)]);
  await cluster.kubectl(["apply", "-f", "-"], { stdin: await manifest(["configMap=existing"]) });
  await cluster.kubectl([
    ...[...NS, "delete", "pod", "-l", "app=flannel", "--field-selector=spec.nodeName=node2"],
  ]);
  await until("node2 has twill", async () => {
    await cluster.kubectl(["wait", ...NS, "--for=condition=Ready", "pod", "--all", "--timeout=1s"]);
    return (await programOf(cluster, "node2")).includes("twill");
  }, { seconds: 60, every: 500 });
  assert.match(await programOf(cluster, "node1"), /^lab\.local\/flannel/);
  await pings.unharmed();
  assert.deepEqual(await smoke(cluster), [], "a node with twill among others with flannel");
  await pings.unharmed();

  await cluster.kubectl([
    ...patch,
    JSON.stringify({ spec: { updateStrategy: { type: "RollingUpdate" } } }),
  ]);
  await rolledOut(cluster);
  for (const { name } of cluster.nodes) assert.match(await programOf(cluster, name), /^twill:/);
  await routesAgree(cluster);
  await pings.unharmed();
  if (full) assert.deepEqual(await smoke(cluster), [], "twill on all nodes");

  const back = flannelDaemonSet((await flannelImage()).name, netConf("ipv4"));
  await cluster.apply(...FLANNEL_OBJECTS, ...back);
  await rolledOut(cluster);
  assert.match(await programOf(cluster, "node2"), /^lab\.local\/flannel/);
  await pings.unharmed();
  // Pods that were made by one are deleted by the other.
  await cluster.deletePods(...cluster.nodes.map(({ name }) => name));
  for (const node of cluster.nodes) await addressesAgree(cluster, node);
  if (full) assert.deepEqual(await smoke(cluster), [], "flannel again on all nodes");
}

Deno.test("k8s: flannel's DaemonSet becomes twill's, and flannel's again, without losing a packet", async () => {
  const before = traces();
  await migrate();
  // Groups that are left would have made the disposal fail. Orphans are collected when it is time.
  await until("the lab has left nothing", () => (assert.deepEqual(traces(), before), true));
});
