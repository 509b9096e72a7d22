/**
 * Changes of nftables: each transaction of the calling thread's network namespace with the tables
 * that it touched.
 *
 * @module
 */

import { OpError } from "../engine/errors.ts";
import { attributes, text } from "./netlink/codec.ts";
import type { Message } from "./netlink/message.ts";
import { NETLINK_NETFILTER, NfProto, Subsystem } from "./netlink/netfilter.ts";
import { NetlinkSocket, Overrun } from "./netlink/socket.ts";
import type { Poller } from "./poll.ts";

/** `NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h. */
const NFNLGRP_NFTABLES = 7;
/** `NFT_MSG_NEWGEN`: ends each transaction. */
const NFT_MSG_NEWGEN = 15;
/** The table's name is attribute 1 of every nftables object. */
const NFTA_TABLE = 1;
/** `struct nfgenmsg`, 4 bytes; the family is its first. */
const NFGENMSG_SIZE = 4;

/** sys/socket.h. */
const SYMBOLS = {
  // int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `SOL_NETLINK`, `NETLINK_DROP_MEMBERSHIP`: linux/socket.h, linux/netlink.h. */
const SOL_NETLINK = 270;
const NETLINK_DROP_MEMBERSHIP = 2;

/** Hears transactions until disposed. */
export class NftEvents implements Disposable {
  readonly #c = Deno.dlopen("libc.so.6", SYMBOLS);
  readonly #socket: NetlinkSocket;
  readonly #stack: DisposableStack;
  readonly #hear: (tables: ReadonlySet<string> | undefined) => void;
  #tables = new Set<string>();

  /**
   * @param hear called for each transaction with the names of its tables of the family `inet`; with
   * undefined when some were lost.
   * @throws {OpError} when the socket cannot be made or the group not joined.
   */
  constructor(poller: Poller, hear: (tables: ReadonlySet<string> | undefined) => void) {
    this.#hear = hear;
    using undo = new DisposableStack();
    undo.defer(() => this.#c.close());
    this.#socket = undo.use(new NetlinkSocket(NETLINK_NETFILTER));
    this.#socket.enlarge();
    this.#socket.join(NFNLGRP_NFTABLES);
    undo.use(poller.watch(this.#socket.fd, () => this.drain()));
    this.#stack = undo.move();
  }

  /**
   * Does something unheard. The socket stays: when one of netfilter's is closed, the kernel waits
   * until all that was deleted is gone (a grace period, some 16 ms).
   */
  async unheard<T>(work: () => Promise<T>): Promise<T> {
    this.drain();
    const group = new Uint8Array(Uint32Array.of(NFNLGRP_NFTABLES).buffer);
    const { setsockopt } = this.#c.symbols;
    setsockopt(this.#socket.fd, SOL_NETLINK, NETLINK_DROP_MEMBERSHIP, group, group.length);
    try {
      return await work();
    } finally {
      this.#socket.join(NFNLGRP_NFTABLES);
    }
  }

  /** Hears all that has happened until now, without waiting. */
  drain(): void {
    try {
      for (let heard = this.#socket.poll(); heard !== undefined; heard = this.#socket.poll()) {
        for (const message of heard) this.#take(message);
      }
    } catch (e) {
      if (!(e instanceof Overrun || e instanceof OpError)) throw e;
      this.#tables = new Set();
      this.#hear(undefined);
    }
  }

  #take({ type, body }: Message): void {
    if (type >> 8 !== Subsystem.NFTABLES) return;
    if ((type & 0xff) === NFT_MSG_NEWGEN) {
      const tables = this.#tables;
      this.#tables = new Set();
      this.#hear(tables);
      return;
    }
    if (body[0] !== NfProto.INET) return;
    for (const [number, payload] of attributes(body.subarray(NFGENMSG_SIZE))) {
      if (number === NFTA_TABLE) this.#tables.add(text.read(payload));
    }
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
