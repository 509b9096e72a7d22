/**
 * What a capture says when it ends. Pure.
 *
 * @module
 */

import type { TapCounts } from "./file.ts";
import { labelOf, type Tap } from "./taps.ts";

/** Numbers of a whole capture. */
export interface Totals {
  /** Packets and their frames that were wanted. */
  readonly packets: number;
  readonly frames: number;
  readonly seconds: number;
  readonly taps: readonly Tap[];
  /** By interface, wanted or not. */
  readonly counts: readonly TapCounts[];
}

/** The summary, one line for each interface that lost frames behind the first. */
export function summary({ packets, frames, seconds, taps, counts }: Totals): string[] {
  const seen = counts.reduce((sum, { received }) => sum + received, 0);
  const lost = counts.reduce((sum, { lost }) => sum + lost, 0);
  const head = `${number(packets, "packet")} in ${number(frames, "frame")}, of ${
    number(seen, "frame")
  } on ${number(taps.length, "interface")} in ${seconds.toFixed(1)} s`;
  if (lost === 0) return [`${head}; none lost`];
  const losers = counts.flatMap(({ received, lost }, i) =>
    lost === 0 ? [] : [`  ${labelOf(taps[i]!)}: lost ${lost} of ${number(received, "frame")}`]
  );
  return [
    `${head}; lost ${lost}: packets were missed, and ways shown without one of their interfaces`,
    ...losers,
    "  To lose fewer: --pod to look at fewer interfaces, -w FILE instead of lines, --snaplen 128",
  ];
}

function number(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}
