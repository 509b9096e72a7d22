/**
 * Prometheus' text format 0.0.4. Pure.
 *
 * @module
 */

/** One line of a metric. */
export type Sample = readonly [labels: Readonly<Record<string, string>>, value: number];

/** A metric with its samples, as lines. */
export function family(
  name: string,
  type: string,
  help: string,
  samples: readonly Sample[],
): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples.map(([labels, value]) => `${name}${labelText(labels)} ${value}`),
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escape(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

/** What a histogram has seen: how many at or below each bound, and all of them. */
export interface Observed {
  readonly buckets: readonly number[];
  readonly sum: number;
  readonly count: number;
}

/** A histogram, as lines. */
export function histogram(
  name: string,
  help: string,
  bounds: readonly number[],
  { buckets, sum, count }: Observed,
): string[] {
  return [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} histogram`,
    ...bounds.map((bound, i) => `${name}_bucket{le="${bound}"} ${buckets[i]}`),
    `${name}_bucket{le="+Inf"} ${count}`,
    `${name}_sum ${sum}`,
    `${name}_count ${count}`,
  ];
}
