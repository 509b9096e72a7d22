/**
 * A cluster: a control plane and nodes, and on each node whatever makes its pod network.
 *
 * ```ts ignore
 * await using cluster = await Cluster.create({ nodes: 3, network: () => new Flannel() });
 * await cluster.apply(pod({ name: "a", node: "node1" }), pod({ name: "b", node: "node2" }));
 * const [a, b] = await cluster.pods("a", "b");
 * await a.reaches(b.ip);
 * ```
 *
 * @module
 */

import { must, type Output, type RunOptions, until } from "../command.ts";
import type { Command } from "../space.ts";
import { ControlPlane, type Families } from "./control_plane.ts";
import { FOLDER } from "./machine.ts";
import { KubeNode } from "./node.ts";
import type { Json, KubeObject } from "./objects.ts";

/** What makes the pod network of a node: twill or flannel, put there in one way or another. */
export interface Network {
  /** Short, for messages. */
  readonly name: string;
  /** Once for each cluster: objects in the API, tokens, images. */
  prepare(cluster: Cluster): Promise<void>;
  /** Puts it on a node that is up, and starts it. It need not be ready for anything then. */
  install(node: KubeNode, cluster: Cluster): Promise<void>;
}

/** What a cluster is made with. */
export interface ClusterOptions {
  /** Default 3. */
  readonly nodes?: number;
  /** Default `ipv4`. */
  readonly families?: Families;
  /** Mode of kube-proxy; default `iptables`. */
  readonly proxy?: "iptables" | "nftables";
  /** Whether the controller manager gives each node a podCIDR; default true. */
  readonly nodeCidrs?: boolean;
  /** False: as if the kernel had no br_netfilter. Default true. */
  readonly bridgeNetfilter?: boolean;
  /** The network of each node. The same object for several nodes is prepared once. */
  readonly network: Network;
}

/** A pod that runs. */
export class RunningPod {
  readonly name: string;
  readonly node: KubeNode;
  /** Its first address. */
  readonly ip: string;
  /** All of them. */
  readonly ips: readonly string[];
  /** Path of its network namespace on its node. */
  readonly netns: string;

  /** @see {@link Cluster.pods} */
  constructor(name: string, node: KubeNode, ips: readonly string[], netns: string) {
    this.name = name;
    this.node = node;
    this.ip = ips[0] ?? "";
    this.ips = ips;
    this.netns = netns;
  }

  /** How to enter its network on its machine, with all programs of the node. */
  get inside(): Command {
    return ["nsenter", `--net=${this.netns}`];
  }

  /** Runs a program of the node in the pod's network; any exit status is a result. */
  exec(command: Command, options?: RunOptions): Promise<Output> {
    return this.node.exec([...this.inside, ...command], options);
  }

  /** The same for one that must succeed. @returns its stdout */
  must(command: Command, options?: RunOptions): Promise<string> {
    return this.node.must([...this.inside, ...command], options);
  }

  /** Waits until an echo request to this address is answered: the first of a new way may be lost. */
  async reaches(ip: string): Promise<void> {
    await until(`${this.name} reaches ${ip}`, async () => {
      await this.must(["ping", "-c1", "-W1", ip]);
      return true;
    }, { every: 100 });
  }
}

/** A running cluster. Disposing of it leaves nothing. */
export class Cluster implements AsyncDisposable {
  readonly plane: ControlPlane;
  readonly families: Families;
  readonly #nodes: KubeNode[] = [];
  /** That of the newest node. */
  #number = 0;
  readonly #options: ClusterOptions;
  readonly #preparing = new Map<Network, Promise<void>>();
  readonly #stack: AsyncDisposableStack;

  private constructor(plane: ControlPlane, options: ClusterOptions, stack: AsyncDisposableStack) {
    this.plane = plane;
    this.families = options.families ?? "ipv4";
    this.#options = options;
    this.#stack = stack;
  }

  /** Builds a cluster; all nodes are ready when this returns. */
  static async create(options: ClusterOptions): Promise<Cluster> {
    const cluster = await Cluster.bare(options);
    try {
      await settled(Array.from({ length: options.nodes ?? 3 }, () => cluster.addNode()));
      await cluster.nodesReady();
      await cluster.addNamespace("default");
      return cluster;
    } catch (e) {
      await cluster[Symbol.asyncDispose]();
      throw e;
    }
  }

  /** A cluster without nodes. */
  static async bare(options: ClusterOptions): Promise<Cluster> {
    if (Deno.env.get("TWILL_ISOLATED") !== "1" || !Deno.env.get("TWILL_K8S")) {
      throw new Error(
        "Cannot build a cluster here: run it with tests/lab/k8s/alone, as tools/test does",
      );
    }
    await using stack = new AsyncDisposableStack();
    await must([new URL("folder", import.meta.url).pathname, "make", FOLDER]);
    stack.defer(async () =>
      void await must([new URL("folder", import.meta.url).pathname, "drop", FOLDER])
    );
    const { families = "ipv4", nodeCidrs = true } = options;
    const plane = stack.use(await ControlPlane.create({ families, nodeCidrs }));
    return new Cluster(plane, options, stack.move());
  }

  /** In the order of their numbers. */
  get nodes(): readonly KubeNode[] {
    return this.#nodes;
  }

  /** A node that is switched off and deleted is none of the cluster any more. */
  forget(node: KubeNode): void {
    this.#nodes.splice(this.#nodes.indexOf(node), 1);
  }

  /** A node by its name. */
  node(name: string): KubeNode {
    const node = this.#nodes.find((one) => one.name === name);
    if (node === undefined) throw new RangeError(`no node "${name}" in this cluster`);
    return node;
  }

