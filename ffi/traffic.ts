/**
 * Limits on what passes a link, in the calling thread's network namespace: a token bucket at the
 * link's root, and a redirection of all that comes in to another link.
 *
 * A link can only limit what it sends. What it receives is therefore sent through an IFB device,
 * whose only job is to have a queue.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Errno, errnoText } from "./errno.ts";
import { Iff, type LinkMessage, writeLink } from "./netlink/link.ts";
import { type Answer, Flag } from "./netlink/message.ts";
import { NetlinkSocket, type Request } from "./netlink/socket.ts";
import {
  LinkLayer,
  Mirred,
  Parent,
  readTraffic,
  Selector,
  type TrafficMessage,
  TrafficRtm,
  writeTraffic,
} from "./netlink/traffic_control.ts";
import { type Link, readLinkByName, readLinks } from "./reader.ts";
import { Rtm } from "./netlink/rtnetlink.ts";

/** A token bucket, as the kernel counts. */
export interface Bucket {
  /** Bytes per second. */
  readonly rate: number;
  /** Bytes that may wait for tokens; more are dropped. */
  readonly limit: number;
  /** Depth: how long the rate must run to fill it, in ticks of 64 ns. */
  readonly buffer: number;
}

/** A handle's two numbers in one. */
function handle(major: number, minor: number): number {
  return (major << 16 | minor) >>> 0;
}

/** Where the filters of what comes in hang: `ffff:`. */
const INGRESS = handle(0xffff, 0);

/** `ETH_P_ALL`, linux/if_ether.h, in network order, below priority 1. */
const ALL_FIRST = 1 << 16 | 0x0300;

const MAX_U32 = 0xffff_ffff;

/** Errors of a deletion that say "it is already gone". */
const GONE: readonly number[] = [Errno.ENOENT, Errno.ENODEV];

/** The limits of this namespace's links. Links are given by index, as the kernel wants them. */
export class Traffic implements Disposable {
  readonly #socket = new NetlinkSocket();

