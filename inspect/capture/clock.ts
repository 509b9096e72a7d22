/**
 * Times of a capture: nanoseconds since its first second, which fit a number, unlike those since
 * 1970.
 *
 * @module
 */

const NS = 1e9;

/** Counts from one second on. */
export class Clock {
  readonly #base: number;

  /** @param now milliseconds since 1970, as `Date.now` tells */
  constructor(now: number) {
    this.#base = Math.floor(now / 1000);
  }

  /** What the kernel told. */
  at(sec: number, nsec: number): number {
    return (sec - this.#base) * NS + nsec;
  }

  /** What `Date.now` told. */
  atMs(now: number): number {
    return (now - this.#base * 1000) * 1e6;
  }

  /** Nanoseconds since 1970. */
  since1970(at: number): bigint {
    return BigInt(this.#base) * 1_000_000_000n + BigInt(Math.round(at));
  }

  /** `2026-11-24T13:27:38.123456789Z`. */
  iso(at: number): string {
    const { seconds, rest } = split(at);
    const text = new Date((this.#base + seconds) * 1000).toISOString();
    return text.replace(/\.\d+Z$/, `.${String(rest).padStart(9, "0")}Z`);
  }

  /** Time of day, local, microseconds: `14:27:38.123456`. */
  timeOfDay(at: number): string {
    const { seconds, rest } = split(at);
    const date = new Date((this.#base + seconds) * 1000);
    const two = (n: number): string => String(n).padStart(2, "0");
    const micro = String(Math.floor(rest / 1000)).padStart(6, "0");
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${micro}`;
  }
}

function split(at: number): { readonly seconds: number; readonly rest: number } {
  const seconds = Math.floor(at / NS);
  return { seconds, rest: Math.round(at - seconds * NS) };
}
