/**
 * The fault run: one fault after another, and a book of what each cost.
 *
 * @module
 */

import type { Fault } from "./catalogue.ts";
import type { Random } from "./random.ts";
import type { Scene } from "./scene.ts";

/** What the faults of one kind cost. */
interface Entry {
  /** Milliseconds from the fault to kernels that are as they should be. */
  readonly healed: number[];
  /** Milliseconds without an answer to the ping. */
  readonly lost: number[];
}

/** What was seen in a run. */
export class Book {
  readonly #entries = new Map<string, Entry>();

  /** Notes one fault. */
  note(kind: string, healed: number, lost: number): void {
    const entry = this.#entries.get(kind) ?? { healed: [], lost: [] };
    this.#entries.set(kind, entry);
    entry.healed.push(healed);
    entry.lost.push(lost);
  }

  /** One line for each kind, and one for all. */
  lines(): string[] {
    const rows = [...this.#entries].toSorted(([a], [b]) => a.localeCompare(b));
    const all = rows.flatMap(([, { healed }]) => healed);
    const lost = rows.flatMap(([, entry]) => entry.lost);
    return [
      `${"fault".padEnd(42)}times  healed p50   max  lost p50   max (ms)`,
      ...rows.map(([kind, entry]) => line(kind, entry)),
      line("all", { healed: all, lost }),
    ];
  }
}

function line(kind: string, { healed, lost }: Entry): string {
  const number = (value: number, width: number): string => String(value).padStart(width);
  const [a, b, c, d] = [median(healed), Math.max(...healed), median(lost), Math.max(...lost)];
  return kind.padEnd(42) + number(healed.length, 5) +
    number(a, 12) + number(b, 6) + number(c, 10) + number(d, 6);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** One of the faults, the heavier ones more often. */
export function choose(faults: readonly Fault[], random: Random): Fault {
  let at = random.next() * faults.reduce((sum, { weight }) => sum + weight, 0);
  for (const fault of faults) {
    at -= fault.weight;
    if (at < 0) return fault;
  }
  return faults.at(-1) as Fault;
}

/**
 * One fault: it happens, everything heals, also of what is taken back afterwards, and stays so.
 *
 * @param repair false: the victim's daemon is stopped while it happens, and the judge must see it.
 * @throws Error telling what is not as it should be.
 */
export async function suffer(
  scene: Scene,
  { kind, bites, costs, happen }: Fault,
  book: Book,
  repair = true,
): Promise<void> {
  await scene.pinger.lost();
  if (!repair) scene.freeze();
  const undo = await happen(scene);
  if (!repair) {
    await scene.mustBite(kind);
    scene.thaw();
  }
  const healed = await mustHeal(scene, kind);
  // It stays: nobody is at work any more that would turn it into something else.
  const still = await mustHeal(scene, `${kind}, a moment later`);
  const lost = await scene.pinger.lost();
  if (costs === undefined && lost > 0) {
    throw new Error(`${kind}: ${lost} ms without an answer, none is allowed\n${scene.tails()}`);
  }
  book.note(kind, Math.max(healed, bites === "never" ? still : 0), lost);
  if (undo === undefined) return;
  await undo();
  book.note(`${kind}: taken back`, await mustHeal(scene, `${kind}, taken back`), 0);
  await scene.ask();
}

async function mustHeal(scene: Scene, kind: string): Promise<number> {
  const found = await scene.heals();
  if (typeof found === "number") return found;
  const lines = found.slice(0, 20).join("\n");
  throw new Error(`${kind} (${scene.victim.name}): not healed\n${lines}\n${scene.tails()}`);
}

/** A whole run. @returns what was seen, also printed by whoever wants */
export async function faultRun(
  scene: Scene,
  faults: readonly Fault[],
  events: number,
  book: Book,
): Promise<void> {
  for (let i = 0; i < events; i++) {
    scene.victim = scene.random.pick(scene.lab.nodes);
    const fault = choose(faults, scene.random);
    try {
      await suffer(scene, fault, book);
    } catch (cause) {
      const where = `seed ${scene.random.seed}, fault ${i + 1}: `;
      throw new Error(where + (cause instanceof Error ? cause.message : cause));
    }
  }
}
