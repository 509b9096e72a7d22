/**
 * What a backend needs of the daemon beside facts in the kernel. Most need nothing.
 *
 * @module
 */

import type { Published, Self } from "../engine/backend/backend.ts";
import type { Lease } from "../engine/lease.ts";
import type { NetConf } from "../engine/net_conf.ts";
import type { Poller } from "../ffi/poll.ts";
import { Extension } from "./extension.ts";
import type { Log } from "./log.ts";
import { UdpRelay } from "./udp_relay.ts";

/** What does not work: of the node itself, which is not ready then, and of peers. */
export interface Troubles {
  readonly reasons: readonly string[];
  readonly remarks: readonly string[];
}

/** Works beside the loop for as long as that runs. */
export interface Attendant extends AsyncDisposable {
  /**
   * Called before the lease is asked for; returns when that can be done.
   *
   * @returns what peers are told, instead of what the backend says.
   */
  begin?(signal: AbortSignal): Promise<Published>;
  /**
   * Called before each pass with what the pass goes by.
   *
   * @throws {OpError} when the pass would be in vain.
   */
  follow(self: Self, peers: readonly Lease[]): void;
  /** What does not work now, but for what was thrown. */
  troubles?(): Troubles;
  /** Packets that it moved or could not, by what became of them, since the start. */
  packets?(): Readonly<Record<string, number>>;
}

/** What an attendant is made with. */
export interface AttendantParts {
  readonly poller: Poller;
  readonly log: Log;
  /** Called when {@link Attendant.troubles} may be others. */
  readonly changed: () => void;
}

/** The attendant of a network's backend; undefined when it needs none. */
export function attend(
  conf: NetConf,
  { poller, log, changed }: AttendantParts,
): Attendant | undefined {
  if (conf.backend.type === "udp") return new UdpRelay(conf, poller);
  if (conf.backend.type === "extension") return new Extension(conf, log, changed);
  return undefined;
}
