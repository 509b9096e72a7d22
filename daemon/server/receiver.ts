/**
 * Collects one request from a connection, as its bytes come.
 *
 * @module
 */

import type { Poller } from "../../ffi/poll.ts";
import type { Connection } from "../../ffi/unix_socket.ts";
import { type ClientRequest, parsePrefix, parseRequest, PREFIX_BYTES } from "./protocol.ts";

/** Bytes for a first look: most requests are smaller. */
const FIRST = 16 << 10;

/** What is done with a request; undefined: there will be none. Called once. */
export type Taker = (request: ClientRequest | undefined) => void;

/** See the module. The connection stays open. */
export class Receiver {
  readonly #poller: Poller;
  readonly #connection: Connection;
  readonly #patience: number;
  readonly #take: Taker;
  #buffer = new Uint8Array(FIRST);
  #length = 0;
  /** Length of the whole request; undefined until its prefix has come. */
  #whole: number | undefined;
  #header = 0;
  #ended = false;
  #watch: Disposable | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param patience ms until a request that is not whole is given up. */
  constructor(poller: Poller, connection: Connection, patience: number, take: Taker) {
    this.#poller = poller;
    this.#connection = connection;
    this.#patience = patience;
    this.#take = take;
  }

  /** Reads what is there; waits for more when that is not all. */
  look(): void {
    while (!this.#ended) {
      const n = this.#connection.receive(this.#buffer.subarray(this.#length, this.#whole));
      if (n === undefined) {
        this.#wait();
        return;
      }
      this.#length += n;
      if (n === 0 || !this.#measure()) this.giveUp();
      else if (this.#length === this.#whole) this.#finish();
    }
  }

  /** There will be no request. */
  giveUp(): void {
    this.#end(undefined);
  }

  #wait(): void {
    this.#watch ??= this.#poller.watch(this.#connection.fd, () => this.look());
    this.#timer ??= setTimeout(() => this.giveUp(), this.#patience);
  }

  /** Makes room as soon as the lengths are known. False for what is no request. */
  #measure(): boolean {
    if (this.#whole === undefined && this.#length >= PREFIX_BYTES) {
      const prefix = parsePrefix(this.#buffer);
      if (prefix === undefined) return false;
      this.#header = prefix.header;
      this.#whole = PREFIX_BYTES + prefix.header + prefix.stdin;
      if (this.#whole > this.#buffer.length) {
        const larger = new Uint8Array(this.#whole);
        larger.set(this.#buffer.subarray(0, this.#length));
        this.#buffer = larger;
      }
    }
    return this.#whole === undefined || this.#length <= this.#whole;
  }

  #finish(): void {
    const border = PREFIX_BYTES + this.#header;
    const header = this.#buffer.subarray(PREFIX_BYTES, border);
    this.#end(parseRequest(header, this.#buffer.slice(border, this.#whole)));
  }

  #end(request: ClientRequest | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#watch?.[Symbol.dispose]();
    clearTimeout(this.#timer);
    this.#take(request);
  }
}
