import assert from "node:assert/strict";
import { Backoff, Mark, sleep, unless } from "../../daemon/wait.ts";

Deno.test("sleep: ends early with the signal's reason, also one that was aborted before", async () => {
  const stop = new AbortController();
  const sleeping = sleep(60_000, stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(sleeping, { message: "enough" });
  await assert.rejects(sleep(60_000, stop.signal), { message: "enough" });
  await sleep(1, new AbortController().signal);
});

Deno.test("unless: gives the promise's outcome or the signal's reason, whichever comes first", async () => {
  const stop = new AbortController();
  assert.equal(await unless(stop.signal, Promise.resolve(7)), 7);
  await assert.rejects(unless(stop.signal, Promise.reject(new Error("own"))), { message: "own" });
  const waiting = unless(stop.signal, new Promise(() => {}));
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, { message: "enough" });
  // A promise that fails later must not end the program as an unhandled rejection.
  await assert.rejects(unless(stop.signal, Promise.reject(new Error("late"))), {
    message: "enough",
  });
});

Deno.test("Backoff: doubles up to its cap, with jitter, and starts again", () => {
  const most = new Backoff(100, 1000, () => 1);
  assert.deepEqual([1, 2, 3, 4, 5, 6].map(() => most.next()), [100, 200, 400, 800, 1000, 1000]);
  most.reset();
  assert.equal(most.next(), 100);
  const least = new Backoff(100, 1000, () => 0);
  assert.deepEqual([least.next(), least.next()], [50, 100]);
});

Deno.test("Mark: a raised flag ends one wait, before or after it began", async () => {
  const { signal } = new AbortController();
  const mark = new Mark();
  mark.raise();
  mark.raise();
  await mark.wait(signal);
  let done = false;
  const waiting = mark.wait(signal).then(() => done = true);
  await sleep(1, signal);
  assert.equal(done, false);
  mark.raise();
  await waiting;
});

Deno.test("Mark: an aborted wait leaves the flag usable", async () => {
  const mark = new Mark();
  const stop = new AbortController();
  const waiting = mark.wait(stop.signal);
  stop.abort(new Error("enough"));
  await assert.rejects(waiting, { message: "enough" });
  mark.raise();
  await mark.wait(new AbortController().signal);
});

Deno.test("Mark: a wait that begins while another is given up is not forgotten", async () => {
  const mark = new Mark();
  const stop = new AbortController();
  const first = mark.wait(stop.signal);
  stop.abort(new Error("enough"));
  const second = mark.wait(new AbortController().signal);
  await assert.rejects(first, { message: "enough" });
  mark.raise();
  await second;
});
