/**
 * What the kernel says unasked: changes of links, addresses, routes, neighbours, forwarding
 * entries and rule tables. Events only say "look again" and where; what is there is then read.
 *
 * @module
 */

import { OpError } from "../engine/errors.ts";
import { MAIN_TABLE } from "../engine/fact.ts";
import { eventFilter, type Focus, HEAR_ALL } from "./event_filter.ts";
import { readAddress } from "./netlink/address.ts";
import { attributes, text } from "./netlink/codec.ts";
import { readLink } from "./netlink/link.ts";
import type { Message } from "./netlink/message.ts";
import { NeighbourFlag, readNeighbour } from "./netlink/neighbour.ts";
import { readRoute } from "./netlink/route.ts";
import { NetlinkSocket, Overrun } from "./netlink/socket.ts";
import type { Poller } from "./poll.ts";
import { Af, Rtm } from "./netlink/rtnetlink.ts";

/** Something changed. */
export type KernelEvent =
  /** A link came, went or changed. */
  | { readonly kind: "link"; readonly name: string; readonly index: number }
  | { readonly kind: "address"; readonly index: number }
  /** A route of the main table changed. */
  | { readonly kind: "route" }
  | { readonly kind: "neighbour"; readonly index: number }
  /** The forwarding entry of a VTEP. */
  | { readonly kind: "fdb"; readonly index: number; readonly mac: string }
  /** A rule table changed: `inet twill`. */
  | { readonly kind: "rules"; readonly table: string }
  /** Events were lost: anything may have changed. */
  | { readonly kind: "lost" };

/** An event, and who caused it. */
export interface Heard {
  readonly event: KernelEvent;
  /** The netlink port of the socket whose request caused it; 0 when the kernel does not say. */
  readonly port: number;
}

/** `RTNLGRP_*`, linux/rtnetlink.h. */
const ROUTE_GROUPS = {
  LINK: 1,
  NEIGH: 3,
  IPV4_IFADDR: 5,
  IPV4_ROUTE: 7,
  IPV6_IFADDR: 9,
  IPV6_ROUTE: 11,
} as const;

/** `NETLINK_NETFILTER`, linux/netlink.h. */
const NETLINK_NETFILTER = 12;
/** `NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h. */
const NFNLGRP_NFTABLES = 7;
/** `NFNL_SUBSYS_NFTABLES`, in the high byte of a message's type. */
const NFNL_SUBSYS_NFTABLES = 10;
/** `NFT_MSG_NEWGEN`: ends each transaction, and tells nothing more. */
const NFT_MSG_NEWGEN = 15;
/** The table's name is attribute 1 of every nftables object (`NFTA_*_TABLE`, `NFTA_TABLE_NAME`). */
const NFTA_TABLE = 1;
/** `NFPROTO_*` as nft writes them, linux/netfilter.h. */
const NFT_FAMILIES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  3: "arp",
  5: "netdev",
  7: "bridge",
  10: "ip6",
};
/** `struct nfgenmsg`, 4 bytes; the family is its first. */
const NFGENMSG_SIZE = 4;

/** `fe80::/10` and `ff00::/8`. */
const LINK_LOCAL = /^(?:fe[89ab]|ff)[0-9a-f]{0,2}:/;

/** Hears the kernel of the calling thread's network namespace. */
export class KernelEvents implements Disposable {
  readonly #route: NetlinkSocket;
  readonly #rules: NetlinkSocket;
  readonly #stack: DisposableStack;
  readonly #hear: (heard: Heard) => void;
  #filter = "";

