/**
 * A listening unix socket whose descriptors the daemon's one poll can wait for. (A connection of
 * Deno's exposes no descriptor, and does not tell who is at its other end.)
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Errno, errnoText } from "./errno.ts";
import { errno } from "./libc.ts";

/** sys/socket.h and unistd.h. */
const SYMBOLS = {
  // int socket(int domain, int type, int protocol)
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int fd, const struct sockaddr *address, socklen_t size)
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  // int listen(int fd, int backlog)
  listen: { parameters: ["i32", "i32"], result: "i32" },
  // int accept4(int fd, struct sockaddr *, socklen_t *, int flags)
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  // int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  // ssize_t recv(int fd, void *buf, size_t n, int flags)
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i64" },
  // ssize_t send(int fd, const void *buf, size_t n, int flags)
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i64" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const AF_UNIX = 1;
/** `SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC`. */
const STREAM = 1 | 0o4000 | 0o2000000;
/** `SOCK_NONBLOCK | SOCK_CLOEXEC`. */
const ACCEPTED = 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const MSG_NOSIGNAL = 0x4000;
/** Connections that wait to be accepted; the kernel's own limit (4,096) stands above it. */
const BACKLOG = 1024;
/** `sizeof(sun_path)`, sys/un.h. */
const LONGEST_PATH = 108;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

let opened: Library["symbols"] | undefined;

function symbols(): Library["symbols"] {
  return opened ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** One accepted connection; it never blocks. */
export class Connection implements Disposable {
  #fd: number;

  /** @param fd what was accepted; closed when this is disposed. */
  constructor(fd: number) {
    this.#fd = fd;
  }

  /** The descriptor, for the poll; -1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** The user at the other end, as it connected; undefined when it cannot be told. */
  peerUid(): number | undefined {
    // struct ucred: pid, uid, gid.
    const [credentials, size] = [new Uint32Array(3), new Uint32Array([12])];
    const bytes = new Uint8Array(credentials.buffer);
    const sizeBytes = new Uint8Array(size.buffer);
    const { getsockopt } = symbols();
    const result = getsockopt(this.#fd, SOL_SOCKET, SO_PEERCRED, bytes, sizeBytes);
    return result === 0 ? credentials[1] : undefined;
  }

  /**
   * Reads what is there.
   *
   * @returns How many bytes: 0 at the end, or when the connection is broken; undefined when there
   * is nothing yet.
   */
  receive(into: Uint8Array<ArrayBuffer>): number | undefined {
    const n = Number(symbols().recv(this.#fd, into, BigInt(into.length), 0));
    if (n >= 0) return n;
    const code = errno();
    return code === Errno.EAGAIN || code === Errno.EINTR ? undefined : 0;
  }

  /**
   * Sends as much as fits.
   *
   * @returns How many bytes were taken; undefined when the other end is gone.
   */
  send(from: Uint8Array<ArrayBuffer>): number | undefined {
    const n = Number(symbols().send(this.#fd, from, BigInt(from.length), MSG_NOSIGNAL));
    if (n >= 0) return n;
    const code = errno();
    return code === Errno.EAGAIN || code === Errno.EINTR ? 0 : undefined;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) symbols().close(this.#fd);
    this.#fd = -1;
  }
}

/** A socket in the file system that only its owner can connect to; the file goes with it. */
export class UnixListener implements Disposable {
  readonly #path: string;
  readonly #fd: number;

  /**
   * Listens. A file that is there already is replaced: whoever calls holds a lock that says that
   * no other daemon uses it.
   *
   * @throws {OpError} code 5.
   */
  constructor(path: string) {
    const name = new TextEncoder().encode(path);
    if (name.length >= LONGEST_PATH) {
      throw new OpError("listen on", path, { code: ErrorCode.io, kernel: "the path is too long" });
    }
    this.#path = path;
    removeSocket(path);
    const { socket, bind, listen, close } = symbols();
    this.#fd = must(path, socket(AF_UNIX, STREAM, 0));
    using undo = new DisposableStack();
    undo.defer(() => close(this.#fd));
    // struct sockaddr_un: the family, two bytes, then the path.
    const address = new Uint8Array(2 + name.length + 1);
    address[0] = AF_UNIX;
    address.set(name, 2);
    must(path, bind(this.#fd, address, address.length));
    undo.defer(() => removeSocket(path));
    Deno.chmodSync(path, 0o600);
    must(path, listen(this.#fd, BACKLOG));
    undo.move();
  }

  /** The descriptor, for the poll. */
  get fd(): number {
    return this.#fd;
  }

  /** The next connection; undefined when nobody waits. */
  accept(): Connection | undefined {
    const fd = symbols().accept4(this.#fd, null, null, ACCEPTED);
    return fd < 0 ? undefined : new Connection(fd);
  }

  [Symbol.dispose](): void {
    removeSocket(this.#path);
    symbols().close(this.#fd);
  }
}

function removeSocket(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return;
    throw new OpError("replace socket", path, { code: ErrorCode.io, cause });
  }
}

function must(path: string, result: number): number {
  if (result >= 0) return result;
  const code = errno();
  throw new OpError("listen on", path, {
    code: ErrorCode.io,
    errno: code,
    kernel: errnoText(code),
  });
}
