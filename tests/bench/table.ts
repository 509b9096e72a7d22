/**
 * Figures, and how they are shown.
 *
 * @module
 */

/** What is measured, and what design §6 asks for. */
export interface Measure {
  readonly name: string;
  readonly unit: "µs" | "ms" | "s" | "MiB";
  /** Largest ratio of ours to theirs. */
  readonly ratio?: number;
  /** Largest value of ours, in the unit. */
  readonly most?: number;
}

/** The middle of some values; of an even number the larger one of the two. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** The values of a run for one name, and the middle, 90 and 99 in 100 of them. */
export function percentiles(values: readonly number[]): readonly [number, number, number] {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
  return [at(0.5), at(0.9), at(0.99)];
}

/** All figures of a run. */
export class Figures {
  readonly #theirs: string;
  readonly #values = new Map<string, number[]>();
  readonly #measures: Measure[] = [];

  /** @param theirs the other program; ours is `twill`. */
  constructor(theirs: string = "flanneld") {
    this.#theirs = theirs;
  }

  /** Notes one value of `twill` or the other one; Infinity is "never". */
  note(measure: Measure, who: string, value: number): void {
    if (!this.#measures.some(({ name }) => name === measure.name)) this.#measures.push(measure);
    const key = `${who} ${measure.name}`;
    this.#values.set(key, [...this.#values.get(key) ?? [], value]);
  }

  /** The table: medians, ratios, and whether the target is met. */
  lines(): string[] {
    return [
      row(["measure (median)", this.#theirs, "twill", "ratio", "target", ""]),
      ...this.#measures.map((measure) => this.#line(measure)),
    ];
  }

  #line(measure: Measure): string {
    const { name, unit, ratio, most } = measure;
    const of = (who: string): number => median(this.#values.get(`${who} ${name}`) ?? []);
    const [theirs, ours] = [of(this.#theirs), of("twill")];
    const share = ours / theirs;
    const target = [
      ...(ratio === undefined ? [] : [`<= ${+ratio.toFixed(2)} x`]),
      ...(most === undefined ? [] : [`<= ${most} ${unit}`]),
    ];
    const met = (ratio === undefined || share <= ratio) && (most === undefined || ours <= most);
    const verdict = target.length === 0 ? "" : met ? "met" : "MISSED";
    const ratioText = Number.isFinite(share) && theirs !== Infinity ? share.toFixed(2) : "-";
    return row([
      name,
      show(theirs, unit),
      show(ours, unit),
      ratioText,
      target.join(", "),
      verdict,
    ]);
  }
}

function show(value: number, unit: string): string {
  if (Number.isNaN(value)) return "-";
  if (value === Infinity) return "never";
  const digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${unit}`;
}

function row(
  [name = "", theirs = "", ours = "", ratio = "", target = "", met = ""]: string[],
): string {
  return `${name.padEnd(42)}${theirs.padStart(12)}${ours.padStart(12)}${ratio.padStart(8)}  ` +
    `${target.padEnd(12)}${met}`.trimEnd();
}
