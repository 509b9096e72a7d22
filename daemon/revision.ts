/**
 * A number that rises with every change of something, and a way to wait for that.
 *
 * @module
 */

/** See the module. */
export class Revision {
  #number = 1;
  readonly #waiting = new Set<() => void>();

  /** How it stands. */
  get number(): number {
    return this.#number;
  }

  /** Something changed. */
  raise(): void {
    this.#number++;
    for (const wake of [...this.#waiting]) wake();
  }

  /**
   * Waits until the number is another one than this.
   *
   * @param patience milliseconds; then it ends all the same.
   */
  async other(than: number, patience: number, signal: AbortSignal): Promise<void> {
    if (this.#number !== than || signal.aborted) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, patience);
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
    });
  }
}
