/**
 * What a backend needs of the daemon beside facts in the kernel. Most need nothing.
 *
 * @module
 */

import type { Self } from "../engine/backend/backend.ts";
import type { Lease } from "../engine/lease.ts";
import type { NetConf } from "../engine/net_conf.ts";
import type { Poller } from "../ffi/poll.ts";
import { UdpRelay } from "./udp_relay.ts";

/** Works beside the loop for as long as that runs. */
export interface Attendant extends Disposable {
  /**
   * Called before each pass with what the pass goes by.
   *
   * @throws {OpError} when the pass would be in vain.
   */
  follow(self: Self, peers: readonly Lease[]): void;
}

/** The attendant of a network's backend; undefined when it needs none. */
export function attend(conf: NetConf, poller: Poller): Attendant | undefined {
  return conf.backend.type === "udp" ? new UdpRelay(conf, poller) : undefined;
}