  /** Adds a node; see {@link Cluster.nodesReady}. */
  async addNode(network: Network = this.#options.network): Promise<KubeNode> {
    const { proxy = "iptables", bridgeNetfilter = true } = this.#options;
    const node = new KubeNode(++this.#number, this.plane, {
      families: this.families,
      proxy,
      bridgeNetfilter,
    });
    this.#nodes.push(node);
    this.#stack.use(node);
    await settled([node.boot(), this.prepare(network)]);
    await network.install(node, this);
    return node;
  }

  /** Prepares the cluster for a network, once. */
  prepare(network: Network): Promise<void> {
    const begun = this.#preparing.get(network) ?? network.prepare(this);
    this.#preparing.set(network, begun);
    return begun;
  }

  /** Waits until the nodes, default all, are Ready. */
  async nodesReady(names: readonly string[] = this.#nodes.map(({ name }) => name)): Promise<void> {
    let missing = names;
    await until(`${names.join(", ")} are Ready`, async () => {
      const nodes = await this.list("nodes");
      const ready = nodes.filter(isReady).map(({ metadata }) => metadata.name);
      missing = names.filter((name) => !ready.includes(name));
      return missing.length === 0;
    }, {
      seconds: 90,
      every: 200,
      explain: () =>
        missing.flatMap((name) => {
          const node = this.node(name);
          return [`${name} is not`, node.tail("twill", 8), node.tail("kubelet", 8)];
        }).join("\n"),
    });
  }

  /** kubectl as the cluster's admin; any exit status is a result. */
  tryKubectl(args: readonly string[], options?: RunOptions): Promise<Output> {
    const config = `--kubeconfig=${this.plane.kubeconfig("admin")}`;
    return this.plane.machine.exec(["kubectl", config, ...args], options);
  }

  /** The same for what must succeed. @returns its stdout */
  kubectl(args: readonly string[], options?: RunOptions): Promise<string> {
    const config = `--kubeconfig=${this.plane.kubeconfig("admin")}`;
    return this.plane.machine.must(["kubectl", config, ...args], { seconds: 150, ...options });
  }

  /** Creates objects or changes them. */
  async apply(...objects: readonly KubeObject[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: objects };
    await this.kubectl(["apply", "-f", "-"], { stdin: JSON.stringify(list) });
  }

  /** Adds a namespace; pods can be made in it when this returns. */
  async addNamespace(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
    // The controller manager makes it, and without it pods are refused.
    await until(`namespace ${name} has its ServiceAccount`, async () => {
      return (await this.tryKubectl(["-n", name, "get", "serviceaccount", "default"])).code === 0;
    }, { every: 100 });
  }

  /** All objects of a kind, such as `pods`, in all namespaces. */
  async list(kind: string): Promise<readonly Listed[]> {
    return JSON.parse(await this.kubectl(["get", kind, "-A", "-o", "json"])).items;
  }

  /** One object. @param words such as `node node1`, or `-n demo pod a` */
  async get(words: string): Promise<Listed> {
    return JSON.parse(await this.kubectl(["get", ...words.split(" "), "-o", "json"]));
  }

  /**
   * Pods by their names, when all of them are Ready.
   *
   * @param names `pod`, or `namespace/pod`
   */
  async pods<N extends string>(...names: readonly N[]): Promise<Record<N, RunningPod>> {
    let last = "";
    const found = await until(`pods ${names.join(", ")} are Ready`, async () => {
      const pods = await this.list("pods");
      const wanted = names.map((name) => pods.find((one) => nameOf(one) === fullName(name)));
      last = wanted.map((one, i) => `${names[i]}: ${JSON.stringify(one?.status)}`).join("\n");
      return wanted.every((one) => one !== undefined && isReady(one)) && wanted as Listed[];
    }, { seconds: 150, every: 200, explain: () => last });
    const pods = await Promise.all(found.map((one) => this.#running(one)));
    return Object.fromEntries(names.map((name, i) => [name, pods[i]])) as Record<N, RunningPod>;
  }

  async #running({ metadata, spec, status }: Listed): Promise<RunningPod> {
    const node = this.node(String(spec?.nodeName));
    const ips = ((status?.podIPs ?? []) as { ip: string }[]).map(({ ip }) => ip);
    if (spec?.hostNetwork === true) {
      return new RunningPod(metadata.name, node, ips, "/proc/1/ns/net");
    }
    const find =
      'for n in /run/netns/*; do ! nsenter --net=$n ip -o address | grep -qF " $1/" || echo $n; done';
    const netns = (await node.must(["sh", "-c", find, "sh", ips[0] ?? ""])).trim();
    return new RunningPod(metadata.name, node, ips, netns);
  }

  /** Deletes pods and waits until the API has forgotten them. */
  async deletePods(...names: readonly string[]): Promise<void> {
    const byNamespace = Map.groupBy(names.map(fullName), (name) => name.split("/")[0] ?? "");
    for (const [namespace, pods] of byNamespace) {
      const short = pods.map((name) => name.split("/")[1] ?? "");
      await this.kubectl(["-n", namespace, "delete", "pod", "--wait", ...short]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** Waits for all of them, also when one fails: nothing may go on in what is taken back. */
async function settled(all: readonly Promise<unknown>[]): Promise<void> {
  await Promise.allSettled(all);
  await Promise.all(all);
}

/** An object as the API lists it. */
export interface Listed extends KubeObject {
  readonly spec?: Json;
  readonly status?: Json;
}

function isReady({ status }: Listed): boolean {
  const conditions = (status?.conditions ?? []) as { type: string; status: string }[];
  return conditions.some(({ type, status }) => type === "Ready" && status === "True");
}

function fullName(name: string): string {
  return name.includes("/") ? name : `default/${name}`;
}

function nameOf({ metadata }: Listed): string {
  return `${metadata.namespace}/${metadata.name}`;
}
