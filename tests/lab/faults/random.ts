/**
 * Choices that can be made again: the same seed gives the same run.
 *
 * @module
 */

/** A small generator (mulberry32): plenty for choosing faults, and the same on every machine. */
export class Random {
  readonly seed: number;
  #state: number;

  /** @param seed 0 to 2^32-1 */
  constructor(seed: number) {
    this.seed = seed >>> 0;
    this.#state = this.seed;
  }

  /** 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  within(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  /** One of them. @throws {RangeError} when there is none */
  pick<T>(all: readonly T[]): T {
    if (all.length === 0) throw new RangeError("nothing to choose from");
    return all[this.within(0, all.length - 1)] as T;
  }

  /** A unicast MAC address that no vendor owns. */
  mac(): string {
    const bytes = [0x02, ...Array.from({ length: 5 }, () => this.within(0, 255))];
    return bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":");
  }
}
