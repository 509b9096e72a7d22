/**
 * What a loop starts and must not outlive: work beside it, and timers.
 *
 * @module
 */

/** Work beside the loop, which ends with it. */
export class Ending implements Disposable {
  readonly #control = new AbortController();
  readonly #replaceable = new Map<string, AbortController>();
  readonly signal: AbortSignal;

  constructor(outer: AbortSignal) {
    this.signal = AbortSignal.any([outer, this.#control.signal]);
  }

  /** Work that fails while the loop runs ends the loop. */
  goOn(work: Promise<unknown>): void {
    work.catch((e) => {
      if (!this.signal.aborted) this.#control.abort(e);
    });
  }

  /** Starts work, and stops the work of the same name that still runs. */
  replace(name: string, work: (signal: AbortSignal) => Promise<unknown>): void {
    this.#replaceable.get(name)?.abort(new Error("replaced"));
    const control = new AbortController();
    this.#replaceable.set(name, control);
    const signal = AbortSignal.any([this.signal, control.signal]);
    this.goOn(
      work(signal).catch((e) => {
        if (!signal.aborted) throw e;
      }),
    );
  }

  [Symbol.dispose](): void {
    this.#control.abort(new Error("the loop ended"));
  }
}

/** Timers that end with the loop. */
export class Timers implements Disposable {
  readonly #intervals: ReturnType<typeof setInterval>[] = [];
  readonly #once = new Map<string, ReturnType<typeof setTimeout>>();

  /** Calls again and again, every so many milliseconds. */
  every(ms: number, call: () => void): void {
    this.#intervals.push(setInterval(call, ms));
  }

  /** Calls once after so many milliseconds, instead of an older timer of that name; or never. */
  once(name: string, ms: number | undefined, call: () => void): void {
    clearTimeout(this.#once.get(name));
    if (ms === undefined) this.#once.delete(name);
    else this.#once.set(name, setTimeout(call, ms));
  }

  [Symbol.dispose](): void {
    for (const id of this.#intervals) clearInterval(id);
    for (const id of this.#once.values()) clearTimeout(id);
  }
}
