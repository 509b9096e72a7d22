/**
 * Numbers of namespaces on the wire: `struct rtgenmsg` and `NETNSA_*` (linux/net_namespace.h).
 *
 * A link whose other end is in another namespace names that by a number of its own namespace
 * (`IFLA_LINK_NETNSID`); which one it is can only be asked with an open descriptor.
 *
 * @module
 */

import { Fd } from "../netns.ts";
import {
  readAttributes,
  s32,
  type Struct,
  u32,
  u8,
  writeAttributes,
  writeStruct,
} from "./codec.ts";
import { NetlinkSocket } from "./socket.ts";

/** `RTM_GETNSID`, linux/rtnetlink.h. */
export const RTM_GETNSID = 90;

/** `struct rtgenmsg`, with the bytes that align what follows. */
export const RTGENMSG = {
  size: 4,
  members: { family: { at: 0, as: u8 } },
} as const satisfies Struct;

/** `NETNSA_*`. */
export const NAMESPACE_ID = {
  /** -1 when no link has needed a number yet. */
  id: { type: 1, as: s32 },
  fd: { type: 3, as: u32 },
} as const;

/** Asks for the numbers that the calling thread's namespace has for others. */
export class NamespaceIds implements Disposable {
  readonly #socket = new NetlinkSocket();

  /**
   * The number of a namespace; undefined when it has none, so no link leads there.
   *
   * @throws {OpError} when the path cannot be opened.
   */
  of(path: string): number | undefined {
    using fd = new Fd(path);
    const [answer] = this.#socket.request([{
      type: RTM_GETNSID,
      flags: 0,
      question: true,
      body: (out) => {
        writeStruct(out, RTGENMSG, {});
        writeAttributes(out, NAMESPACE_ID, { fd: fd.number });
      },
    }]);
    const body = answer?.body;
    if (body === undefined) return undefined;
    const { id = -1 } = readAttributes(NAMESPACE_ID, body.subarray(RTGENMSG.size));
    return id < 0 ? undefined : id;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
