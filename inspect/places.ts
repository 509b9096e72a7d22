/**
 * Where a daemon answers, and what it leaves.
 *
 * @module
 */

import type { PlaceFlags } from "./flags.ts";

/** The status socket of the daemon of that name. */
export function statusSocket({ instance }: PlaceFlags): string {
  return `/run/twill/status${suffix(instance)}.sock`;
}

/** Its last good snapshot. */
export function snapshotPath({ stateDir, instance }: PlaceFlags): string {
  return `${stateDir}/snapshot${suffix(instance)}.json`;
}

function suffix(instance = ""): string {
  return instance === "" ? "" : `-${instance}`;
}
