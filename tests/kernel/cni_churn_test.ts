/** A long random life of a node; see churn.ts. */

import { libc } from "../../ffi/libc.ts";
import { churn } from "./churn.ts";

libc(); // opened once and for good: inside the test it would count as a leak

const LONG = Deno.env.get("TWILL_FULL") === "1";

Deno.test(`churn: nothing is lost, held twice or left behind`, async () => {
  const seed = Number(
    Deno.env.get("TWILL_SEED") ?? (LONG ? Math.trunc(Math.random() * 2 ** 32) : 1),
  );
  const calls = Number(Deno.env.get("TWILL_CALLS") ?? (LONG ? 10_000 : 150));
  const began = performance.now();
  const say = (words: string): void => {
    // deno-lint-ignore no-console -- a run that failed is repeated by its seed
    console.log(`churn: seed ${seed}, ${words}`);
  };
  try {
    const counts = await churn({ seed, calls });
    const list = Object.entries(counts).sort().map(([what, n]) => `${n} ${what}`);
    say(`${((performance.now() - began) / 1000).toFixed(1)} s: ${list.join(", ")}`);
  } catch (error) {
    say("failed; repeat with TWILL_SEED");
    throw error;
  }
});
