/**
 * Who made a route, in words.
 *
 * @module
 */

import { type RouteFact, TWILL_PROTOCOL } from "../engine/fact.ts";
import { addressOf } from "../engine/ip.ts";

/** `RTPROT_*`, linux/rtnetlink.h. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  [TWILL_PROTOCOL]: "twill",
  0: "unspec",
  1: "redirect",
  2: "kernel",
  3: "boot",
  4: "static",
  9: "ra",
  11: "zebra",
  12: "bird",
  16: "dhcp",
  18: "keepalived",
  42: "babel",
  186: "bgp",
  187: "isis",
  188: "ospf",
  189: "rip",
  192: "eigrp",
};

/** The protocol's name as `ip` says it; twill's own number by our name. */
export function protocolName(protocol = 0): string {
  return PROTOCOLS[protocol] ?? `proto ${protocol}`;
}

/**
 * The program behind a route. Flannel leaves no number of its own (3, boot, is what most programs
 * leave), but its route by the subnet's own base address is nobody else's habit.
 */
export function ownerOf({ protocol, via, dst, onlink }: RouteFact): string {
  if (protocol === 3 && onlink === true && via === addressOf(dst)) return "flannel";
  return protocolName(protocol);
}
