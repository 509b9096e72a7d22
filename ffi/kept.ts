/**
 * Things of netfilter that a long process keeps open. When a netfilter socket is closed, the kernel
 * makes the caller wait until the rules that a transaction has replaced are no longer in use: some
 * milliseconds, each time.
 *
 * @module
 */

import { OWN_NETNS } from "./netns.ts";

/** One thing of one network namespace: that in which {@link Kept.keep} was called. */
export class Kept<T> {
  #home: string | undefined;
  #value: T | undefined;

  /** From now on what is made in the calling thread's namespace stays to the end of the process. */
  keep(): void {
    this.#home ??= netnsOf();
  }

  /** What is kept, made on first use; undefined in any other namespace, or where nothing is kept. */
  get(make: () => T): T | undefined {
    if (this.#home === undefined || this.#home !== netnsOf()) return undefined;
    return this.#value ??= make();
  }
}

function netnsOf(): string {
  const { dev, ino } = Deno.statSync(OWN_NETNS);
  return `${dev}:${ino}`;
}
