/**
 * Waiting: every wait of the daemon ends early when its signal is aborted, and every retry waits a
 * little longer, with jitter, up to a cap.
 *
 * @module
 */

/**
 * Resolves after so many milliseconds.
 *
 * @throws the signal's reason, as soon as it is aborted.
 */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, Math.max(0, milliseconds));
    signal.addEventListener("abort", stop, { once: true });
  });
}

/**
 * The promise, or the signal's reason if that comes first. What the promise stands for goes on:
 * this is for work that cannot be stopped and may be forgotten.
 */
export function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      promise.catch(() => {});
      return reject(signal.reason);
    }
    const stop = (): void => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** Growing delays for retries. */
export class Backoff {
  readonly #first: number;
  readonly #cap: number;
  readonly #random: () => number;
  #next: number;

  /**
   * @param first milliseconds before the first retry.
   * @param cap no delay is longer.
   * @param random 0 to 1, for the jitter.
   */
  constructor(first: number, cap: number, random: () => number = Math.random) {
    this.#first = first;
    this.#cap = cap;
    this.#random = random;
    this.#next = first;
  }

  /** Milliseconds until the next try: between half and all of a value that doubles each time. */
  next(): number {
    const delay = this.#next * (0.5 + this.#random() / 2);
    this.#next = Math.min(this.#cap, this.#next * 2);
    return delay;
  }

  /** Something worked: start again with the first delay. */
  reset(): void {
    this.#next = this.#first;
  }
}

/** A flag that one loop raises and another waits for. Raising it twice is raising it once. */
export class Mark {
  #raised = false;
  #wake: (() => void) | undefined;

  /** Raises the flag. */
  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  /**
   * Waits until the flag is up, and takes it down. Only one waits at a time.
   *
   * @throws the signal's reason, as soon as it is aborted.
   */
  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#raised) {
      let mine: (() => void) | undefined;
      try {
        await unless(signal, new Promise<void>((resolve) => this.#wake = mine = resolve));
      } finally {
        // A wait that was given up ends late: by now somebody else may wait.
        if (this.#wake === mine) this.#wake = undefined;
      }
    }
    this.#raised = false;
  }
}

/** Others of this thread wait no longer than this for work that comes in steps, ms. */
const SLICE = 10;

/** Does work that comes in many small steps, and lets others have their turn now and then. */
export async function breathing<T>(steps: Iterator<void, T>): Promise<T> {
  for (let began = performance.now();;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() - began < SLICE) continue;
    await new Promise((resolve) => setTimeout(resolve, 0));
    began = performance.now();
  }
}

/**
 * Work of which one run follows the other, and that always looks at everything: who asks while it
 * runs gets the run behind it, together with all who ask meanwhile.
 */
export class Turns {
  readonly #work: () => Promise<void>;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(work: () => Promise<void>) {
    this.#work = work;
  }

  /** A run is under way or due. */
  get busy(): boolean {
    return this.#last() !== undefined;
  }

  /** Resolves at the end of a run that begins after this call. @throws what the run throws */
  run(): Promise<void> {
    // Between two runs the one that is due counts, or two would run at once.
    if (this.#next !== undefined) return this.#next;
    if (this.#running === undefined) return this.#start();
    return this.#next = this.#running.then(() => {}, () => {}).then(() => {
      this.#next = undefined;
      return this.#start();
    });
  }

  /** Resolves when no run is under way or due. */
  async idle(): Promise<void> {
    for (let last = this.#last(); last !== undefined; last = this.#last()) {
      await last.catch(() => {});
    }
  }

  #last(): Promise<void> | undefined {
    return this.#next ?? this.#running;
  }

  #start(): Promise<void> {
    const run = this.#work().finally(() => {
      if (this.#running === run) this.#running = undefined;
    });
    this.#running = run;
    return run;
  }
}

/** Something that happens again and again, and that any number of loops wait for. */
export class Pulse {
  readonly #waiting = new Set<() => void>();
  #count = 0;

  /** How often it has happened. Ask before you look at what it is about. */
  get count(): number {
    return this.#count;
  }

  /** It has happened. */
  raise(): void {
    this.#count++;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /**
   * Waits until it has happened since.
   *
   * @param since what {@link Pulse.count} said.
   * @throws the signal's reason, as soon as it is aborted.
   */
  async next(since: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#count !== since) return;
    let wake: () => void = () => {};
    const heard = new Promise<void>((resolve) => this.#waiting.add(wake = resolve));
    try {
      await unless(signal, heard);
    } finally {
      this.#waiting.delete(wake);
    }
  }
}
