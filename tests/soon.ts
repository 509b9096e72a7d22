/**
 * Work that must not take long, on machines that now and then do nothing for a second.
 *
 * @module
 */

import assert from "node:assert/strict";

/** How often it is tried: a machine is not busy for all of them, slow code is slow in each. */
const TRIES = 10;

/** Passes when one of several runs of `work` stays below `limit` ms. */
export function assertSoon(limit: number, work: () => void): void {
  let least = Infinity;
  for (let tries = 0; tries < TRIES && least >= limit; tries++) {
    const began = performance.now();
    work();
    least = Math.min(least, performance.now() - began);
  }
  assert.ok(least < limit, `${Math.round(least)} ms at best, want less than ${limit}`);
}
