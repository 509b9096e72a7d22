/**
 * The store in Kubernetes, as flannel uses it: subnets are the `podCIDR`s of the nodes, and what
 * peers must know of a node stands in its annotations. One list and watch of all nodes tells
 * everything; what this node has to say goes out in patches of its own node object.
 *
 * Nothing here ends the daemon. What is missing (the configuration file, the API server, the node
 * object, its podCIDR, a right) is waited for, and told in the log, by `/readyz` and in an event of
 * the node.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Lease } from "../../engine/lease.ts";
import {
  allKeys,
  type AnnotationKeys,
  nodeLease,
  wantedAddresses,
} from "../../engine/lease_annotations.ts";
import { formatNetConf, type NetConf, parseNetConf } from "../../engine/net_conf.ts";
import type { KubeClient } from "../kube/client.ts";
import { nodeOfPod } from "../kube/node_name.ts";
import { ListWatch, type WatchTimes } from "../kube/list_watch.ts";
import type { Log } from "../log.ts";
import { Backoff, Pulse, sleep, unless } from "../wait.ts";
import { FileNews } from "./file_news.ts";
import { NodeEvents } from "./kube_events.ts";
import { type KubeNode, readNode } from "./kube_node.ts";
import { KubeSelf } from "./kube_self.ts";
import { KubeTroubles } from "./kube_troubles.ts";
import { KubeView } from "./kube_view.ts";
import type { KnownSelf, LeaseRequest, Snapshot, Store, StoreStatus } from "./store.ts";

/** How this node is found in the API. */
export type NodeNaming =
  | { readonly kind: "name"; readonly name: string }
  /** By the pod that we are. */
  | { readonly kind: "pod"; readonly namespace: string; readonly pod: string };

/** What a {@link KubeStore} needs. */
export interface KubeStoreOptions {
  /** The store closes it. */
  readonly client: KubeClient;
  readonly node: NodeNaming;
  /** `--net-config-path` */
  readonly confPath: string;
  /** `--kube-annotation-prefix`, as names. */
  readonly keys: AnnotationKeys;
  /** `--set-node-network-unavailable` */
  readonly setCondition: boolean;
  readonly log: Log;
  /** For tests, ms. */
  readonly times?: {
    readonly watch?: Partial<WatchTimes>;
    /** Bounds of the wait before something that failed is tried again. */
    readonly again?: { readonly first: number; readonly cap: number };
  };
}

const AGAIN = { first: 500, cap: 30_000 } as const;
/** Between two looks at a file that nobody says to have changed, ms. */
const LOOK = 5_000;

/** What the loops work on, when configuration and name are known. */
interface Parts {
  readonly conf: NetConf;
  readonly self: KubeSelf;
  readonly view: KubeView;
}

/** Leases in the annotations of nodes. */
export class KubeStore implements Store {
  readonly #options: KubeStoreOptions;
  readonly #log: Log;
  readonly #troubles: KubeTroubles;
  readonly #events: NodeEvents;
  readonly #ending = new AbortController();
  /** The view or our own lease has changed. */
  readonly #changed = new Pulse();
  readonly #conf: Promise<NetConf>;
  readonly #parts: Promise<Parts>;
  readonly #work: Promise<void>;
  #nodes: ListWatch<KubeNode> | undefined;
  #name: string | undefined;
  /** All nodes have been read once. */
  #heard = false;
  #ready = false;
  #bad = 0;

