/**
 * How `policy` asks the kernel.
 *
 * @module
 */

import type { DroppedPacket } from "../../engine/policy/dropped.ts";

/** See the module. */
export interface PolicyTools {
  /** A table as nft lists it; empty when there is none. @throws {OpError} */
  readonly table: (name: string) => string;
  /** Packets that it has dropped, by chain. @throws {OpError} */
  readonly counts: (name: string) => ReadonlyMap<string, number>;
  /**
   * Packets that the table drops, until the signal is aborted.
   *
   * @throws {OpError} when the kernel cannot be made to tell.
   */
  readonly drops: (table: string, signal: AbortSignal) => AsyncIterable<DroppedPacket>;
}
