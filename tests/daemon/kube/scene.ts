/**
 * A list and watch of nodes beside a fake API server.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { View } from "../../../daemon/kube/cache.ts";
import { KubeClient } from "../../../daemon/kube/client.ts";
import { ListWatch, type WatchTimes } from "../../../daemon/kube/list_watch.ts";
import { at, textOf } from "../../../daemon/kube/raw.ts";
import { Log } from "../../../daemon/log.ts";
import { FakeApi, type Raw } from "./fake_api.ts";

/** Where nodes are. */
export const NODES = "/api/v1/nodes";
const QUICK: Partial<WatchTimes> = {
  again: { first: 20, cap: 50 },
  refused: 30,
  silence: 5_000,
};

/** A list and watch of nodes' `spec.podCIDR`, and what it told. */
export class Scene implements AsyncDisposable {
  readonly api: FakeApi;
  readonly client: KubeClient;
  readonly lines: string[] = [];
  readonly watch: ListWatch<string>;
  readonly changes: string[][] = [];
  #last: View<string> | undefined;
  readonly #ending = new AbortController();
  #reading: Promise<void> = Promise.resolve();

  constructor(times: Partial<WatchTimes> = {}) {
    this.api = new FakeApi();
    const access = { from: "test", servers: [this.api.url], compress: true };
    this.client = new KubeClient(access);
    this.watch = new ListWatch({
      client: this.client,
      path: NODES,
      resource: "nodes",
      strip: (raw) => {
        const cidr = textOf(at(raw, "spec", "podCIDR"));
        if (cidr === "bad") throw new SyntaxError("podCIDR is bad");
        return cidr;
      },
      log: new Log({ level: "debug", write: (line) => this.lines.push(line) }),
      times: { ...QUICK, ...times },
    });
  }

  start(): void {
    this.#reading = (async () => {
      for await (const view of this.watch.views(this.#ending.signal)) {
        this.#last = view;
        this.changes.push([...view.changed].sort());
      }
    })();
  }

  /** Waits until the objects are these. */
  async sees(want: Record<string, string>): Promise<void> {
    const now = (): string => JSON.stringify([...this.#last?.objects ?? []].sort());
    await until(() => now() === JSON.stringify(Object.entries(want).sort()), now);
  }

  get bad(): Record<string, string> {
    return Object.fromEntries(this.#last?.bad ?? []);
  }

  /** How often something was asked. */
  count(verb: "list" | "watch"): number {
    return this.api.seen.filter(({ query }) => (query.watch !== undefined) === (verb === "watch"))
      .length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#reading;
    this.client[Symbol.dispose]();
    await this.api[Symbol.asyncDispose]();
  }
}

/** Waits until something is so. */
export async function until(done: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!done()) {
    if (performance.now() > deadline) assert.fail(`still ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A node object. */
export function node(name: string, podCIDR: string): Raw {
  return { metadata: { name }, spec: { podCIDR } };
}
