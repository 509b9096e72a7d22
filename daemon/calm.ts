/**
 * Restraint in a fight: when another program undoes our work as often as we do it, answering each
 * time at once would only heat the node. Pure; times come in as arguments.
 *
 * @module
 */

/** Milliseconds that a burst of kernel events is waited for: usually, and in the worst fight. */
const SETTLE = { usual: 10, longest: 200 } as const;
/** Repairs that follow each other within this many milliseconds are one fight. */
const FIGHT = 2_000;
/** Repairs in a row that are answered at once. */
const PATIENCE = 20;
/** In a fight one line a minute is logged, with the number of those that were not, ms. */
const QUIET = 60_000;

/** Counts repairs, and says how long to wait and whether to speak. */
export class Calm {
  #row = 0;
  #last = -Infinity;
  #spoke = -Infinity;
  #silent = 0;

  /** Milliseconds to wait before the next look. */
  settle(): number {
    const over = Math.max(0, this.#row - PATIENCE);
    return Math.min(SETTLE.usual * 2 ** over, SETTLE.longest);
  }

  /**
   * Books a look.
   *
   * @param drifted it found something to repair.
   * @returns For a repair that is to be logged: how many before it were not. Else undefined.
   */
  looked(now: number, drifted: boolean): number | undefined {
    if (!drifted) return undefined;
    this.#row = now - this.#last < FIGHT ? this.#row + 1 : 1;
    this.#last = now;
    if (this.#row > PATIENCE && now - this.#spoke < QUIET) {
      this.#silent++;
      return undefined;
    }
    const silent = this.#silent;
    this.#silent = 0;
    this.#spoke = now;
    return silent;
  }
}
