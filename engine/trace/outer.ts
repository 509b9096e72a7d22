/**
 * The packet around a packet: whom it is for, and whether it passes this node's own rules. Pure.
 *
 * @module
 */

import { contains, type Ip } from "../ip.ts";
import { runHook } from "./evaluate.ts";
import type { RouteAnswer } from "./lookup.ts";
import type { Walk } from "./walk.ts";
import { dropped } from "./words.ts";
import type { Ending, TracePeer } from "./world.ts";

/** Said where a command repairs by hand what twill's daemon keeps in order. */
export const BY_ITSELF = "twill's daemon puts this right by itself while it runs; by hand:";

/** The node whose pods the packet is for. */
export function peerOf(one: Walk): TracePeer | undefined {
  return one.world.peers.find(({ subnet }) => contains(subnet, one.packet.dst));
}

/** Its name and address. */
export function nameOf(peer: TracePeer | undefined, remote: Ip): string {
  return peer?.node === undefined ? `the node at ${remote}` : `${peer.node} (${remote})`;
}

/** No route leads to the other node. */
export function noWay(
  one: Walk,
  at: string,
  remote: Ip,
  answer: Exclude<RouteAnswer, { readonly kind: "found" }>,
): Ending {
  return one.fail({
    step: "outer",
    at,
    what: `no way to the node at ${remote}: ${
      answer.kind === "none" ? answer.words : "it is this one"
    }`,
  }, {
    id: "no-underlay-route",
    short: "node cannot be reached",
    fix: "see the routes of the network between the nodes:",
    command: `ip route get ${remote}`,
  });
}

/** The outer packet is one of this node's own: it passes output and postrouting. */
export function outerRules(
  one: Walk,
  { src, dst, protocol, port, dev }: {
    readonly src: Ip;
    readonly dst: Ip;
    readonly protocol: "udp" | "ipip";
    /** Of UDP. */
    readonly port?: number;
    readonly dev: string;
  },
): boolean {
  const { tables, addresses } = one.world;
  if (typeof tables === "string") return true;
  const packet = { src, dst, protocol, ...(port === undefined ? {} : { dport: port }), mark: 0 };
  const what = protocol === "ipip" ? "IPv4 in IPv4 (protocol 4)" : `UDP port ${port ?? "unknown"}`;
  const around = { oif: dev, isLocal: (ip: Ip) => addresses.has(ip), take: 0 };
  for (const hook of ["output", "postrouting"] as const) {
    const result = runHook(tables, hook, packet, around);
    if (result.verdict === "accept") {
      if (result.maybe.length > 0) {
        one.add({
          step: `outer-${hook}`,
          at: hook,
          what: "no other rule acts",
          maybe: result.maybe,
        });
      }
      continue;
    }
    const [hop, fault] = dropped(`outer-${hook}`, result);
    one.fail({
      ...hop,
      what: `the outer packet, ${port === undefined ? "" : "to "}${what}, is dropped here`,
    }, {
      ...fault,
      id: protocol === "udp" ? "udp-blocked" : "ipip-blocked",
      short: protocol === "udp" ? "UDP blocked" : "IPv4 in IPv4 blocked",
      fix: `let packets ${port === undefined ? "of" : "to"} ${what} ${
        port === undefined ? "to" : "of"
      } the other nodes pass:`,
    });
    return false;
  }
  return true;
}
