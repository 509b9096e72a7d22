import assert from "node:assert/strict";
import { Backoff, breathing, Mark, sleep, Turns, unless } from "../../daemon/wait.ts";

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

Deno.test("Turns: who asks while a run is under way gets the next one, together with others", async () => {
  const gates: PromiseWithResolvers<void>[] = [];
  const turns = new Turns(() => {
    const gate = Promise.withResolvers<void>();
    gates.push(gate);
    return gate.promise;
  });
  const ended: string[] = [];
  const ask = (name: string): Promise<void> =>
    turns.run().then(() => void ended.push(name), (e) => void ended.push(`${name}: ${e.message}`));
  const asked = [ask("first"), ask("second"), ask("third")];
  assert.equal(gates.length, 1);
  assert.ok(turns.busy);
  gates[0]?.reject(new Error("refused"));
  await asked[0];
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.deepEqual(ended, ["first: refused"]);
  assert.equal(gates.length, 2, "one run for both");
  const idle = turns.idle();
  gates[1]?.resolve();
  await Promise.all(asked);
  await idle;
  assert.deepEqual(ended, ["first: refused", "second", "third"]);
  assert.ok(!turns.busy);
});

Deno.test("Turns: never two at once, whenever somebody asks between them", async () => {
  let [now, most] = [0, 0];
  const gate = Promise.withResolvers<void>();
  const turns = new Turns(async () => {
    most = Math.max(most, ++now);
    await gate.promise;
    // Longer than all that happens between two runs.
    for (let i = 0; i < 50; i++) await Promise.resolve();
    now--;
  });
  const asked = [turns.run(), turns.run()];
  gate.resolve();
  for (let i = 0; i < 200; i++) {
    await Promise.resolve();
    asked.push(turns.run());
    assert.ok(turns.busy);
  }
  await Promise.all(asked);
  assert.equal(most, 1);
});

Deno.test("breathing: gives the result, and others their turn", async () => {
  let turned = false;
  const timer = setTimeout(() => turned = true, 0);
  const result = await breathing((function* (): Generator<void, number> {
    while (!turned) yield;
    return 7;
  })());
  clearTimeout(timer);
  assert.equal(result, 7);
});
