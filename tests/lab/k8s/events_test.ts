/**
 * What happens to a cluster of nodes with twill, one test each, in one cluster: as users of kind may
 * have it, with both families, kube-proxy in nftables mode, and without br_netfilter.
 */

import assert from "node:assert/strict";
import { Cluster, type RunningPod } from "./cluster.ts";
import { until } from "../command.ts";
import {
  apiOutage,
  asks,
  daemonReady,
  giveRights,
  historyIsDropped,
  manyPods,
  nodeJoins,
  nodeLeaves,
  onePodEach,
  PodStream,
  powerCut,
  routesAgree,
  sandboxFailures,
} from "./events.ts";
import { nextBuild } from "./images.ts";
import { TwillService } from "./networks.ts";
import type { KubeNode } from "./node.ts";
import { Pings } from "./pings.ts";
import { familiesAndBridge } from "./policy/bridge.ts";
import { smoke } from "./smoke.ts";

const full = Deno.env.get("TWILL_FULL") === "1";
const WRONG = ["flannel.alpha.coreos.com/public-ip=192.0.2.1"];

/** Rights without which there is no work for the daemon. */
const NEEDED = [["nodes", "list"], ["nodes", "watch"], ["nodes/status", "patch"]] as const;

/** Rights without which some news is missing, and nothing else. */
const USEFUL = [
  ["nodes", "get"],
  ["pods", "get"],
  ["pods", "list"],
  ["pods", "watch"],
  ["events", "create"],
  ["events", "patch"],
] as const;

const network = new TwillService();
let cluster: Cluster;
let pods: Map<KubeNode, RunningPod>;
let pings: Pings;

Deno.test.beforeAll(async () => {
  cluster = await Cluster.create({
    nodes: 3,
    families: "dual",
    proxy: "nftables",
    bridgeNetfilter: false,
    network,
  });
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

event("it passes the smoke test", async () => {
  assert.deepEqual(await smoke(cluster), []);
});

event("a node joins", async () => {
  const [known] = pods.values();
  await nodeJoins(cluster, known as RunningPod);
});

event("the power of a node is cut and comes back", async () => {
  const node = cluster.node("node3");
  const back = await powerCut(cluster, node, "node3");
  pods.set(node, back);
  const [other] = pods.values();
  await other?.reaches(back.ip);
});

event("the API server is away: pods go on, and a node that restarts knows its peers", async () => {
  const node = cluster.node("node3");
  await apiOutage(cluster, full ? 60 : 12, async () => {
    await node.must(["systemctl", "restart", "twill"]);
    await until("the daemon follows its last snapshot", async () => {
      return (await asks(node, "/readyz")).includes("follows the snapshot");
    }, { explain: () => node.tail("twill") });
    await node.shell("ip route flush dev flannel.1");
    await routesAgree(cluster);
  });
  await daemonReady(node);
  await routesAgree(cluster);
  await cluster.kubectl(["annotate", "node", "node3", "--overwrite", ...WRONG]);
  await until("the daemon has put its annotation right", async () => {
    const { metadata } = await cluster.get("node node3");
    const { annotations } = metadata as { annotations?: Record<string, string> };
    return annotations?.["flannel.alpha.coreos.com/public-ip"] === node.address;
  }, { seconds: 45, explain: () => node.tail("twill") });
});

event("the history of the API is dropped: what changed is seen all the same", async () => {
  const node = await cluster.addNode();
  await cluster.nodesReady();
  await routesAgree(cluster);
  await node.cutPower();
  await cluster.plane.stop("kcm");
  await historyIsDropped(cluster);
  await cluster.kubectl(["delete", "node", node.name, "--wait"]);
  cluster.forget(node);
  await routesAgree(cluster);
  await cluster.plane.start("kcm");
});

event("a right is missing: the daemon says which, and goes on when it is there", async () => {
  const node = cluster.node("node3");
  for (const [resource, verb] of NEEDED) {
    await giveRights(cluster, [resource, verb]);
    if (verb === "patch") {
      await cluster.kubectl(["annotate", "node", "node3", "--overwrite", ...WRONG]);
    }
    await node.must(["systemctl", "restart", "twill"]);
    await until(`the daemon says that it may not ${verb} ${resource}`, async () => {
      const words = await asks(node, "/readyz") + node.tail("twill");
      return words.includes(verb) && words.includes(resource) &&
        /403|forbidden|may not/i.test(words);
    }, { every: 200, explain: () => node.tail("twill") });
    await giveRights(cluster);
    await daemonReady(node);
  }
  for (const right of full ? USEFUL : USEFUL.slice(0, 2)) {
    await giveRights(cluster, right);
    await node.must(["systemctl", "restart", "twill"]);
    await daemonReady(node);
  }
  await giveRights(cluster);
});

event("policies: each family by itself; without br_netfilter the node says what is open", () => {
  return familiesAndBridge(cluster, pods);
});

event("a kubelet's kubeconfig is known for what it is", async () => {
  const node = cluster.node("node3");
  await node.must(["systemctl", "stop", "twill"]);
  const config = `--kubeconfig-file=${cluster.plane.kubeconfig(node.name)}`;
  const tried = await node.exec(["timeout", "8", "twill", "daemon", "--kube-subnet-mgr", config]);
  await node.must(["systemctl", "start", "twill"]);
  assert.match(tried.stderr + tried.stdout, /This is a kubelet's credential/);
  await daemonReady(node);
});

event("many pods come and go at once", async () => {
  await manyPods(cluster, full ? 100 : 20);
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
