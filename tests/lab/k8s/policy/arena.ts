/**
 * The namespaces and pods of the case tables in a real cluster, with an agent in each pod, and the
 * API to change them by.
 *
 * @module
 */

import type { PodObject } from "../../../../engine/policy/read_objects.ts";
import { parsePolicySnapshot, type PolicySnapshot } from "../../../../engine/policy/snapshot.ts";
import { Scene } from "../../../engine/policy/language.ts";
import type { PeerObject, PolicyObject } from "../../../engine/policy/language.ts";
import { type NodeStatus, parseNodeStatus } from "../../../../engine/node_status.ts";
import { until } from "../../command.ts";
import { HEALTH_PORT } from "../../node.ts";
import { Actor, type Enterable } from "../../policy/actor.ts";
import type { Cluster } from "../cluster.ts";
import type { KubeNode } from "../node.ts";
import { IMAGE, type KubeObject } from "../objects.ts";

/** Where `kubectl proxy` listens in the control plane. */
const PROXY = "http://127.0.0.1:8001";

/** A namespace without pods, whose objects show how far a daemon has heard the API. */
const MARKER = "marker";

/** Where the plugin of a node keeps the addresses that it has given. */
export const ADDRESSES = "/var/lib/cni/networks/cbr0";

/** How the API's objects of each kind are reached. */
const PATHS = {
  Namespace: () => "/api/v1/namespaces",
  Pod: (namespace: string) => `/api/v1/namespaces/${namespace}/pods`,
  NetworkPolicy: (namespace: string) =>
    `/apis/networking.k8s.io/v1/namespaces/${namespace}/networkpolicies`,
} as const;

/** See the module. */
export class Arena implements AsyncDisposable {
  readonly cluster: Cluster;
  /** What the API has, but for the addresses. */
  scene = new Scene();
  readonly #actors = new Map<string, Actor>();
  readonly #ips = new Map<string, readonly string[]>();
  readonly #owned = new AsyncDisposableStack();
  #api: Actor | undefined;
  /** Pods of the scene that there are none of; see {@link Arena.clear}. */
  #away = false;
  /** How often {@link Arena.heardByAll} was asked. */
  #asked = 0;

  private constructor(cluster: Cluster) {
    this.cluster = cluster;
  }

  /** Makes namespaces and pods, and waits until the pods run. */
  static async create(cluster: Cluster): Promise<Arena> {
    const arena = new Arena(cluster);
    const { machine } = cluster.plane;
    const kubeconfig = `--kubeconfig=${cluster.plane.kubeconfig("admin")}`;
    await machine.start("proxy", ["kubectl", kubeconfig, "proxy", "--port=8001"]);
    arena.#api = arena.#owned.use(await Actor.start(machine));
    await until("kubectl proxy answers", async () => (await arena.api("GET", "/version")).ok);
    for (const name of ["x", "y", "z"]) await cluster.addNamespace(name, { ns: name });
    await cluster.addNamespace(MARKER);
    await arena.pods([...arena.scene.pods.keys()]);
    return arena;
  }

  /** Asks the API as its admin. */
  async api(
    method: string,
    path: string,
    body?: unknown,
    contentType = "application/json",
  ): Promise<{ readonly ok: boolean; readonly text: string }> {
    const answer = await this.#api?.http({ method, url: `${PROXY}${path}`, body, contentType });
    if (answer === undefined) throw new TypeError("the API is not reached yet");
    return answer;
  }

  /** The same for what must succeed. */
  async must(method: string, path: string, body?: unknown, type?: string): Promise<string> {
    const { ok, text } = await this.api(method, path, body, type);
    if (!ok) throw new Error(`${method} ${path}: ${text}`);
    return text;
  }

  /** Makes pods of the scene and waits until they run. */
  async pods(keys: readonly string[]): Promise<void> {
    for (const key of keys) await this.#post(key);
    await this.#enter(keys);
  }

