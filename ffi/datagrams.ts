/**
 * Many datagrams in one call: `sendmmsg` and `recvmmsg` over memory that is made once. Packets are
 * where the caller put them, and are told where the kernel put them; nothing is copied here.
 *
 * Where the kernel can, several datagrams of one size to one peer travel as one through its own
 * layers (`UDP_SEGMENT`, `UDP_GRO`, linux/udp.h); on the wire nothing differs.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { type Ip4, ipBytes } from "../engine/ip.ts";
import { addressOf } from "./echo.ts";
import { Errno, errnoText } from "./errno.ts";
import { errno, libc } from "./libc.ts";

/** sys/socket.h */
const SYMBOLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int fd, const struct sockaddr *address, socklen_t size)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int sendmmsg(int fd, struct mmsghdr *, unsigned n, int flags)
  sendmmsg: { parameters: ["i32", "buffer", "u32", "i32"], result: "i32" },
  // int recvmmsg(int fd, struct mmsghdr *, unsigned n, int flags, struct timespec *)
  recvmmsg: { parameters: ["i32", "buffer", "u32", "i32", "pointer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

let opened: Library["symbols"] | undefined;

function symbols(): Library["symbols"] {
  return opened ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** sys/socket.h, netinet/in.h, linux/udp.h. */
export const DatagramConstant = {
  AF_INET: 2,
  SOCK_DGRAM: 2,
  SOCK_NONBLOCK: 0o4000,
  SOCK_CLOEXEC: 0o2000000,
  SOL_SOCKET: 1,
  SO_SNDBUFFORCE: 32,
  SO_RCVBUFFORCE: 33,
  SOL_UDP: 17,
  UDP_SEGMENT: 103,
  UDP_GRO: 104,
  MSG_TRUNC: 0x20,
  MSG_DONTWAIT: 0x40,
} as const;
const C = DatagramConstant;

/** `struct mmsghdr`, 64-bit: where its members stand, in bytes. */
export const MMSGHDR = {
  size: 64,
  name: 0,
  nameLength: 8,
  vector: 16,
  vectorLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  length: 56,
} as const;

/** `struct iovec`: address and length, 8 bytes each. */
export const IOVEC = { size: 16, length: 8 } as const;

/** `struct cmsghdr` with one number behind it: bytes, and `CMSG_SPACE`. */
export const CONTROL = { size: 24, level: 8, type: 12, data: 16 } as const;
/** `CMSG_LEN` of the 16-bit size of segments. */
export const SEGMENT_LENGTH = 18;

const SOCKADDR = 16;
/** What waits in the kernel while other work has its turn; bytes. */
const BUFFER = 4 << 20;
/** Datagrams and bytes that may travel as one; the kernel's own limits are 64, and 64 KiB. */
const MOST = { datagrams: 64, bytes: 65_000 } as const;

/** Addresses in memory as pairs of 32-bit words, low first: of each place, so many bytes apart. */
function addresses(of: Uint8Array<ArrayBuffer>, count: number, step: number): Uint32Array {
  const start = Deno.UnsafePointer.value(Deno.UnsafePointer.of(of));
  const words = new Uint32Array(count * 2);
  for (let i = 0; i < count; i++) {
    const at = BigInt(start) + BigInt(i * step);
    words[2 * i] = Number(at & 0xffff_ffffn);
    words[2 * i + 1] = Number(at >> 32n);
  }
  return words;
}

/** Memory for packets, one slot each, and the vectors that tell where they lie. */
class Slots {
  /** One for each packet. */
  readonly views: readonly Uint8Array<ArrayBuffer>[];
  readonly vectors: Uint32Array<ArrayBuffer>;
  readonly vectorsAt: Uint32Array;
  /** Where the vectors point; held, since only the kernel reads it. */
  readonly memory: Uint8Array<ArrayBuffer>;

  constructor(count: number, size: number) {
    this.memory = new Uint8Array(count * size);
    this.views = Array.from(
      { length: count },
      (_, i) => this.memory.subarray(i * size, (i + 1) * size),
    );
    this.vectors = new Uint32Array(count * IOVEC.size / 4);
    const at = addresses(this.memory, count, size);
    for (let i = 0; i < count; i++) {
      this.vectors.set([at[2 * i] ?? 0, at[2 * i + 1] ?? 0, size, 0], i * 4);
    }
    this.vectorsAt = addresses(new Uint8Array(this.vectors.buffer), count, IOVEC.size);
  }
}

/** Word of a message header. */
function word(message: number, at: number): number {
  return (message * MMSGHDR.size + at) / 4;
}

/** Packets that wait to be sent. */
export class Outbox {
  /** Slots; packets go into them from the first on. */
  readonly slots: readonly Uint8Array<ArrayBuffer>[];
  readonly #slots: Slots;
  readonly #targets: Uint32Array<ArrayBuffer>;
  readonly #names: Uint32Array<ArrayBuffer>;
  readonly #controls: Uint32Array<ArrayBuffer>;
  readonly #headers: Uint32Array<ArrayBuffer>;
  /** The headers from each message on. */
  readonly #from: readonly Uint8Array<ArrayBuffer>[];
  /** The first slot of each message. */
  readonly #firsts: number[] = [];
  readonly #port: number;
  #segments = true;

  /** @param size bytes of the largest packet. @param port of all peers. */
  constructor(count: number, size: number, port: number) {
    this.#slots = new Slots(count, size);
    this.slots = this.#slots.views;
    // Network order; AF_INET stands in the low half.
    this.#port = C.AF_INET | ((port >> 8 | (port & 0xff) << 8) << 16);
    this.#targets = new Uint32Array(count);
    this.#names = new Uint32Array(count * SOCKADDR / 4);
    this.#controls = new Uint32Array(count * CONTROL.size / 4);
    this.#headers = new Uint32Array(count * MMSGHDR.size / 4);
    const bytes = new Uint8Array(this.#headers.buffer);
    this.#from = Array.from({ length: count }, (_, i) => bytes.subarray(i * MMSGHDR.size));
    const names = addresses(new Uint8Array(this.#names.buffer), count, SOCKADDR);
    const controls = addresses(new Uint8Array(this.#controls.buffer), count, CONTROL.size);
    for (let i = 0; i < count; i++) {
      this.#headers.set(names.subarray(2 * i, 2 * i + 2), word(i, MMSGHDR.name));
      this.#headers[word(i, MMSGHDR.nameLength)] = SOCKADDR;
      this.#headers.set(controls.subarray(2 * i, 2 * i + 2), word(i, MMSGHDR.control));
    }
  }

  /** The packet in a slot goes to this address. */
  address(slot: number, length: number, target: number): void {
    this.#slots.vectors[slot * 4 + 2] = length;
    this.#targets[slot] = target;
  }

  /** Sends the first `count` slots. @returns how many packets the kernel refused */
  send(fd: number, count: number): number {
    let refused = 0;
    let slot = 0;
    while (slot < count) {
      const messages = this.#pack(slot, count);
      let sent = 0;
      let next = count;
      while (sent < messages) {
        const from = this.#from[sent];
        if (from === undefined) break;
        const { sendmmsg } = symbols();
        const n = sendmmsg(fd, from, messages - sent, C.MSG_DONTWAIT);
        if (n > 0) {
          sent += n;
          continue;
        }
        const size = (this.#firsts[sent + 1] ?? count) - (this.#firsts[sent] ?? 0);
        const code = errno();
        // A device or a kernel that cannot cut: from now on we send them one by one.
        if (size > 1 && (code === Errno.EINVAL || code === Errno.EIO)) {
          this.#segments = false;
          next = this.#firsts[sent] ?? 0;
          break;
        }
        refused += size;
        sent++;
      }
      slot = next;
    }
    return refused;
  }

  /** Makes messages of the slots from `slot` on. @returns how many */
  #pack(slot: number, count: number): number {
    const { vectors, vectorsAt } = this.#slots;
    let message = 0;
    for (let i = slot; i < count; message++) {
      const length = vectors[i * 4 + 2] ?? 0;
      const target = this.#targets[i] ?? 0;
      let n = 1;
      // Only the last of those that travel as one may be shorter.
      while (
        this.#segments && i + n < count && n < MOST.datagrams && (n + 1) * length <= MOST.bytes &&
        this.#targets[i + n] === target && vectors[(i + n - 1) * 4 + 2] === length &&
        (vectors[(i + n) * 4 + 2] ?? 0) <= length
      ) n++;
      this.#names[message * 4] = this.#port;
      this.#names[message * 4 + 1] = target;
      const headers = this.#headers;
      headers[word(message, MMSGHDR.vector)] = vectorsAt[2 * i] ?? 0;
      headers[word(message, MMSGHDR.vector) + 1] = vectorsAt[2 * i + 1] ?? 0;
      headers[word(message, MMSGHDR.vectorLength)] = n;
      headers[word(message, MMSGHDR.controlLength)] = n === 1 ? 0 : CONTROL.size;
      if (n > 1) {
        const at = message * CONTROL.size / 4;
        this.#controls[at] = SEGMENT_LENGTH;
        this.#controls[at + CONTROL.level / 4] = C.SOL_UDP;
        this.#controls[at + CONTROL.type / 4] = C.UDP_SEGMENT;
        this.#controls[at + CONTROL.data / 4] = length;
      }
      this.#firsts[message] = i;
      i += n;
    }
    this.#firsts.length = message;
    return message;
  }
}

/** `255.0.0.1` as the number that lies in memory in network order. */
export function targetOf(ip: Ip4): number {
  return new DataView(ipBytes(ip).buffer).getUint32(0, true);
}

/** The largest UDP payload there is, and what several of them that came as one may have. */
const LARGEST = 65_536;

/** Packets that have come. */
export class Inbox {
  readonly #slots: Slots;
  readonly #controls: Uint32Array<ArrayBuffer>;
  readonly #headers: Uint32Array<ArrayBuffer>;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #count: number;

  /** @param count messages that one call takes. */
  constructor(count: number) {
    this.#count = count;
    this.#slots = new Slots(count, LARGEST);
    this.#controls = new Uint32Array(count * CONTROL.size / 4);
    this.#headers = new Uint32Array(count * MMSGHDR.size / 4);
    this.#bytes = new Uint8Array(this.#headers.buffer);
    const controls = addresses(new Uint8Array(this.#controls.buffer), count, CONTROL.size);
    for (let i = 0; i < count; i++) {
      const { vectorsAt } = this.#slots;
      this.#headers.set(vectorsAt.subarray(2 * i, 2 * i + 2), word(i, MMSGHDR.vector));
      this.#headers[word(i, MMSGHDR.vectorLength)] = 1;
      this.#headers.set(controls.subarray(2 * i, 2 * i + 2), word(i, MMSGHDR.control));
    }
  }

  /**
   * Takes what has come, and calls with each packet; it lies in our memory until the next call.
   *
   * @returns false when there is nothing more.
   */
  receive(fd: number, each: (packet: Uint8Array<ArrayBuffer>, length: number) => void): boolean {
    const headers = this.#headers;
    for (let i = 0; i < this.#count; i++) {
      headers[word(i, MMSGHDR.controlLength)] = CONTROL.size;
    }
    const n = symbols().recvmmsg(fd, this.#bytes, this.#count, C.MSG_DONTWAIT, null);
    for (let i = 0; i < n; i++) {
      const slot = this.#slots.views[i];
      const cut = ((headers[word(i, MMSGHDR.flags)] ?? 0) & C.MSG_TRUNC) !== 0;
      if (slot === undefined || cut) continue;
      const length = headers[word(i, MMSGHDR.length)] ?? 0;
      const segment = this.#segmentOf(i);
      if (segment === 0 || segment >= length) each(slot, length);
      else {
        for (let at = 0; at < length; at += segment) {
          const end = Math.min(at + segment, length);
          each(slot.subarray(at, end), end - at);
        }
      }
    }
    return n === this.#count;
  }

  /** The size of the datagrams that came as one; 0 when it was one. */
  #segmentOf(message: number): number {
    const told = this.#headers[word(message, MMSGHDR.controlLength)] ?? 0;
    const at = message * CONTROL.size / 4;
    const isSegment = told > 0 && this.#controls[at + CONTROL.level / 4] === C.SOL_UDP &&
      this.#controls[at + CONTROL.type / 4] === C.UDP_GRO;
    return isSegment ? this.#controls[at + CONTROL.data / 4] ?? 0 : 0;
  }
}

/** A UDP socket that never blocks; closed when disposed. */
export class DatagramSocket implements Disposable {
  #fd: number;

  /** @throws {OpError} when the address is not this node's, or the port is taken. */
  constructor(address: Ip4, port: number) {
    const { socket, bind } = symbols();
    const object = `UDP ${address}:${port}`;
    this.#fd = must(
      "open",
      object,
      socket(C.AF_INET, C.SOCK_DGRAM | C.SOCK_NONBLOCK | C.SOCK_CLOEXEC, 0),
    );
    using undo = new DisposableStack();
    undo.defer(() => this[Symbol.dispose]());
    const name = addressOf(address, port);
    must("listen on", object, bind(this.#fd, name, name.length));
    // Where the kernel refuses these, everything works, more slowly.
    for (const option of [C.SO_SNDBUFFORCE, C.SO_RCVBUFFORCE]) {
      this.#option(C.SOL_SOCKET, option, BUFFER);
    }
    this.#option(C.SOL_UDP, C.UDP_GRO, 1);
    undo.move();
  }

  #option(level: number, name: number, value: number): void {
    const bytes = new Uint8Array(Int32Array.of(value).buffer);
    libc().setsockopt(this.#fd, level, name, bytes, bytes.length);
  }

  /** The descriptor, for a poll and the boxes; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }
}

function must(deed: string, object: string, result: number): number {
  if (result >= 0) return result;
  const code = errno();
  throw new OpError(deed, object, {
    code: ErrorCode.kernel,
    errno: code,
    kernel: errnoText(code),
    advice: "See who uses the port (ss -lunp), or set Backend.Port for all nodes",
  });
}
