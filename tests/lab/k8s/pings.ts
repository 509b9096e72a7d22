/**
 * Pings between pods that go on while something happens to the cluster.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Pinger } from "../faults/pinger.ts";
import type { RunningPod } from "./cluster.ts";

/** Milliseconds between two packets of a pair. */
const INTERVAL = 50;

/** One ping for each pair of pods, in both directions, in each address family. */
export class Pings implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  /** By what they show: `a → b`. */
  readonly #pings: ReadonlyMap<string, Pinger>;

  private constructor(pings: ReadonlyMap<string, Pinger>, stack: AsyncDisposableStack) {
    this.#pings = pings;
    this.#stack = stack;
  }

  /** Starts them; all are answered when this returns. */
  static async start(pods: readonly RunningPod[]): Promise<Pings> {
    await using stack = new AsyncDisposableStack();
    const pings = new Map<string, Pinger>();
    const pairs = pods.flatMap((from) => pods.filter((to) => to !== from).map((to) => [from, to]));
    await Promise.all(
      (pairs as [RunningPod, RunningPod][]).flatMap(([from, to]) =>
        to.ips.map(async (ip) => {
          const pinger = await Pinger.start(from.node.machine, from.inside, ip, INTERVAL);
          pings.set(`${from.name} → ${to.name} (${ip})`, stack.use(pinger));
        })
      ),
    );
    return new Pings(pings, stack.move());
  }

  /** Milliseconds without an answer since the last call, of those pairs that lost something. */
  async lost(): Promise<Readonly<Record<string, number>>> {
    const lost = [...this.#pings].map(async ([name, ping]) => [name, await ping.lost()] as const);
    return Object.fromEntries(
      (await Promise.all(lost)).filter(([, milliseconds]) => milliseconds > 0),
    );
  }

  /** Asserts that all packets since the last call were answered. */
  async unharmed(): Promise<void> {
    assert.deepEqual(await this.lost(), {}, "milliseconds without an answer");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