  /** Waits until pods run, and starts an agent in each. */
  async #enter(keys: readonly string[]): Promise<void> {
    const found = await this.cluster.pods(...keys);
    await Promise.all(keys.map(async (key) => {
      const pod = found[key];
      if (pod === undefined) return;
      this.#ips.set(key, pod.ips);
      const space: Enterable = {
        inside: (command) => pod.node.machine.inside([...pod.inside, ...command]),
      };
      this.#actors.set(key, await Actor.start(space));
    }));
  }

  /** Deletes all pods at once, without grace; deeds are for those to come, until {@link fill}. */
  async clear(): Promise<void> {
    for (const actor of this.#actors.values()) await actor[Symbol.asyncDispose]();
    this.#actors.clear();
    this.#away = true;
    for (const namespace of ["x", "y", "z"]) {
      await this.must("DELETE", `${PATHS.Pod(namespace)}?gracePeriodSeconds=0`);
    }
  }

  /** The first free addresses of each node are those of the pods that {@link fill} will make. */
  async foretell(): Promise<void> {
    for (const node of this.cluster.nodes) {
      await until(`${node.name} has taken all addresses back`, async () => {
        return (await node.shell(`ls ${ADDRESSES} | grep -c '^10[.]' || true`)).trim() === "0";
      }, { every: 100, explain: () => node.tail("kubelet") });
      const last = await node.must(["cat", `${ADDRESSES}/last_reserved_ip.0`]);
      const subnet = last.trim().split(".").slice(0, 3).join(".");
      await node.shell(`printf ${subnet}.99 >${ADDRESSES}/last_reserved_ip.0`);
      this.#near(node.name).forEach((key, i) => this.#ips.set(key, [`${subnet}.${100 + i}`]));
    }
  }

  /** Makes the pods of the scene. @param foretold each must get the address that was foretold. */
  async fill(foretold = false): Promise<void> {
    this.#away = false;
    const keys = [...this.scene.pods.keys()];
    if (!foretold) return await this.pods(keys);
    const promised = new Map(keys.map((key) => [key, this.ips(key)[0]]));
    // One after the other on each node: so they get their addresses in this order.
    await Promise.all(this.cluster.nodes.map(async ({ name }) => {
      for (const key of this.#near(name)) {
        await this.#post(key);
        await until(`${key} has its address`, async () => {
          const [namespace = "", pod = ""] = key.split("/");
          return (await this.must("GET", `${PATHS.Pod(namespace)}/${pod}`)).includes('"podIP":');
        }, { every: 50, seconds: 60 });
      }
    }));
    await this.#enter(keys);
    const wrong = keys.filter((key) => this.ips(key)[0] !== promised.get(key));
    if (wrong.length > 0) throw new Error(`other addresses than foretold: ${wrong.join(", ")}`);
  }

  /** Pods of the scene on a node. */
  #near(node: string): string[] {
    return [...this.scene.pods].filter(([, { spec }]) => spec?.nodeName === node)
      .map(([key]) => key);
  }

  async #post(key: string): Promise<void> {
    const object = this.scene.pods.get(key);
    if (object === undefined) throw new RangeError(`no pod ${key}`);
    const pod = podObject(object);
    await this.must("POST", PATHS.Pod(pod.metadata.namespace ?? ""), pod);
  }

  /** Waits until the daemons have heard of all that was written of policies and namespaces. */
  async heardByAll(): Promise<void> {
    const mark = `m${++this.#asked}`;
    const spec = { podSelector: {}, policyTypes: ["Ingress"] };
    const metadata = { name: mark, namespace: MARKER };
    await this.must("DELETE", PATHS.NetworkPolicy(MARKER));
    await this.putPolicy({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata,
      spec,
    });
    await this.#label(`${PATHS.Namespace()}/${MARKER}`, {
      "kubernetes.io/metadata.name": MARKER,
      mark,
    });
    for (const node of this.cluster.nodes) {
      await until(`${node.name} has heard of ${mark}`, async () => {
        const { namespaces, policies } = await this.known(node);
        return policies.some(({ name }) => name === mark) &&
          namespaces.some(({ labels }) => labels.get("mark") === mark);
      }, { every: 20, seconds: 60, explain: () => node.tail("twill") });
    }
  }

  /** What explains a wrong answer: the ends of the daemons' logs, and their tables. */
  async state(): Promise<string> {
    const parts = await Promise.all(this.cluster.nodes.map(async (node) => [
      node.tail("twill", 15),
      await node.shell("nft list table inet twill-policy 2>&1 || true"),
      await node.shell("ip -6 neigh show nud failed; ip -o link show cni0"),
    ]));
    return parts.flat().join("\n");
  }

  /** What the daemon of a node knows of the cluster. */
  async known(node: KubeNode): Promise<PolicySnapshot["cluster"]> {
    return parsePolicySnapshot(await tells(node, "/policy")).cluster;
  }

  /** What the daemon of a node tells of itself. */
  async status(node: KubeNode): Promise<NodeStatus> {
    return parseNodeStatus(await tells(node, "/status"));
  }

  /** A page on the health port of a node's daemon, asked for on the node. */
  health(path: string): string {
    return `http://127.0.0.1:${HEALTH_PORT}${path}`;
  }

  /** Deletes pods of the scene. */
  async deletePods(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      await this.#actors.get(key)?.[Symbol.asyncDispose]();
      this.#actors.delete(key);
    }
    await this.cluster.deletePods(...keys);
  }

  /** The agent in a pod. */
  pod(key: string): Actor {
    const actor = this.#actors.get(key);
    if (actor === undefined) throw new RangeError(`no pod ${key}`);
    return actor;
  }

  /** The pods that there are. */
  get names(): string[] {
    return [...this.#actors.keys()];
  }

  /** A pod's addresses. */
  ips(key: string): readonly string[] {
    return this.#ips.get(key) ?? [];
  }

  /** The node of a pod. */
  node(key: string): KubeNode {
    return this.cluster.node(this.scene.pods.get(key)?.spec?.nodeName ?? "");
  }

  /** Does what a deed of a case says. */
  async do(deed: string): Promise<void> {
    const before = new Map(this.scene.policies);
    this.scene.do(deed);
    const [, what, subject = ""] =
      /^(delete pod|delete|create pod|pod|namespace) (\S+)/.exec(deed) ?? [];
    const [namespace = "", name = ""] = subject.split("/");
    switch (what) {
      case undefined: {
        const changed = [...this.scene.policies].find(([key, one]) => before.get(key) !== one);
        if (changed === undefined) throw new RangeError(`nothing in ${deed}`);
        await this.putPolicy(this.real(changed[1]));
        return;
      }
      case "delete":
        await this.must("DELETE", `${PATHS.NetworkPolicy(namespace)}/${name}`);
        return;
      case "create pod":
        return this.#away ? undefined : await this.pods([subject]);
      case "delete pod":
        return this.#away ? undefined : await this.deletePods([subject]);
      case "pod":
        return this.#away ? undefined : await this.#label(
          `${PATHS.Pod(namespace)}/${name}`,
          this.scene.pods.get(subject)?.metadata.labels ?? {},
        );
      case "namespace":
        return await this.#label(
          `${PATHS.Namespace()}/${subject}`,
          this.scene.namespaces.get(subject)?.metadata.labels ?? {},
        );
    }
  }

  /** Creates a policy or replaces it. */
  async putPolicy(policy: PolicyObject): Promise<void> {
    const path = PATHS.NetworkPolicy(policy.metadata.namespace);
    const { ok } = await this.api("POST", path, policy);
    if (!ok) await this.must("PUT", `${path}/${policy.metadata.name}`, policy);
  }

  /** Sets labels as they are, by removing those that are not among them. */
  async #label(path: string, labels: Readonly<Record<string, string>>): Promise<void> {
    const { metadata } = JSON.parse(await this.must("GET", path));
    const gone = Object.keys(metadata.labels ?? {}).filter((key) => labels[key] === undefined);
    const change = { ...labels, ...Object.fromEntries(gone.map((key) => [key, null])) };
    const body = { metadata: { labels: change } };
    await this.must("PATCH", path, body, "application/merge-patch+json");
  }

  /** Policies, pods and labels as at the beginning. */
  async reset(): Promise<void> {
    const before = this.scene;
    this.scene = new Scene();
    for (const namespace of ["x", "y", "z"]) {
      await this.must("DELETE", PATHS.NetworkPolicy(namespace));
    }
    const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
    for (const [key, { metadata }] of this.scene.namespaces) {
      if (same(metadata.labels, before.namespaces.get(key)?.metadata.labels)) continue;
      await this.#label(`${PATHS.Namespace()}/${key}`, metadata.labels ?? {});
    }
    for (const [key, { metadata }] of this.#away ? [] : this.scene.pods) {
      if (same(metadata.labels, before.pods.get(key)?.metadata.labels)) continue;
      await this.#label(
        `${PATHS.Pod(metadata.namespace ?? "")}/${metadata.name}`,
        metadata.labels ?? {},
      );
    }
  }

  /** A policy for the addresses that pods really have. */
  real(policy: PolicyObject): PolicyObject {
    const { spec } = policy;
    const rules = (direction: "ingress" | "egress", side: "from" | "to"): typeof spec.ingress =>
      spec[direction]?.map((rule) =>
        rule[side] === undefined ? rule : {
          ...rule,
          [side]: rule[side].flatMap((peer) => this.#realPeers(peer)),
        }
      );
    const [ingress, egress] = [rules("ingress", "from"), rules("egress", "to")];
    return {
      ...policy,
      spec: {
        ...spec,
        ...(ingress === undefined ? {} : { ingress }),
        ...(egress === undefined ? {} : { egress }),
      },
    };
  }

  #realPeers(peer: PeerObject): PeerObject[] {
    if (peer.ipBlock === undefined) return [peer];
    const { cidr, except } = peer.ipBlock;
    const real = except?.flatMap((net) => this.#realNets(net));
    return this.#realNets(cidr).map((net) => ({
      ipBlock: { cidr: net, ...(real === undefined ? {} : { except: real }) },
    }));
  }

  /** The pods that a network of the tables stands for, or the subnet of a node. */
  #realNets(net: string): string[] {
    const [, node, host, length] = /^10\.244\.(\d)\.(\d+)\/(\d+)$/.exec(net) ?? [];
    if (node === undefined) return [net];
    const near = this.#near(`node${node}`);
    if (length === "24") {
      const [ip = ""] = this.ips(near[0] ?? "");
      return [`${ip.split(".").slice(0, 3).join(".")}.0/24`];
    }
    const size = 2 ** (32 - Number(length));
    return near.filter((key) => {
      const at = Number(this.scene.pods.get(key)?.status?.podIP?.split(".").at(-1));
      return Number(host) <= at && at < Number(host) + size;
    }).map((key) => `${this.ips(key)[0]}/32`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const actor of this.#actors.values()) await actor[Symbol.asyncDispose]();
    await this.#owned.disposeAsync();
  }
}

/** What a daemon answers on its status socket. */
function tells(node: KubeNode, path: string): Promise<string> {
  const socket = ["--unix-socket", "/run/twill/status.sock"] as const;
  return node.must(["curl", "-s", "--max-time", "5", ...socket, `http://twill${path}`]);
}

/** A pod of the scene that does nothing by itself: an agent serves in its network. */
function podObject({ metadata, spec }: PodObject): KubeObject {
  const { name, namespace = "", labels } = metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace, labels: { ...labels } },
    spec: {
      nodeName: spec?.nodeName,
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      containers: [{
        name: "main",
        image: IMAGE,
        command: ["/bin/sleep", "1000000"],
        ports: spec?.containers?.flatMap(({ ports }) => ports ?? []),
      }],
    },
  };
}