  /**
   * @param hear called for each event.
   * @param privileged we have CAP_NET_ADMIN; without it rule tables are not heard, and a burst may
   * be lost sooner (which is told).
   * @throws {OpError} when the sockets cannot be made or the groups not joined.
   */
  constructor(poller: Poller, hear: (heard: Heard) => void, privileged = true) {
    this.#hear = hear;
    using undo = new DisposableStack();
    this.#route = undo.use(new NetlinkSocket());
    this.#rules = undo.use(new NetlinkSocket(NETLINK_NETFILTER));
    if (privileged) { for (const socket of [this.#route, this.#rules]) socket.enlarge(); }
    for (const group of Object.values(ROUTE_GROUPS)) this.#route.join(group);
    if (privileged) this.#rules.join(NFNLGRP_NFTABLES);
    undo.use(poller.watch(this.#route.fd, () => this.#drain(this.#route, routeEvent)));
    undo.use(poller.watch(this.#rules.fd, () => this.#drain(this.#rules, rulesEvent)));
    this.#stack = undo.move();
  }

  /**
   * From now on what the kernel tells of other links, and of routes that nobody makes, is not even
   * queued for us. A kernel that cannot do that goes on telling everything.
   *
   * @param focus undefined for everything.
   */
  focus(focus: Focus | undefined): void {
    const program = focus === undefined ? undefined : eventFilter(focus);
    const text = String(program);
    if (text === this.#filter) return;
    this.#filter = text;
    try {
      this.#route.filter(program ?? HEAR_ALL);
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
    }
  }

  /**
   * Hears all that has happened until now, without waiting. The kernel queues the events of a
   * request before it acknowledges it, so after a plan was applied this hears all of its echo.
   */
  drain(): void {
    this.#drain(this.#route, routeEvent);
    this.#drain(this.#rules, rulesEvent);
  }

  #drain(socket: NetlinkSocket, read: (message: Message) => KernelEvent | undefined): void {
    try {
      for (let heard = socket.poll(); heard !== undefined; heard = socket.poll()) {
        for (const message of heard) {
          const event = read(message);
          if (event !== undefined) this.#hear({ event, port: message.port });
        }
      }
    } catch (e) {
      // Lost, or not to be understood: either way only looking tells.
      if (!(e instanceof Overrun || e instanceof OpError)) throw e;
      this.#hear({ event: { kind: "lost" }, port: 0 });
    }
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

function routeEvent({ type, body }: Message): KernelEvent | undefined {
  switch (type) {
    case Rtm.NEWLINK:
    case Rtm.DELLINK: {
      const link = readLink(body);
      return { kind: "link", name: link.attributes.name ?? "", index: link.index };
    }
    case Rtm.NEWADDR:
    case Rtm.DELADDR:
      return { kind: "address", index: readAddress(body).index };
    case Rtm.NEWROUTE:
    case Rtm.DELROUTE: {
      const route = readRoute(body);
      const table = route.attributes.table ?? route.table;
      // Each link has a route of its own addresses' prefix; a pod that comes or goes is not news.
      const { destination } = route.attributes;
      if (destination !== undefined && LINK_LOCAL.test(destination)) return undefined;
      return table === MAIN_TABLE ? { kind: "route" } : undefined;
    }
    case Rtm.NEWNEIGH:
    case Rtm.DELNEIGH: {
      const { family, flags, index, attributes: found } = readNeighbour(body);
      if (family !== Af.BRIDGE) return { kind: "neighbour", index };
      // A bridge learns all day; only entries of the device itself are a VTEP's.
      if ((flags & NeighbourFlag.SELF) === 0) return undefined;
      return { kind: "fdb", index, mac: found.address ?? "" };
    }
  }
  return undefined;
}

function rulesEvent({ type, body }: Message): KernelEvent | undefined {
  if (type >> 8 !== NFNL_SUBSYS_NFTABLES || (type & 0xff) === NFT_MSG_NEWGEN) return undefined;
  for (const [number, payload] of attributes(body.subarray(NFGENMSG_SIZE))) {
    if (number === NFTA_TABLE) {
      const family = NFT_FAMILIES[body[0] ?? 0] ?? "unknown";
      return { kind: "rules", table: `${family} ${text.read(payload)}` };
    }
  }
  return undefined;
}