  /** One link, or undefined. */
  link(name: string): Link | undefined {
    return readLinkByName(this.#socket, name);
  }

  /** All links. */
  links(): Link[] {
    return readLinks(this.#socket);
  }

  /**
   * Makes an IFB device, which is up at once and has no transmit queue of its own.
   *
   * @param alias what it is for.
   * @param mtu bytes.
   * @returns the device.
   * @throws {OpError} when there is a link of that name.
   */
  addIfb(name: string, alias: string, mtu: number): Link {
    const deed = "create IFB device";
    const up = { flags: Iff.UP, change: Iff.UP };
    const attributes = { name, mtu, txQueueLength: 0, info: { kind: "ifb" } };
    this.#must(deed, name, linkRequest(Rtm.NEWLINK, { ...up, attributes }, NEW));
    // The kernel does not take an alias from the message that makes a link.
    this.#must(deed, name, linkRequest(Rtm.NEWLINK, { attributes: { name, alias } }));
    const link = this.link(name);
    if (link !== undefined) return link;
    throw refused(deed, name, { errno: Errno.ENODEV });
  }

  /** Deletes a link; one that is gone is no error. @throws {OpError} */
  deleteLink(name: string): void {
    this.#mustGo("delete link", name, linkRequest(Rtm.DELLINK, { attributes: { name } }));
  }

  /** Limits what a link sends. @throws {OpError} also when the link has a limit already */
  limit({ name, index }: Link, bucket: Bucket): void {
    this.#must("limit the rate of link", name, limitRequest(index, bucket));
  }

  /** Takes the limit away; none is no error. @throws {OpError} */
  unlimit({ name, index }: Link): void {
    this.#mustGo("free link", name, unlimitRequest(index));
  }

  /** The limit of what a link sends; undefined when it has none. @throws {OpError} */
  limitOf({ index }: Link): Bucket | undefined {
    // Asked for one link, many kernels send the answer to a multicast group instead of us.
    const { bodies } = this.#socket.dump(traffic(TrafficRtm.GETQDISC, 0, { index }));
    const root = bodies.map(readTraffic).find((qdisc) =>
      qdisc.index === index && qdisc.parent === Parent.ROOT
    );
    if (root?.tbf === undefined) return undefined;
    const { rate = 0, limit = 0, buffer = 0 } = root.tbf.parameters ?? {};
    return { rate: root.tbf.rate64 ?? rate, limit, buffer };
  }

  /**
   * Makes the place where what a link receives can be looked at.
   *
   * @throws {OpError} also when it is there already.
   */
  addIngress({ name, index }: Link): void {
    this.#must("open the ingress of link", name, ingressRequest("put", index));
  }

  /** Takes that place away, with all that hangs there; none is no error. @throws {OpError} */
  deleteIngress({ name, index }: Link): void {
    this.#mustGo("close the ingress of link", name, ingressRequest("delete", index));
  }

  /** Sends all that a link receives out by another one. @throws {OpError} */
  redirect({ name, index }: Link, to: Link): void {
    const deed = `redirect to ${to.name} what comes in by link`;
    this.#must(deed, name, redirectRequest(index, to.index));
  }

  /** Indexes of the links that get what this one receives. @throws {OpError} */
  redirectionsOf({ index }: Link): readonly number[] {
    const message = { index, parent: INGRESS };
    const { bodies } = this.#socket.dump(traffic(TrafficRtm.GETTFILTER, 0, message));
    return bodies.flatMap((body) =>
      readTraffic(body).u32?.actions?.first?.mirred?.parameters?.target ?? []
    );
  }

  #must(deed: string, object: string, request: Request): void {
    const [answer] = this.#socket.request([request]);
    if (answer !== undefined && answer.errno !== 0) throw refused(deed, object, answer);
  }

  #mustGo(deed: string, object: string, request: Request): void {
    const [answer] = this.#socket.request([request]);
    if (answer === undefined || answer.errno === 0 || GONE.includes(answer.errno)) return;
    throw refused(deed, object, answer);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}

/** Something new; an error when it is there. */
const NEW = Flag.CREATE | Flag.EXCL;

function linkRequest(type: number, message: LinkMessage, flags = 0): Request {
  return { type, flags, body: (out) => writeLink(out, message) };
}

function traffic(type: number, flags: number, message: TrafficMessage): Request {
  return { type, flags, body: (out) => writeTraffic(out, message) };
}

/** Makes a token bucket at the root of a link, handle `1:`. */
export function limitRequest(index: number, { rate, limit, buffer }: Bucket): Request {
  const parameters = {
    linkLayer: LinkLayer.ETHERNET,
    rate: Math.min(rate, MAX_U32),
    limit,
    buffer,
  };
  return traffic(TrafficRtm.NEWQDISC, NEW, {
    index,
    handle: handle(1, 0),
    parent: Parent.ROOT,
    kind: "tbf",
    tbf: { parameters, ...(rate > MAX_U32 ? { rate64: rate } : {}) },
  });
}

/** Deletes whatever is at the root of a link. */
export function unlimitRequest(index: number): Request {
  return traffic(TrafficRtm.DELQDISC, 0, { index, parent: Parent.ROOT });
}

/** Makes or deletes the ingress of a link, handle `ffff:`. */
export function ingressRequest(op: "put" | "delete", index: number): Request {
  const message = { index, handle: INGRESS, parent: Parent.INGRESS, kind: "ingress" };
  return op === "put"
    ? traffic(TrafficRtm.NEWQDISC, NEW, message)
    : traffic(TrafficRtm.DELQDISC, 0, message);
}

/** Makes a filter that any packet matches, whose action takes it to the egress of another link. */
export function redirectRequest(index: number, target: number): Request {
  const parameters = {
    action: Mirred.TC_ACT_STOLEN,
    direction: Mirred.TCA_EGRESS_REDIR,
    target,
  };
  return traffic(TrafficRtm.NEWTFILTER, NEW, {
    index,
    parent: INGRESS,
    info: ALL_FIRST,
    kind: "u32",
    u32: {
      actions: { first: { kind: "mirred", mirred: { parameters } } },
      selection: { selector: { flags: Selector.TERMINAL, keys: 1 }, key: {} },
    },
  });
}

function refused(deed: string, object: string, { errno, words }: Answer): OpError {
  return new OpError(deed, object, {
    code: ErrorCode.kernel,
    errno,
    kernel: words ?? errnoText(errno),
  });
}
