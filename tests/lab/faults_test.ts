/**
 * The daemon's promise under fire: seeded random faults, after each of which every kernel must
 * again hold exactly what the store says, as iproute2, bridge and nft see it.
 *
 * `TWILL_SEED` chooses a run, `TWILL_EVENTS` says how long it is. The gate's run is always the same,
 * so that it is red for a change and not for a draw; each long run is another one.
 */

import { FAULTS } from "./faults/catalogue.ts";
import { Random } from "./faults/random.ts";
import { Book, faultRun, suffer } from "./faults/run.ts";
import { Scene } from "./faults/scene.ts";
import { note } from "./notes.ts";

const full = Deno.env.get("TWILL_FULL") === "1";
const events = Number(Deno.env.get("TWILL_EVENTS") ?? (full ? 500 : 100));
const seed = Number(
  Deno.env.get("TWILL_SEED") ??
    (full ? crypto.getRandomValues(new Uint32Array(1))[0] : 2_713_094_488),
);

Deno.test("faults: each one is seen by the judge while repair is off, and heals when it is on", async () => {
  await using scene = await Scene.create(new Random(seed));
  const book = new Book();
  const toBite = FAULTS.filter(({ bites }) => bites === "stopped");
  for (const fault of toBite) await suffer(scene, fault, book, false);
});

Deno.test(`faults: ${events} of them, chosen by a seed, all heal`, async () => {
  note(`fault run: seed ${seed}, ${events} faults`);
  await using scene = await Scene.create(new Random(seed));
  const book = new Book();
  const began = performance.now();
  try {
    await faultRun(scene, FAULTS, events, book);
  } finally {
    note(...book.lines(), `it took ${Math.round((performance.now() - began) / 1000)} s`);
  }
});
