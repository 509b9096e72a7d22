import assert from "node:assert/strict";
import { Calm } from "../../daemon/calm.ts";

Deno.test("Calm: single repairs are answered and told at once", () => {
  const calm = new Calm();
  for (let now = 0; now < 100_000; now += 5_000) {
    assert.equal(calm.looked(now, true), 0);
    assert.equal(calm.settle(), 10);
  }
});

Deno.test("Calm: in a fight answers come slower, and one line a minute counts the rest", () => {
  const calm = new Calm();
  const told: number[] = [];
  let settle = 0;
  for (let now = 0; now < 130_000; now += 1_000) {
    const silent = calm.looked(now, true);
    if (silent !== undefined) told.push(silent);
    settle = calm.settle();
  }
  assert.equal(settle, 200);
  assert.deepEqual(told, [...Array(20).fill(0), 59]);
});

Deno.test("Calm: a quiet while ends the fight; looks that find nothing do not count", () => {
  const calm = new Calm();
  for (let now = 0; now < 40_000; now += 1_000) calm.looked(now, true);
  assert.equal(calm.looked(45_000, false), undefined);
  assert.equal(calm.settle() > 10, true);
  calm.looked(80_000, true);
  assert.equal(calm.settle(), 10);
});
