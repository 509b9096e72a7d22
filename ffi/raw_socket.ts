/**
 * Sockets that carry packets as they are: ICMP for echo requests, and AF_PACKET to see what arrives
 * on a link. Descriptors never block. Both need CAP_NET_RAW.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { errnoText } from "./errno.ts";
import { errno, libc } from "./libc.ts";

/** sys/socket.h */
const SYMBOLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int fd, const struct sockaddr *address, socklen_t size)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // ssize_t recv(int fd, void *buf, size_t n, int flags)
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i64" },
  // ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *, socklen_t)
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i64" },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

let opened: Library["symbols"] | undefined;

function symbols(): Library["symbols"] {
  return opened ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** `SOCK_NONBLOCK | SOCK_CLOEXEC`. */
const QUIET = 0o4000 | 0o2000000;

/** One socket; closed when disposed. */
export class RawSocket implements Disposable {
  #fd: number;
  readonly #what: string;

  /**
   * @param type `SOCK_RAW` (3), `SOCK_DGRAM` (2).
   * @param what for messages: `an ICMP socket`.
   * @throws {OpError} when the kernel refuses, with what to do.
   */
  constructor(domain: number, type: number, protocol: number, what: string) {
    this.#what = what;
    this.#fd = symbols().socket(domain, type | QUIET, protocol);
    if (this.#fd >= 0) return;
    const code = errno();
    throw new OpError("open", what, {
      code: ErrorCode.kernel,
      errno: code,
      kernel: errnoText(code),
      advice: "Run as root (CAP_NET_RAW)",
    });
  }

  /** The descriptor, for a poll. */
  get fd(): number {
    return this.#fd;
  }

  /** Sets an option. @throws {OpError} */
  option(level: number, name: number, value: Uint8Array<ArrayBuffer>): void {
    if (libc().setsockopt(this.#fd, level, name, value, value.length) !== 0) {
      throw this.#failure(`set option ${level}/${name} of`);
    }
  }

  /** Binds it. @param address a `struct sockaddr`. @throws {OpError} */
  bind(address: Uint8Array<ArrayBuffer>): void {
    if (symbols().bind(this.#fd, address, address.length) !== 0) throw this.#failure("bind");
  }

  /** Sends one packet. @returns 0, or the kernel's error number */
  send(packet: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): number {
    const sent = symbols().sendto(this.#fd, packet, BigInt(packet.length), 0, to, to.length);
    return Number(sent) < 0 ? errno() : 0;
  }

  /** The length of the next packet, which is put into the buffer; undefined when there is none. */
  receive(into: Uint8Array<ArrayBuffer>): number | undefined {
    const n = Number(symbols().recv(this.#fd, into, BigInt(into.length), 0));
    // An error is one about an earlier packet, or says that there is none: the next look tells.
    return n >= 0 ? n : undefined;
  }

  #failure(deed: string): OpError {
    const code = errno();
    return new OpError(deed, this.#what, {
      code: ErrorCode.kernel,
      errno: code,
      kernel: errnoText(code),
    });
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }
}

/** `AF_INET`, `AF_INET6`; sys/socket.h. */
export const Domain = { INET: 2, INET6: 10, PACKET: 17 } as const;
