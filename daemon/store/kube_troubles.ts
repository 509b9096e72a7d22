/**
 * What keeps the kube store from its work now: said once in the log, and shown by the probes until
 * it is over.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Log } from "../log.ts";

/** What can fail and is tried again. */
export type KubeWork = "config" | "name" | "nodes" | "node" | "podCIDR" | "publish" | "overwrite";

interface Trouble {
  readonly words: string;
  /** The API server does not answer. */
  readonly silent: boolean;
}

/** See the module. */
export class KubeTroubles {
  readonly #log: Log;
  readonly #told: (work: KubeWork, words: string) => void;
  readonly #now = new Map<KubeWork, Trouble>();

  /** @param told called for each new trouble */
  constructor(log: Log, told: (work: KubeWork, words: string) => void) {
    this.#log = log;
    this.#told = told;
  }

  /** The oldest trouble in words, with what to do. */
  get words(): string | undefined {
    return [...this.#now.values()][0]?.words;
  }

  /** The API server does not answer some request. */
  get silent(): boolean {
    return [...this.#now.values()].some(({ silent }) => silent);
  }

  /** This work fails. */
  is(work: KubeWork, problem: unknown, advice?: string): void {
    const hint = advice ?? (problem instanceof OpError ? problem.advice : undefined);
    const words = messageOf(problem);
    const full = hint === undefined ? words : `${words}. ${hint}`;
    if (this.#now.get(work)?.words === full) return;
    this.#log.warn(words, { advice: hint });
    const silent = problem instanceof OpError && problem.code === ErrorCode.store;
    this.#now.set(work, { words: full, silent });
    this.#told(work, full);
  }

  /** The same for what somebody else has logged already. */
  logged(work: KubeWork, words: string, advice: string | undefined, silent: boolean): void {
    this.#now.set(work, { words: advice === undefined ? words : `${words}. ${advice}`, silent });
  }

  /** This work succeeds. */
  over(work: KubeWork): void {
    this.#now.delete(work);
  }
}
