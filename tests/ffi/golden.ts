/**
 * What `ip` and `bridge` (iproute2 6.1.0) send for one session typed into an empty network
 * namespace, and the same wishes in our words.
 *
 * The bytes were taken from `strace -e trace=sendmsg -e write=all` of each command; sequence
 * numbers are set to zero, the look-ups that `ip` does beforehand are left out.
 * `tests/kernel/golden_test.ts` types the session again and compares.
 *
 * @module
 */

import type { LinkFact, PortFact } from "../../engine/fact.ts";
import type { Change } from "../../engine/plan.ts";
import type { LinkLevelFact } from "../../ffi/requests.ts";

/** A change that is one message. */
export type LinkLevelChange = Change & { readonly fact: LinkLevelFact };

/** One command of the session. */
export interface Golden {
  readonly command: string;
  /** The same in our words; absent where the command only prepares the next ones. */
  readonly change?: LinkLevelChange;
  /** The same in our words, for the settings of a port, which are a message of their own. */
  readonly settings?: PortFact;
  /** What was sent; what stands behind two spaces is a comment. */
  readonly bytes?: string;
  readonly differs?: Difference;
  /** A kernel without VLANs on bridges (CONFIG_BRIDGE_VLAN_FILTERING) refuses it. */
  readonly mayFail?: true;
}

/** What the two programs say differently, and why that means the same to the kernel. */
export interface Difference {
  readonly why: string;
  /** Lines of `meaning()` that only `ip` has. Both lists empty: bytes differ, meanings do not. */
  readonly ip: readonly string[];
  /** Lines that only we have. */
  readonly twill: readonly string[];
}

/** The namespace that must exist beside the one the session runs in; `ip` opens it as 4. */
export const PEER_NETNS = "peer";
/** The descriptor of {@link PEER_NETNS} in `ip`. */
export const PEER_NETNS_FD = 4;

/** The indexes that the kernel gives in an empty namespace. */
export const INDEX: Readonly<Record<string, number>> = { up0: 3, br0: 4, v0: 7, vx1: 9 };

/** The fact is made. */
export function put(fact: LinkLevelFact): LinkLevelChange {
  return { op: "put", fact };
}

/** The link becomes another one; what it was before is not told. */
export function change(fact: LinkFact): LinkLevelChange {
  const { kind, where, name, driver } = fact;
  return { op: "put", fact, had: { kind, where, name, driver } };
}

/** The fact is deleted. */
export function remove(fact: LinkLevelFact): LinkLevelChange {
  return { op: "delete", fact };
}

/** The kernel looks attributes up by number, and a driver's name may end with a zero byte. */
export const ORDER: Difference = { why: "another order of attributes", ip: [], twill: [] };

/** We name the link of a change; `ip` has asked for its index before. */
export function byName(link: string): Difference {
  const why = "the kernel finds a link by name as well, which saves a question";
  return { why, ip: [`index ${INDEX[link]}`], twill: [`3 ${link}`] };
}
