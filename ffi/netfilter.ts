/**
 * Netfilter by netlink, without any program or library of rules: whether nf_tables holds a table
 * or chain (so that a plugin that has nothing to clean up starts nothing for it); tracked connections
 * that are forgotten, or lose marks.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import type { Family } from "../engine/ip.ts";
import { Errno, errnoText } from "./errno.ts";
import { Kept } from "./kept.ts";
import {
  connectionKey,
  ConntrackMessage,
  flowQuestion,
  isOfFlow,
  type PortFlow,
  readConntrack,
  writeConntrack,
} from "./netlink/conntrack.ts";
import {
  messageType,
  NETLINK_NETFILTER,
  NfProto,
  NftMessage,
  type NftObject,
  nftQuestion,
  readNftCounter,
  Subsystem,
  writeNftCounters,
  writeNftObject,
} from "./netlink/netfilter.ts";
import { NetlinkSocket } from "./netlink/socket.ts";
import { keepNftContext } from "./nft.ts";

export type { NftObject } from "./netlink/netfilter.ts";

/** `IPPROTO_UDP`, linux/in.h. */
const UDP = 17;

const kept = new Kept<NetlinkSocket>();

/** Keeps what is open of netfilter in the calling thread's namespace: for a process that lives long. */
export function keepNetfilter(): void {
  kept.keep();
  keepNftContext();
}

/** Netfilter of the calling thread's network namespace, as it was when this was made. */
export class Netfilter implements Disposable {
  readonly #stack = new DisposableStack();
  readonly #socket: NetlinkSocket;

  /** @throws {OpError} when the socket cannot be made. */
  constructor() {
    const make = (): NetlinkSocket => new NetlinkSocket(NETLINK_NETFILTER);
    this.#socket = kept.get(make) ?? this.#stack.use(make());
  }

  /**
   * Whether nf_tables holds any of these. A kernel that answers anything but "yes" holds none.
   *
   * @throws {OpError} when the socket fails.
   */
  holdsAny(objects: readonly NftObject[]): boolean {
    const answers = this.#socket.request(objects.map((object) => ({
      type: nftQuestion(object),
      flags: 0,
      question: true,
      body: (out) => writeNftObject(out, object),
    })));
    return answers.some(({ errno }) => errno === 0);
  }

  /**
   * Forgets the UDP connections that were opened to a port, so that their next packet is looked at
   * by the rules of now.
   *
   * @returns How many there were.
   * @throws {OpError} when connections cannot be listed or deleted.
   */
  forgetUdp(family: Family, port: number): number {
    const flow: PortFlow = {
      family: family === 4 ? NfProto.IPV4 : NfProto.IPV6,
      protocol: UDP,
      port,
    };
    const { bodies, errno } = this.#socket.dump({
      type: ConntrackMessage.GET,
      body: (out) => writeConntrack(out, flowQuestion(flow)),
    });
    if (errno !== 0) throw refused("list", `to UDP port ${port}`, errno);
    const found = bodies.map(readConntrack).filter((one) => isOfFlow(one, flow));
    const answers = this.#socket.request(found.map((one) => ({
      type: ConntrackMessage.DELETE,
      flags: 0,
      body: (out) => writeConntrack(out, connectionKey(one)),
    })));
    const failed = answers.find((answer) => answer.errno !== 0 && answer.errno !== Errno.ENOENT);
    if (failed !== undefined) throw refused("delete", `to UDP port ${port}`, failed.errno);
    return found.length;
  }

  /**
   * The named counters of a table: packets by name. Costs the counters only; nft would read the
   * whole table first.
   *
   * @throws {OpError} when the socket fails.
   */
  counters(object: NftObject): ReadonlyMap<string, number> {
    const { bodies, errno } = this.#socket.dump({
      type: messageType(Subsystem.NFTABLES, NftMessage.GETOBJ),
      body: (out) => writeNftCounters(out, object),
    });
    return new Map(errno === 0 ? bodies.map(readNftCounter) : []);
  }

  /**
   * Clears bits of the marks of all connections.
   *
   * @returns How many had any of them.
   * @throws {OpError} when connections cannot be listed or changed.
   */
  clearMarks(mask: number): number {
    const { bodies, errno } = this.#socket.dump({
      type: ConntrackMessage.GET,
      body: (out) => writeConntrack(out, { attributes: {} }),
    });
    if (errno !== 0) throw refused("list", "of all", errno);
    const marked = bodies.map(readConntrack).filter(({ attributes: { mark = 0 } }) =>
      (mark & mask) !== 0
    );
    const answers = this.#socket.request(marked.map((one) => ({
      type: ConntrackMessage.NEW,
      flags: 0,
      body: (out) => {
        const { family, attributes } = connectionKey(one);
        writeConntrack(out, {
          ...(family === undefined ? {} : { family }),
          attributes: { ...attributes, mark: 0, markMask: mask },
        });
      },
    })));
    const failed = answers.find((answer) => answer.errno !== 0 && answer.errno !== Errno.ENOENT);
    if (failed !== undefined) throw refused("change", "with marks", failed.errno);
    return marked.length;
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

function refused(deed: string, which: string, errno: number): OpError {
  return new OpError(`${deed} tracked connections`, which, {
    code: ErrorCode.kernel,
    errno,
    kernel: errnoText(errno),
  });
}