  /** Begins to read configuration and nodes. */
  constructor(options: KubeStoreOptions) {
    const { signal } = this.#ending;
    this.#options = options;
    this.#log = options.log.with({ store: "kube" });
    this.#name = options.node.kind === "name" ? options.node.name : undefined;
    this.#events = new NodeEvents(options.client, this.#log, signal);
    this.#troubles = new KubeTroubles(this.#log, (work, words) => {
      if (work === "podCIDR" || work === "publish" || work === "config") {
        if (this.#name !== undefined) this.#events.warn(this.#name, "NetworkNotReady", words);
      }
    });
    this.#conf = this.#readConf(signal);
    this.#parts = this.#prepare(signal);
    this.#work = this.#run(signal);
    for (const work of [this.#conf, this.#parts, this.#work]) work.catch(() => {});
  }

  get name(): string {
    const words = "Kubernetes Subnet Manager";
    return this.#name === undefined ? words : `${words} - ${this.#name}`;
  }

  config(signal: AbortSignal): Promise<NetConf> {
    return unless(signal, this.#conf);
  }

  /** The addresses that people wrote on the node for us, and the lease that peers know. */
  async self(signal: AbortSignal): Promise<KnownSelf> {
    const { conf, self } = await this.#synced(signal, ({ self }) => self.node !== undefined);
    if (self.node === undefined) return {};
    const { keys } = this.#options;
    const { addresses, problems } = wantedAddresses(self.node, keys.nodePublicIp);
    for (const problem of problems) this.#log.warn(`${problem}; it is ignored`);
    const lease = nodeLease(self.node, conf, keys)?.lease;
    return {
      ...(addresses[4] && { publicIp: addresses[4] as NonNullable<Lease["publicIp"]> }),
      ...(addresses[6] && { publicIp6: addresses[6] as NonNullable<Lease["publicIp6"]> }),
      ...(lease && { lease }),
      beforeFlags: true,
    };
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const { self } = await this.#synced(signal);
    self.wants(request.record);
    await this.#synced(signal, ({ self }) => self.lease !== undefined);
    return self.lease as Lease;
  }

  async *snapshots(signal: AbortSignal): AsyncGenerator<Snapshot, void, undefined> {
    try {
      const { self, view } = await this.#synced(signal);
      for (;;) {
        const seen = this.#changed.count;
        yield this.#snapshot(view, self.lease);
        await this.#changed.next(seen, signal);
      }
    } catch (e) {
      if (!signal.aborted) throw e;
    }
  }

  ready(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#parts.then(({ self }) => self.ready(), () => {});
  }

  status(): StoreStatus {
    const watch = this.#nodes?.status();
    const problem = this.#troubles.words;
    return {
      connected: watch?.synced === true && watch.connected && !this.#troubles.silent,
      ...(problem !== undefined && { problem }),
      bad: this.#bad,
      gaps: watch?.gaps ?? 0,
    };
  }

  async close(): Promise<void> {
    this.#ending.abort(new Error("the store is closed"));
    await this.#work.catch(() => {});
    await this.#events[Symbol.asyncDispose]();
    this.#options.client[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The parts, as soon as all nodes have been read once, or later if more is asked for. */
  async #synced(
    signal: AbortSignal,
    more: (parts: Parts) => boolean = () => true,
  ): Promise<Parts> {
    const parts = await unless(signal, this.#parts);
    for (;;) {
      const seen = this.#changed.count;
      if (this.#heard && more(parts)) return parts;
      await this.#changed.next(seen, signal);
    }
  }

  #snapshot(view: KubeView, own: Lease | undefined): Snapshot {
    const { leases, bad } = view.contents();
    this.#bad = bad.length;
    const others = leases.filter(({ node }) => node !== this.#name);
    return own === undefined ? { leases: others, bad } : { leases: [...others, own], own, bad };
  }

  /** Reads the file as soon as there is a good one. */
  async #readConf(signal: AbortSignal): Promise<NetConf> {
    const path = this.#options.confPath;
    await using news = new FileNews(path, LOOK, this.#log);
    for (let seen = -1;;) {
      try {
        const conf = await readConf(path);
        this.#troubles.over("config");
        return conf;
      } catch (e) {
        this.#troubles.is("config", e);
      }
      seen = await news.next(seen === -1 ? news.count : seen, signal);
    }
  }

  /** As in flannel, a change counts from the next start; unlike there, we say so. */
  async #watchConf(used: NetConf, signal: AbortSignal): Promise<void> {
    const path = this.#options.confPath;
    await using news = new FileNews(path, LOOK * 12, this.#log);
    for (let seen = news.count;;) {
      seen = await news.next(seen, signal);
      const now = await readConf(path).catch(() => used);
      if (formatNetConf(now) === formatNetConf(used)) this.#troubles.over("config");
      else {this.#troubles.is(
          "config",
          `${path} has changed`,
          "Restart twill on each node to use it",
        );}
    }
  }

  async #prepare(signal: AbortSignal): Promise<Parts> {
    const { client, keys, setCondition, log, times } = this.#options;
    const conf = await this.#conf;
    const name = this.#name = await this.#findName(signal);
    const kept = new Set(allKeys(keys));
    const self = new KubeSelf({
      client,
      name,
      conf,
      keys,
      kept,
      setCondition,
      troubles: this.#troubles,
      log: this.#log,
      again: times?.again ?? AGAIN,
    });
    const view = new KubeView(
      conf,
      keys,
      ({ key, reason }) => this.#log.warn("Not all of a node can be used", { key, reason }),
    );
    this.#nodes = new ListWatch({
      client,
      path: "/api/v1/nodes",
      resource: "nodes",
      strip: (raw) => readNode(raw, kept, name),
      log,
      ...(times?.watch && { times: times.watch }),
    });
    return { conf, self, view };
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { conf, self, view } = await this.#parts;
    if (this.#ready) self.ready();
    const nodes = this.#nodes!;
    const own = this.#name!;
    const heard = async (): Promise<void> => {
      const troubled = (): void => this.#nodesTroubled(nodes);
      for await (const { objects, changed } of nodes.views(signal, troubled)) {
        for (const name of changed) view.put(name, objects.get(name));
        self.saw(objects.get(own));
        this.#heard = true;
        this.#changed.raise();
      }
    };
    const told = self.run(() => this.#changed.raise(), signal);
    try {
      await Promise.all([heard(), told, this.#watchConf(conf, signal)]);
    } catch (e) {
      if (!signal.aborted) this.#log.error("The kube store has stopped", { reason: messageOf(e) });
    }
  }

  #nodesTroubled(nodes: ListWatch<KubeNode>): void {
    const { problem } = nodes.status();
    if (problem === undefined) return this.#troubles.over("nodes");
    this.#troubles.logged("nodes", problem.words, problem.advice, !problem.denied);
  }

  /** This node's name; where only our pod is known, by that. */
  async #findName(signal: AbortSignal): Promise<string> {
    const { node, client, times } = this.#options;
    if (node.kind === "name") return node.name;
    const { first, cap } = times?.again ?? AGAIN;
    const retry = new Backoff(first, cap);
    for (;; await sleep(retry.next(), signal)) {
      try {
        const name = await nodeOfPod(client, node, signal);
        this.#troubles.over("name");
        return name;
      } catch (e) {
        signal.throwIfAborted();
        const advice = "Or name the node: NODE_NAME from fieldRef spec.nodeName";
        this.#troubles.is("name", e, advice);
      }
    }
  }
}

async function readConf(path: string): Promise<NetConf> {
  try {
    return parseNetConf(await Deno.readTextFile(path));
  } catch (cause) {
    throw new OpError("use network configuration", path, {
      code: ErrorCode.badConfig,
      kernel: messageOf(cause),
      advice:
        "Put flannel's net-conf.json there (the ConfigMap kube-flannel-cfg has one), or name " +
        "another file: --net-config-path",
      cause,
    });
  }
}
