/**
 * One netlink socket: requests in batches, each answered by its own acknowledgement; dumps that
 * are read again when the kernel says they were interrupted; multicast groups.
 *
 * libnl makes the socket and sends; what comes is received into one buffer for all sockets, since
 * libnl would look at each datagram twice. What the bytes mean is decided by our tables.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { Errno, errnoText } from "../errno.ts";
import { errno, libc } from "../libc.ts";
import { libnl, libnlOffThread, nlText } from "../libnl.ts";
import { Writer } from "./codec.ts";
import {
  type Answer,
  collect,
  Control,
  Flag,
  type Message,
  messages,
  readAnswer,
  writeMessage,
} from "./message.ts";

/** Socket options: levels and names of `setsockopt(2)`; asm-generic/socket.h, linux/netlink.h. */
export const SocketOption = {
  SOL_SOCKET: 1,
  SO_RCVTIMEO: 20,
  SO_ATTACH_FILTER: 26,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SOL_NETLINK: 270,
  NETLINK_CAP_ACK: 10,
  NETLINK_EXT_ACK: 11,
  NETLINK_GET_STRICT_CHK: 12,
} as const;

/** Short acknowledgements, with the kernel's own words; dumps that filter as they are told. */
const SWITCHED_ON = [
  SocketOption.NETLINK_CAP_ACK,
  SocketOption.NETLINK_EXT_ACK,
  SocketOption.NETLINK_GET_STRICT_CHK,
] as const;

/** `NETLINK_ROUTE`, linux/netlink.h. */
const NETLINK_ROUTE = 0;

/** Receive buffer, bytes: acknowledgements of a whole batch, and bursts of events, fit in. */
const RECEIVE_BUFFER = 4 << 20;

/** How long the kernel may take to answer one request, seconds; it answers at once or is stuck. */
const PATIENCE_SECONDS = 10;

/** Messages in one send: all refused with words, they still fit a default receive buffer. */
const BATCH_MESSAGES = 64;

/** Bytes in one send: below the default send buffer (212,992). */
const BATCH_BYTES = 64 << 10;

/** Bytes of the largest datagram that is expected: the kernel fills dumps up to 32 KiB. */
const LARGEST_DATAGRAM = 64 << 10;

/** `MSG_TRUNC`, sys/socket.h: tell a datagram's whole length. */
const MSG_TRUNC = 0x20;

/** Size of `struct sockaddr_nl`, and where its `nl_pid` stands. */
const SENDER = { size: 12, portAt: 4 } as const;

/** What is received lies here until it is copied, at once. Made by the first socket. */
let incoming: Uint8Array<ArrayBuffer> | undefined;

/** How often an interrupted dump is read again before we give up. */
const DUMP_TRIES = 5;

/** The socket's receive queue overran, or a dump kept changing: what we know is out of date. */
export class Overrun extends Error {
  override readonly name = "Overrun";
}

/** One request: the message's type and flags beyond REQUEST, and its body. */
export interface Request {
  readonly type: number;
  readonly flags: number;
  /** It asks for one object: the answer is that object, and no acknowledgement. */
  readonly question?: true;
  /** Appends what follows the netlink header. */
  readonly body: (out: Writer) => void;
}

/** What one request brought. */
export interface Reply extends Answer {
  /** The object that a question asked for. */
  readonly body?: Uint8Array;
}

/** Threads of Deno's pool that may wait for the kernel; it needs the others for files and names. */
const MOST_SLOW = 4;

let slow = 0;
const waiting: (() => void)[] = [];

/** Does the work when fewer than {@link MOST_SLOW} are at it. */
async function fewAtOnce<T>(work: () => Promise<T>): Promise<T> {
  if (slow >= MOST_SLOW) await new Promise<void>((resolve) => waiting.push(resolve));
  else slow++;
  try {
    return await work();
  } finally {
    // The next one takes over this very place.
    const next = waiting.shift();
    if (next === undefined) slow--;
    else next();
  }
}

/** A connected netlink socket. It stays in the network namespace it was made in. */
export class NetlinkSocket implements Disposable {
  #socket: Deno.PointerValue;
  /** The descriptor, for the daemon's poll. */
  readonly fd: number;
  readonly #out = new Writer();
  readonly #sender = new Uint8Array(SENDER.size);
  readonly #senderSize = new Uint8Array([SENDER.size, 0, 0, 0]);
  #sequence = 0;
  #port = 0;
  /** Bytes that one send may have. */
  #room = BATCH_BYTES;

