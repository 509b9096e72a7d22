/**
 * Asks the kernel which way it would send a packet (`RTM_GETROUTE`), as `ip route get` does. The
 * kernel walks its policy rules and tables, and for a packet that comes in by a link also its
 * forwarding setting and its filter of return paths; so the answer is the decision itself.
 *
 * @module
 */

import { cidrOf, FAMILIES, familyOf, type Ip } from "../engine/ip.ts";
import type { RouteAnswer, RouteEntry, RouteQuestion } from "../engine/trace/lookup.ts";
import { Errno, errnoText } from "./errno.ts";
import { readRoute, RouteFlag, type RouteMessage, RouteType, writeRoute } from "./netlink/route.ts";
import type { NetlinkSocket } from "./netlink/socket.ts";
import { Af, Rtm } from "./netlink/rtnetlink.ts";

/** What a link's name and index are to each other. */
export interface LinkNames {
  readonly nameOf: (index: number) => string;
  readonly indexOf: (name: string) => number | undefined;
}

/**
 * The kernel's decision.
 *
 * @throws {OpError} when the socket fails; a packet that goes nowhere is an answer.
 */
export function lookUp(
  socket: NetlinkSocket,
  question: RouteQuestion,
  { nameOf, indexOf }: LinkNames,
): RouteAnswer {
  const iif = question.iif === undefined ? undefined : indexOf(question.iif);
  if (question.iif !== undefined && iif === undefined) {
    return { kind: "none", errno: Errno.ENODEV, words: `there is no link ${question.iif}` };
  }
  const ask = (flags: number): ReturnType<typeof readRoute> | RouteAnswer => {
    const [answer] = socket.request([{
      type: Rtm.GETROUTE,
      flags: 0,
      question: true,
      body: (out) => writeRoute(out, messageOf(question, iif, flags)),
    }]);
    if (answer?.body !== undefined) return readRoute(answer.body);
    const errno = answer?.errno ?? 0;
    return { kind: "none", errno, words: answer?.words ?? wordsOf(errno, question) };
  };
  const route = ask(RouteFlag.LOOKUP_TABLE);
  if ("kind" in route) return route;
  const { attributes } = route;
  const dev = attributes.oif === undefined ? "" : nameOf(attributes.oif);
  if (route.type === RouteType.LOCAL) return { kind: "local", dev };
  if (route.type !== RouteType.UNICAST) return refused(route.type);
  const entry = ask(RouteFlag.LOOKUP_TABLE | RouteFlag.FIB_MATCH);
  const { gateway, preferredSource, metrics } = attributes;
  return {
    kind: "found",
    dev,
    ...(gateway === undefined ? {} : { via: gateway }),
    ...(preferredSource === undefined ? {} : { src: preferredSource }),
    ...(metrics?.mtu === undefined ? {} : { mtu: metrics.mtu }),
    ...("kind" in entry ? {} : { entry: entryOf(entry, question.to) }),
  };
}

function messageOf(
  { to, from, mark }: RouteQuestion,
  iif: number | undefined,
  flags: number,
): RouteMessage {
  const family = familyOf(to);
  const { bits } = FAMILIES[family];
  return {
    family: family === 4 ? Af.INET : Af.INET6,
    destinationLength: bits,
    sourceLength: from === undefined ? 0 : bits,
    flags,
    attributes: {
      destination: to,
      ...(from === undefined ? {} : { source: from }),
      ...(iif === undefined ? {} : { iif }),
      ...(mark === undefined ? {} : { mark }),
    },
  };
}

function entryOf(route: ReturnType<typeof readRoute>, to: Ip): RouteEntry {
  const { destination, priority, table } = route.attributes;
  const family = familyOf(to);
  const base = destination ?? (FAMILIES[family].any.split("/")[0] as Ip);
  return {
    dst: cidrOf(base, route.destinationLength),
    protocol: route.protocol,
    metric: priority ?? 0,
    table: table ?? route.table,
  };
}

const REFUSALS: Readonly<Record<number, string>> = {
  3: "broadcast",
  5: "multicast",
  6: "a blackhole route",
  7: "an unreachable route",
  8: "a prohibiting route",
};

function refused(type: number): RouteAnswer {
  return { kind: "none", errno: 0, words: REFUSALS[type] ?? `a route of type ${type}` };
}

/**
 * The errors that the kernel answers for packets that come in, in words that fit them. What it drops
 * for its source was EXDEV, and is EINVAL since Linux 6.13.
 */
function wordsOf(errno: number, { iif, from }: RouteQuestion): string {
  if (iif === undefined) return errnoText(errno);
  if (errno === Errno.EXDEV || errno === Errno.EINVAL) {
    return `a packet of ${
      from ?? "that source"
    } that comes in by ${iif} is dropped: by the strict ` +
      "filter of return paths (rp_filter), or as one with an impossible source";
  }
  if (errno === Errno.EHOSTUNREACH) {
    return "this host does not forward packets, or has no route there";
  }
  return errnoText(errno);
}
