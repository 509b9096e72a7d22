/**
 * Pods that the plugin has just given an address: they have it before the API says so, and until
 * their policies are known nothing is allowed.
 *
 * @module
 */

import type { Ip } from "../../engine/ip.ts";
import type { PolicyCompiler } from "../../engine/policy/compile.ts";
import type { Placement } from "../../engine/policy/views.ts";

/** A pod and the addresses that it was given. */
export interface Newcomer {
  readonly namespace: string;
  readonly name: string;
  /** Empty when the runtime does not say it. */
  readonly uid: string;
  readonly ips: readonly Ip[];
}

/** A pod that the API does not show after so long is not one of its pods, ms. */
const PATIENCE = 60_000;

interface Entry extends Placement {
  readonly since: number;
}

/** What is remembered of newcomers until the API knows them. */
export class Newcomers {
  readonly #placed = new Map<Ip, Entry>();
  /** Addresses that are held; of those of another run it is not known for whom. */
  readonly #held = new Map<Ip, Placement | undefined>();
  readonly #now: () => number;

  /** @param now milliseconds; for tests. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** The addresses belong to this pod now, and to nobody else. */
  place({ namespace, name, uid, ips }: Newcomer): void {
    const entry = { key: `${namespace}/${name}`, uid, since: this.#now() };
    for (const ip of ips) {
      this.#placed.set(ip, entry);
      this.#held.delete(ip);
    }
  }

  /** Nothing is allowed for these addresses until their pods are known. */
  hold(ips: Iterable<Ip>): void {
    for (const ip of ips) {
      const entry = this.#placed.get(ip);
      this.#held.set(ip, entry && { key: entry.key, uid: entry.uid });
    }
  }

  /** What the API says by now needs no remembering. */
  settle(compiler: Pick<PolicyCompiler, "pod" | "podAt">, node: string): void {
    for (const [ip, { key, uid, since }] of this.#placed) {
      const pod = compiler.pod(key);
      const isIt = pod !== undefined && (uid === "" || pod.uid === uid);
      const late = this.#now() - since > PATIENCE;
      if (isIt ? pod.ips.includes(ip) || pod.done : late) this.#placed.delete(ip);
    }
    for (const [ip, placement] of this.#held) {
      const pod = placement === undefined ? compiler.podAt(ip) : compiler.pod(placement.key);
      const uid = placement?.uid ?? "";
      const isKnown = pod !== undefined && pod.node === node && !pod.terminating &&
        (uid === "" || pod.uid === uid);
      if (isKnown) this.#held.delete(ip);
    }
  }

  /** For the compiler. */
  get placed(): ReadonlyMap<Ip, Placement> {
    return new Map([...this.#placed].map(([ip, { key, uid }]) => [ip, { key, uid }]));
  }

  /** For the compiler. */
  get held(): ReadonlySet<Ip> {
    return new Set(this.#held.keys());
  }
}
