/**
 * What the API says about pods, namespaces and policies: three lists that are kept up to date.
 *
 * @module
 */

import { type Namespace, type Pod, type Policy, saysSame } from "../../engine/policy/model.ts";
import {
  type MetadataObject,
  type PodObject,
  readNamespace,
  readPod,
} from "../../engine/policy/read_objects.ts";
import { readPolicy } from "../../engine/policy/read_policy.ts";
import type { ClusterNews } from "../../engine/policy/compile.ts";
import type { KubeClient } from "../kube/client.ts";
import { ListWatch, type WatchStatus, type WatchTimes } from "../kube/list_watch.ts";
import type { Log } from "../log.ts";

/** One of the lists, with the news that nobody has taken yet. */
class Feed<T extends Pod | Namespace | Policy> {
  readonly resource: string;
  readonly #watch: ListWatch<T>;
  #news = new Map<string, T | undefined>();
  #seen = false;

  constructor(watch: ListWatch<T>, resource: string) {
    this.#watch = watch;
    this.resource = resource;
  }

  async run(signal: AbortSignal, told: () => void, troubled: () => void): Promise<void> {
    for await (const { objects, changed } of this.#watch.views(signal, troubled)) {
      for (const key of changed) this.#news.set(key, objects.get(key));
      this.#seen = true;
      told();
    }
  }

  take(): Map<string, T | undefined> {
    const news = this.#news;
    this.#news = new Map();
    return news;
  }

  /** The first whole list has been told. */
  get seen(): boolean {
    return this.#seen;
  }

  get status(): WatchStatus {
    return this.#watch.status();
  }
}

/** Pods that have ended have lost their addresses, those without a node have none yet. */
const LIVE_PODS = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";

/** See the module. */
export class ClusterFeeds {
  readonly #pods: Feed<Pod>;
  readonly #namespaces: Feed<Namespace>;
  readonly #policies: Feed<Policy>;

  constructor(client: Pick<KubeClient, "open">, log: Log, times: Partial<WatchTimes> = {}) {
    const common = { client, same: saysSame, log, times };
    this.#pods = new Feed(
      new ListWatch<Pod>({
        ...common,
        path: "/api/v1/pods",
        resource: "pods",
        query: { fieldSelector: LIVE_PODS },
        strip: (raw) => readPod(raw as PodObject),
      }),
      "pods",
    );
    this.#namespaces = new Feed(
      new ListWatch<Namespace>({
        ...common,
        path: "/api/v1/namespaces",
        resource: "namespaces",
        metadataOnly: true,
        strip: (raw) => readNamespace(raw as MetadataObject),
      }),
      "namespaces",
    );
    this.#policies = new Feed(
      new ListWatch<Policy>({
        ...common,
        path: "/apis/networking.k8s.io/v1/networkpolicies",
        resource: "networkpolicies",
        strip: readPolicy,
      }),
      "networkpolicies",
    );
  }

  /**
   * Runs until the signal is aborted.
   *
   * @param told called when there is news.
   * @param troubled called when {@link ClusterFeeds.problems} changes.
   */
  async run(signal: AbortSignal, told: () => void, troubled: () => void): Promise<void> {
    await Promise.all(this.#all.map((feed) => feed.run(signal, told, troubled)));
  }

  /** All lists have been read: what is known is the whole. */
  get synced(): boolean {
    return this.#all.every(({ seen }) => seen);
  }

  /** What is new since the last time. */
  take(): ClusterNews {
    return {
      pods: this.#pods.take(),
      namespaces: this.#namespaces.take(),
      policies: this.#policies.take(),
    };
  }

  /** What fails now. */
  get problems(): readonly NonNullable<WatchStatus["problem"]>[] {
    return this.#all.flatMap(({ status }) => status.problem ?? []);
  }

  get #all(): readonly Feed<Pod | Namespace | Policy>[] {
    return [this.#pods, this.#namespaces, this.#policies] as const as readonly Feed<
      Pod | Namespace | Policy
    >[];
  }
}
