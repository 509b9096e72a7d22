/**
 * The flags of `twill inspect check`.
 *
 * @module
 */

import type { WatchFlags } from "../flags.ts";
import type { ProbeFlags } from "../probe_flags.ts";

/** What it is told beside what every command is told. */
export interface CheckFlags extends WatchFlags, ProbeFlags {
  readonly confDir: string;
  /** Several, with colons between. */
  readonly binDir: string;
  readonly networksDir: string;
}
