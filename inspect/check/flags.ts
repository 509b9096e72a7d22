/**
 * The flags of `twill inspect check`.
 *
 * @module
 */

import type { WatchFlags } from "../flags.ts";

/** What it is told beside what every command is told. */
export interface CheckFlags extends WatchFlags {
  /** Send packets: without it nothing leaves this node. */
  readonly probe: boolean;
  /** Where the daemons of peers answer. */
  readonly healthPort: number;
  readonly confDir: string;
  /** Several, with colons between. */
  readonly binDir: string;
  readonly networksDir: string;
}
