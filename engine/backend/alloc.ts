/**
 * The alloc backend: the node gets a subnet and writes the subnet file, and that is all. Something
 * else moves the packets.
 *
 * @module
 */

import type { Backend } from "./backend.ts";

/** The alloc backend; the same for every network. */
export function alloc(): Backend {
  return {
    type: "alloc",
    leaseType: "",
    podMtu: (underlay) => Math.min(underlay.mtu, 65_535),
    devices: () => ({}),
    admit: () => {},
    macsOf: () => ({}),
    publish: () => ({}),
    facts: () => ({ own: [], peers: [], bad: [] }),
    scope: () => ({}),
    ours: () => () => false,
  };
}
