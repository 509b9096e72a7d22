/**
 * The faults: what goes wrong, and what each may cost.
 *
 * @module
 */

import { daemonFaults, storeFaults } from "./catalogue_store.ts";
import { deviceFaults, entryFaults, ruleFaults } from "./catalogue_kernel.ts";
import type { Scene } from "./scene.ts";

/** One kind of fault. */
export interface Fault {
  readonly kind: string;
  /** How often it is chosen, beside the others. */
  readonly weight: number;
  /**
   * How the judge is shown to see it: with the daemon `stopped`, by the fault `itself` (which stops
   * the daemon on its way), or `never`, for what must change nothing.
   */
  readonly bites: "stopped" | "itself" | "never";
  /** It hits what all packets between the pods need, so that some may be lost until it is repaired. */
  readonly costs?: true;
  /** Does it; what it leaves behind for a while is taken back by the returned function. */
  readonly happen: (scene: Scene) => Promise<void | (() => Promise<void>)>;
}

/** All of them. */
export const FAULTS: readonly Fault[] = [
  ...storeFaults,
  ...daemonFaults,
  ...deviceFaults,
  ...entryFaults,
  ...ruleFaults,
];