  /**
   * @param protocol `NETLINK_*`; the default is rtnetlink.
   * @throws {OpError} when the socket cannot be made.
   */
  constructor(protocol: number = NETLINK_ROUTE) {
    const nl = libnl();
    this.#socket = nl.nl_socket_alloc();
    if (this.#socket === null) throw failure("allocate", "netlink socket", "out of memory");
    using undo = new DisposableStack();
    undo.use(this);
    const connected = nl.nl_connect(this.#socket, protocol);
    if (connected < 0) throw failure("connect netlink socket", `${protocol}`, nlText(connected));
    this.fd = nl.nl_socket_get_fd(this.#socket);
    const time = new BigInt64Array([BigInt(PATIENCE_SECONDS), 0n]);
    this.#option(SocketOption.SOL_SOCKET, SocketOption.SO_RCVTIMEO, time);
    for (const name of SWITCHED_ON) {
      this.#option(SocketOption.SOL_NETLINK, name, new Int32Array([1]));
    }
    undo.move();
  }

  /** Makes room for the answers to large batches. Needs CAP_NET_ADMIN, as our changes do. */
  enlarge(): void {
    const size = new Int32Array([RECEIVE_BUFFER]);
    this.#option(SocketOption.SOL_SOCKET, SocketOption.SO_RCVBUFFORCE, size);
  }

  #option(level: number, name: number, value: ArrayBufferView<ArrayBuffer>): void {
    const bytes = new Uint8Array(value.buffer);
    if (libc().setsockopt(this.fd, level, name, bytes, bytes.length) !== 0) {
      const code = errno();
      throw failure("set netlink option", `${level}/${name}`, errnoText(code), code);
    }
  }

  /** Our address as the kernel writes it into what our requests cause; 0 before its first answer. */
  get port(): number {
    return this.#port;
  }

  /** Joins a multicast group (`RTNLGRP_*`). @throws {OpError} */
  join(group: number): void {
    const result = libnl().nl_socket_add_membership(this.#socket, group);
    if (result < 0) throw failure("join netlink group", `${group}`, nlText(result));
  }

  /**
   * Lets the kernel drop what a program of classic BPF does not accept, instead of queueing it.
   *
   * @param program an array of `struct sock_filter`.
   * @throws {OpError} when the kernel does not take it; then everything is queued as before.
   */
  filter(program: Uint8Array<ArrayBuffer>): void {
    // struct sock_fprog: the number of instructions, and where they are.
    const fprog = new DataView(new ArrayBuffer(16));
    fprog.setUint16(0, program.length / 8, true);
    const at = Deno.UnsafePointer.value(Deno.UnsafePointer.of(program));
    fprog.setBigUint64(8, BigInt(at), true);
    this.#option(SocketOption.SOL_SOCKET, SocketOption.SO_ATTACH_FILTER, fprog);
  }

  /**
   * Sends requests and waits for the answer to each. The kernel works on them one after the other,
   * so that a question may ask for what the request before it has made.
   *
   * @returns One answer for each request, in their order.
   * @throws {OpError} when the socket itself fails; {@link Overrun} when answers were lost.
   */
  request(requests: readonly Request[]): Reply[] {
    const answers: Reply[] = [];
    for (let at = 0; at < requests.length;) {
      const first = this.#sequence + 1;
      this.#out.clear();
      let count = 0;
      for (; at + count < requests.length && count < BATCH_MESSAGES; count++) {
        if (this.#out.length > BATCH_BYTES) break;
        const request = requests[at + count] as Request;
        this.#write(request, request.question === true ? 0 : Flag.ACK);
      }
      this.#send();
      answers.push(...this.#answers(first, requests.slice(at, at + count)));
      at += count;
    }
    return answers;
  }

  /**
   * As {@link NetlinkSocket.request} for one request that takes the kernel long: it works while the
   * request is being sent, and that happens on another thread. Nothing else may be asked of this
   * socket meanwhile.
   *
   * @throws as {@link NetlinkSocket.request}.
   */
  async requestSlow(request: Request): Promise<Answer> {
    this.#out.clear();
    this.#write(request, Flag.ACK);
    const bytes = this.#out.bytes();
    const socket = this.#socket;
    const { nl_sendto } = libnlOffThread();
    const sent = await fewAtOnce(() => nl_sendto(socket, bytes, BigInt(bytes.length)));
    if (sent < 0) throw failure("send", "netlink request", nlText(sent));
    const [answer] = this.#answers(this.#sequence, [request]);
    return answer as Answer;
  }

  /**
   * Sends requests as one transaction of netfilter: all of them take effect, or none.
   *
   * @param batch types and body of the messages around them.
   * @returns What was refused, the first of it; errno 0 when nothing was.
   * @throws as {@link NetlinkSocket.request}.
   */
  transaction(
    requests: readonly Request[],
    batch: { readonly begin: number; readonly end: number; readonly body: (out: Writer) => void },
  ): Answer {
    const first = this.#sequence + 1;
    this.#out.clear();
    this.#write({ type: batch.begin, flags: 0, body: batch.body }, 0);
    // The last one tells when all is done.
    requests.forEach((request, i) =>
      this.#write(request, i === requests.length - 1 ? Flag.ACK : 0)
    );
    const last = this.#sequence;
    this.#write({ type: batch.end, flags: 0, body: batch.body }, 0);
    const { length } = this.#out;
    if (length > this.#room) {
      this.#room = 2 * length;
      const size = new Int32Array([this.#room]);
      this.#option(SocketOption.SOL_SOCKET, SocketOption.SO_SNDBUFFORCE, size);
    }
    this.#send();
    return this.#outcome(first, last);
  }

  /** The first refusal of a transaction, whose last request is answered in any case. */
  #outcome(first: number, last: number): Answer {
    let refusal: Answer | undefined;
    for (;;) {
      for (const message of this.receive()) {
        const isOurs = message.sequence >= first && message.sequence <= last;
        if (!isOurs || message.type !== Control.ERROR) continue;
        const answer = readAnswer(message);
        if (answer.errno !== 0) refusal ??= answer;
        // A transaction that fails as a whole is refused by its first message.
        const isEnd = message.sequence === last || message.sequence === first;
        if (isEnd) return refusal ?? answer;
      }
    }
  }

  #write(request: Request, flags: number): void {
    this.#sequence = (this.#sequence + 1) >>> 0;
    const { type, body } = request;
    writeMessage(
      this.#out,
      { type, flags: Flag.REQUEST | flags | request.flags, sequence: this.#sequence },
      () => body(this.#out),
    );
  }

  #send(): void {
    const bytes = this.#out.bytes();
    const sent = libnl().nl_sendto(this.#socket, bytes, BigInt(bytes.length));
    if (sent < 0) throw failure("send", "netlink request", nlText(sent));
  }

  /** @param asked the requests, whose first has the sequence number `first`. */
  #answers(first: number, asked: readonly Request[]): Reply[] {
    const answers = new Array<Reply>(asked.length);
    for (let missing = asked.length; missing > 0;) {
      for (const message of this.receive()) {
        const index = message.sequence - first;
        const request = asked[index];
        this.#port = message.port;
        if (request === undefined) continue;
        const isAnswer = message.type === Control.ERROR;
        // Requests that are acknowledged may also tell what they did.
        if (!isAnswer && request.question !== true) continue;
        if (answers[index] === undefined) missing--;
        answers[index] = isAnswer ? readAnswer(message) : { errno: 0, body: message.body };
      }
    }
    return answers;
  }

  /**
   * Asks for a list.
   *
   * @returns The bodies of the answers; for a refusal, the error number and words.
   * @throws {OpError} when the socket itself fails; {@link Overrun} when the list kept changing.
   */
  dump(request: Omit<Request, "flags">): { readonly bodies: readonly Uint8Array[] } & Answer {
    for (let tries = 0; tries < DUMP_TRIES; tries++) {
      this.#out.clear();
      this.#write({ ...request, flags: Flag.DUMP }, 0);
      this.#send();
      const answer = collect(() => this.receive(), this.#sequence);
      if (!answer.interrupted) return answer;
    }
    throw new Overrun(`the kernel's list changed under ${DUMP_TRIES} readings`);
  }

  /**
   * Waits for the next datagram; its messages own their bytes.
   *
   * @throws {OpError} when nothing came in time or the socket failed; {@link Overrun} when the
   * receive queue overran: list again.
   */
  receive(): Message[] {
    const found = this.poll();
    if (found !== undefined) return found;
    throw failure("receive", "netlink answer", `none within ${PATIENCE_SECONDS} s`);
  }

  /**
   * The next datagram, or undefined when there is none: at once on a socket that does not block,
   * else after the time limit.
   *
   * @throws as {@link NetlinkSocket.receive}, but for the time limit.
   */
  poll(): Message[] | undefined {
    incoming ??= new Uint8Array(LARGEST_DATAGRAM);
    const { recvfrom } = libc();
    const [room, flags] = [BigInt(incoming.length), MSG_TRUNC];
    for (;;) {
      const size = Number(
        recvfrom(this.fd, incoming, room, flags, this.#sender, this.#senderSize),
      );
      if (size < 0) {
        const code = errno();
        if (code === Errno.EINTR) continue;
        if (code === Errno.EAGAIN) return undefined;
        if (code === Errno.ENOBUFS) throw new Overrun("the netlink receive queue overran");
        throw failure("receive", "netlink answer", errnoText(code), code);
      }
      if (size > incoming.length) throw new Overrun(`a netlink datagram of ${size} bytes was cut`);
      // Only the kernel's word counts.
      const fromKernel = this.#sender.subarray(SENDER.portAt, SENDER.portAt + 4)
        .every((byte) => byte === 0);
      return fromKernel ? [...messages(incoming.slice(0, size))] : [];
    }
  }

  [Symbol.dispose](): void {
    if (this.#socket !== null) libnl().nl_socket_free(this.#socket);
    this.#socket = null;
  }
}

function failure(deed: string, object: string, kernel: string, code?: number): OpError {
  return new OpError(deed, object, { code: ErrorCode.kernel, kernel, errno: code });
}
