/**
 * What a network namespace has, for people: links with their counters and port flags, and
 * addresses. Reads only.
 *
 * @module
 */

import type { Inet } from "../engine/ip.ts";
import { inetOf } from "../engine/ip.ts";
import type { Mac } from "../engine/mac.ts";
import { Iff, type LinkStats, readLink, readLinkStats, writeLink } from "./netlink/link.ts";
import { NetlinkSocket } from "./netlink/socket.ts";
import { within } from "./netns.ts";
import { readAddresses } from "./reader.ts";
import { Rtm } from "./netlink/rtnetlink.ts";

/** A link as people want to see it. */
export interface LinkView {
  readonly index: number;
  readonly name: string;
  /** The kernel's name of the driver; empty for physical devices and the loopback. */
  readonly kind: string;
  readonly mac?: Mac;
  /** Bytes. */
  readonly mtu: number;
  readonly up: boolean;
  /** Index of the bridge that it is a port of. */
  readonly master?: number;
  /** Index of a veth's other end, in that one's namespace. */
  readonly peer?: number;
  /** Number of that namespace, as this one knows it. */
  readonly peerNetns?: number;
  /** Flags of a bridge's port. */
  readonly port?: {
    readonly hairpin: boolean;
    readonly isolated: boolean;
    readonly learning: boolean;
    readonly flooding: boolean;
  };
  readonly stats: LinkStats;
  /** Without link-local ones. */
  readonly addresses: readonly Inet[];
}

/** `RT_SCOPE_LINK`, linux/rtnetlink.h. */
const LINK_SCOPE = 253;

/**
 * The links of a namespace.
 *
 * @param netns its path; absent: the calling thread's own.
 * @throws {OpError} when it cannot be entered or read.
 */
export function viewNetns(netns?: string): LinkView[] {
  using socket = netns === undefined
    ? new NetlinkSocket()
    : within(netns, () => new NetlinkSocket());
  const { bodies } = socket.dump({
    type: Rtm.GETLINK,
    body: (out) => writeLink(out, { attributes: {} }),
  });
  const addresses = readAddresses(socket).filter(({ scope }) => scope < LINK_SCOPE);
  return bodies.map(readLink).map(({ index, flags, attributes }): LinkView => {
    const { name = "", info, address, mtu = 0, master, link, linkNetnsId, stats } = attributes;
    const port = info?.bridgePort;
    return {
      index,
      name,
      kind: info?.kind ?? "",
      ...(address === undefined ? {} : { mac: address }),
      mtu,
      up: (flags & Iff.UP) !== 0,
      ...(master === undefined ? {} : { master }),
      ...(link === undefined ? {} : { peer: link }),
      ...(linkNetnsId === undefined ? {} : { peerNetns: linkNetnsId }),
      ...(port === undefined ? {} : {
        port: {
          hairpin: port.hairpin === 1,
          isolated: port.isolated === 1,
          learning: port.learning === 1,
          flooding: port.flooding === 1,
        },
      }),
      stats: readLinkStats(stats ?? new Uint8Array()),
      addresses: addresses.filter((one) => one.index === index)
        .map(({ ip, length }) => inetOf(ip, length)),
    };
  });
}
