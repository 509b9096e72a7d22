/**
 * Which work may run now: one piece after the other in each lane, and not too many in all.
 *
 * @module
 */

/** Work that waits: `start` begins it, `refuse` gives it up unbegun. */
export interface Work {
  /** Work of one lane keeps its order; an empty name is no lane. */
  readonly lane: string;
  /** Begins; resolves, and never rejects, when the work is done. */
  readonly start: () => Promise<void>;
  readonly refuse: () => void;
}

/** See the module. */
export class Lanes {
  readonly #most: number;
  readonly #waiting: Work[] = [];
  readonly #busy = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  /** @param most how many pieces run at once. */
  constructor(most: number) {
    this.#most = most;
  }

  /** How many wait or run. */
  get size(): number {
    return this.#waiting.length + this.#running.size;
  }

  /** Starts the work as soon as it may. */
  add(work: Work): void {
    if (this.#closed) {
      work.refuse();
      return;
    }
    this.#waiting.push(work);
    this.#next();
  }

  /** Refuses what waits and what comes; resolves when all that runs is done, or time is up. */
  async close(patience: number): Promise<void> {
    this.#closed = true;
    for (const work of this.#waiting.splice(0)) work.refuse();
    const up = Promise.withResolvers<void>();
    const timer = setTimeout(up.resolve, patience);
    await Promise.race([Promise.all(this.#running), up.promise]);
    clearTimeout(timer);
  }

  #next(): void {
    for (let at = 0; at < this.#waiting.length && this.#running.size < this.#most;) {
      const work = this.#waiting[at] as Work;
      if (this.#busy.has(work.lane)) {
        at++;
        continue;
      }
      this.#waiting.splice(at, 1);
      this.#run(work);
    }
  }

  #run(work: Work): void {
    if (work.lane !== "") this.#busy.add(work.lane);
    const done = work.start().then(() => {
      this.#running.delete(done);
      this.#busy.delete(work.lane);
      this.#next();
    });
    this.#running.add(done);
  }
}
