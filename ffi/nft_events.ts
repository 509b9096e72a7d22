/**
 * Who changes nftables: each transaction of the calling thread's network namespace with the tables
 * that it touched and the process that ran it, which events of single rules do not tell.
 *
 * @module
 */

import { OpError } from "../engine/errors.ts";
import { attributes, be32, text } from "./netlink/codec.ts";
import type { Message } from "./netlink/message.ts";
import { NETLINK_NETFILTER, NfProto, Subsystem } from "./netlink/netfilter.ts";
import { NetlinkSocket, Overrun } from "./netlink/socket.ts";
import type { Poller } from "./poll.ts";

/** One transaction. */
export interface NftTransaction {
  /** Tables of the family `inet` in it, without the family. */
  readonly tables: ReadonlySet<string>;
  /** The thread that ran it, as the first pid namespace counts. */
  readonly pid: number;
}

/** `NFNLGRP_NFTABLES`, linux/netfilter/nfnetlink.h. */
const NFNLGRP_NFTABLES = 7;
/** `NFT_MSG_NEWGEN`: ends each transaction. */
const NFT_MSG_NEWGEN = 15;
/** `NFTA_GEN_PROC_PID`, linux/netfilter/nf_tables.h. */
const NFTA_GEN_PROC_PID = 2;
/** The table's name is attribute 1 of every nftables object. */
const NFTA_TABLE = 1;
/** `struct nfgenmsg`, 4 bytes; the family is its first. */
const NFGENMSG_SIZE = 4;

/** Hears transactions until disposed. */
export class NftEvents implements Disposable {
  readonly #socket: NetlinkSocket;
  readonly #stack: DisposableStack;
  readonly #hear: (transaction: NftTransaction | undefined) => void;
  #tables = new Set<string>();

  /**
   * @param hear called for each transaction; with undefined when some were lost.
   * @throws {OpError} when the socket cannot be made or the group not joined.
   */
  constructor(poller: Poller, hear: (transaction: NftTransaction | undefined) => void) {
    this.#hear = hear;
    using undo = new DisposableStack();
    this.#socket = undo.use(new NetlinkSocket(NETLINK_NETFILTER));
    this.#socket.enlarge();
    this.#socket.join(NFNLGRP_NFTABLES);
    undo.use(poller.watch(this.#socket.fd, () => this.drain()));
    this.#stack = undo.move();
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
    const found = attributes(body.subarray(NFGENMSG_SIZE));
    if ((type & 0xff) !== NFT_MSG_NEWGEN) {
      if (body[0] !== NfProto.INET) return;
      for (const [number, payload] of found) {
        if (number === NFTA_TABLE) this.#tables.add(text.read(payload));
      }
      return;
    }
    const tables = this.#tables;
    this.#tables = new Set();
    for (const [number, payload] of found) {
      if (number === NFTA_GEN_PROC_PID) this.#hear({ tables, pid: be32.read(payload) });
    }
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}
