/**
 * What happens to clusters. Each of these does one thing to a cluster that runs, and asserts that
 * its pod network is again what it must be. None depends on what makes that network.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import { HEALTH_PORT } from "../node.ts";
import type { Cluster, RunningPod } from "./cluster.ts";
import type { KubeNode } from "./node.ts";
import { type KubeObject, pod } from "./objects.ts";
import { subnetsOf, traces } from "./smoke.ts";

/** One pod on each node, named as the node, in the namespace `default`. */
export async function onePodEach(cluster: Cluster): Promise<Map<KubeNode, RunningPod>> {
  const wanted = cluster.nodes.map((node) => pod({ name: node.name, node: node.name }));
  await cluster.apply(...wanted);
  const pods = await cluster.pods(...cluster.nodes.map(({ name }) => name));
  return new Map(cluster.nodes.map((node) => [node, pods[node.name] as RunningPod]));
}

/**
 * Asserts that every node has a route to every other node's pods, and none to anything else. After an
 * outage a daemon may ask the API no more than each 30 s.
 */
export async function routesAgree({ nodes }: Cluster): Promise<void> {
  await until("all nodes have routes to all others' pods, and no other ones", async () => {
    for (const node of nodes) {
      const want = nodes.filter((other) => other !== node).flatMap(subnetsOf).toSorted();
      assert.deepEqual(await podRoutes(node), want, node.name);
    }
    return true;
  }, {
    seconds: 45,
    every: 100,
    explain: () => nodes.map((node) => node.tail("twill", 5)).join("\n"),
  });
}

/** Destinations of routes to other nodes' pods. */
async function podRoutes(node: KubeNode): Promise<string[]> {
  const routes = await node.shell("ip -4 route; ip -6 route");
  return routes.split("\n")
    .filter((line) => /^(?:10\.244\.|fd00:10:244:)\S+\/\d+ .*\bvia\b/.test(line))
    .map((line) => line.split(" ")[0] ?? "").toSorted();
}

/** Where nodes have their network configuration list. */
const CONFLIST = "/etc/cni/net.d/10-flannel.conflist";

/**
 * A node joins that gets its podCIDR late. Until then it is not ready, its daemon says what it waits
 * for, and no runtime is told of a network. Then all know it, and its pods reach those of others.
 */
export async function nodeJoins(cluster: Cluster, known: RunningPod): Promise<KubeNode> {
  await cluster.plane.stop("kcm");
  const node = await cluster.addNode();
  try {
    await until("its daemon waits for a podCIDR", async () => {
      return /pod cidr not assigned/.test(await asks(node, "/readyz"));
    }, { every: 100, explain: () => node.tail("twill") });
    assert.equal(node.read(CONFLIST), undefined, "a list before there is a network");
    await until("an event of the node says so", async () => {
      const events = await cluster.list("events");
      return events.some(({ reason, message }) =>
        reason === "NetworkNotReady" && /pod cidr not assigned/.test(String(message))
      );
    }, { every: 200 });
    assert.match(await cluster.kubectl(["get", "node", node.name]), / NotReady /);
  } finally {
    await cluster.plane.start("kcm");
  }
  await cluster.nodesReady();
  assert.ok(node.read(CONFLIST) !== undefined);
  await routesAgree(cluster);
  await cluster.apply(pod({ name: node.name, node: node.name }));
  const { [node.name]: there } = await cluster.pods(node.name);
  for (const ip of known.ips) await there?.reaches(ip);
  return node;
}

/** A node is switched off and deleted: nothing of it is left on the others. */
export async function nodeLeaves(cluster: Cluster, node: KubeNode): Promise<void> {
  const subnets = subnetsOf(node);
  assert.ok(subnets.length > 0);
  await node.cutPower();
  await cluster.kubectl(["delete", "node", node.name, "--wait"]);
  cluster.forget(node);
  const others = cluster.nodes;
  await routesAgree(cluster);
  await until(`nothing of ${node.name} is left`, async () => {
    for (const other of others) {
      const left = await other.shell("ip route; ip -6 route; ip neigh; bridge fdb");
      const of = [node.address, ...subnets.map((subnet) => subnet.replace(/\/\d+$/, ""))];
      const found = left.split("\n").filter((line) =>
        // The underlay's own neighbours come and go by themselves.
        !/dev eth0/.test(line) && line.split(/[\s/]/).some((word) => of.includes(word))
      );
      assert.deepEqual(found, [], other.name);
    }
    return true;
  }, { every: 100 });
}

/** The power of a node is cut and comes back: its pods run again, and no address is lost. */
export async function powerCut(
  cluster: Cluster,
  node: KubeNode,
  name: string,
): Promise<RunningPod> {
  const before = await cluster.get(`pod ${name}`);
  const started = JSON.stringify(before.status?.containerStatuses);
  await node.cutPower();
  await node.boot();
  await until(`the pod ${name} was started again`, async () => {
    const now = await cluster.get(`pod ${name}`);
    return JSON.stringify(now.status?.containerStatuses) !== started;
  }, { seconds: 60, every: 200, explain: () => node.tail("kubelet") });
  await cluster.nodesReady();
  await routesAgree(cluster);
  await addressesAgree(cluster, node);
  return (await cluster.pods(name))[name] as RunningPod;
}

/** Waits until the reserved addresses of a node are those of its pods. */
export async function addressesAgree(cluster: Cluster, node: KubeNode): Promise<void> {
  await until(`reserved addresses on ${node.name} are those of its pods`, async () => {
    const pods = (await cluster.list("pods")).filter(({ spec }) =>
      spec?.nodeName === node.name && spec?.hostNetwork !== true
    );
    const want = pods.flatMap(({ status }) => ((status?.podIPs ?? []) as { ip: string }[]))
      .map(({ ip }) => ip).toSorted();
    assert.deepEqual((await traces(node))["reserved address"].toSorted(), want);
    return true;
  }, { seconds: 60, every: 300 });
}

/** The API server is away for a while and comes back with an empty memory of what was watched. */
export async function apiOutage(
  cluster: Cluster,
  seconds: number,
  meanwhile: () => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  const { plane } = cluster;
  await plane.stop("apiserver");
  try {
    await Promise.all([
      new Promise((resolve) => setTimeout(resolve, seconds * 1000)),
      meanwhile(),
    ]);
  } finally {
    await plane.start("apiserver");
    await plane.answers();
  }
}

/** The history of the API is dropped, so that no watch can go on where it ended. */
export async function historyIsDropped(cluster: Cluster): Promise<void> {
  const { plane } = cluster;
  await plane.stop("apiserver");
  const get = await plane.etcdctl("get", "--write-out=json", "/registry/namespaces/default");
  const { revision } = JSON.parse(get).header;
  await plane.etcdctl("put", "elsewhere", "1");
  await plane.etcdctl("compact", String(revision));
  await plane.start("apiserver");
  await plane.answers();
}

/** What a daemon says on its health port: 0 and its answer, or 22 with what curl makes of a refusal. */
export async function asks(node: KubeNode, path: string): Promise<string> {
  const url = `http://127.0.0.1:${HEALTH_PORT}${path}`;
  return (await node.exec(["curl", "-s", "--max-time", "2", "-w", "%{http_code}", url])).stdout;
}

/** Waits until a node's daemon is ready. */
export async function daemonReady(node: KubeNode): Promise<void> {
  let last = "";
  await until(`the daemon of ${node.name} is ready`, async () => {
    last = await asks(node, "/readyz");
    return last.endsWith("200");
  }, { every: 100, seconds: 60, explain: () => `${last}\n${node.tail("twill")}` });
}

/** Many pods at once, made and deleted: all run, each with an address of its own, none leaves anything. */
export async function manyPods(cluster: Cluster, count: number): Promise<void> {
  const before = await Promise.all(cluster.nodes.map(traces));
  const names = Array.from({ length: count }, (_, i) => `many-${i}`);
  const sleeper = ["/bin/sleep", "100000"];
  await cluster.apply(...names.map((name) => pod({ name, command: sleeper })));
  const pods = await cluster.pods(...names);
  const ips = names.flatMap((name) => pods[name]?.ips ?? []);
  assert.equal(new Set(ips).size, ips.length, "an address was given twice");
  await cluster.deletePods(...names);
  await until("nothing is left of them", async () => {
    assert.deepEqual(await Promise.all(cluster.nodes.map(traces)), before);
    return true;
  }, { seconds: 60, every: 300 });
}

/** Pods that come and go on a node, one after the other, until it is disposed of. */
export class PodStream implements AsyncDisposable {
  readonly #cluster: Cluster;
  readonly #node: KubeNode;
  readonly #running: Promise<void>;
  #stopped = false;
  /** How many came and went. */
  count = 0;

  constructor(cluster: Cluster, node: KubeNode) {
    this.#cluster = cluster;
    this.#node = node;
    this.#running = this.#run();
    // It is awaited later; until then its failure is nobody's.
    this.#running.catch(() => {});
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const name = `stream-${this.count}`;
      await this.#cluster.apply(pod({ name, node: this.#node.name }));
      await this.#cluster.pods(name);
      await this.#cluster.deletePods(name);
      this.count++;
    }
  }

  /** Waits for that many more. */
  async more(count: number): Promise<void> {
    const wanted = this.count + count;
    const reached = until(`${count} pods came and went`, () => this.count >= wanted, {
      seconds: 60,
      every: 50,
    });
    await Promise.race([reached, this.#running]);
  }

  /** Ends it. @throws what went wrong with a pod */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }
}

/** Warnings that kubelet has reported about sandboxes of pods, since the cluster is up. */
export async function sandboxFailures(cluster: Cluster): Promise<readonly string[]> {
  const events = await cluster.list("events");
  return events.filter(({ reason }) =>
    reason === "FailedCreatePodSandBox" || reason === "FailedKillPod"
  )
    .map(({ message }) => String(message));
}

/** Applies objects on the server without keeping them; it must accept all. */
export async function accepted(
  cluster: Cluster,
  objects: string | readonly KubeObject[],
): Promise<void> {
  const stdin = typeof objects === "string"
    ? objects
    : JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  await cluster.kubectl(["apply", "--dry-run=server", "-f", "-"], { stdin });
}

/**
 * Changes the rights of the daemons' account.
 *
 * @param without a resource and a verb that it must not have; none for all that the manifest gives
 */
export async function giveRights(
  cluster: Cluster,
  without?: readonly [resource: string, verb: string],
): Promise<void> {
  const { rules } = await cluster.get("clusterrole flannel") as unknown as { rules: Rule[] };
  stock ??= rules;
  const left = stock.flatMap((rule) =>
    rule.resources.map((resource) => ({
      apiGroups: rule.apiGroups,
      resources: [resource],
      verbs: rule.verbs.filter((verb) => resource !== without?.[0] || verb !== without[1]),
    }))
  ).filter(({ verbs }) => verbs.length > 0);
  const patch = [{ op: "replace", path: "/rules", value: left }];
  await cluster.kubectl([
    "patch",
    "clusterrole",
    "flannel",
    "--type=json",
    "-p",
    JSON.stringify(patch),
  ]);
}

/** One rule of a role. */
interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** What the manifest gives, seen before the first change. */
let stock: readonly Rule[] | undefined;
