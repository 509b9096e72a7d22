/**
 * A tun device: an interface whose other end is a descriptor. It is there as long as that is open
 * (`TUNSETPERSIST` is not set), in the network namespace of the thread that opened it.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Errno, errnoText } from "./errno.ts";
import { cString, errno, libc } from "./libc.ts";

const SYMBOLS = {
  // int ioctl(int fd, unsigned long request, ...) — sys/ioctl.h
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t n) — unistd.h; a packet's length fits
  read: { parameters: ["i32", "buffer", "usize"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t n) — unistd.h
  write: { parameters: ["i32", "buffer", "usize"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

let opened: Library["symbols"] | undefined;

function symbols(): Library["symbols"] {
  return opened ??= Deno.dlopen("libc.so.6", SYMBOLS).symbols;
}

/** fcntl.h, linux/if_tun.h. */
export const TunConstant = {
  O_RDWR: 2,
  O_NONBLOCK: 0o4000,
  O_CLOEXEC: 0o2000000,
  TUNSETIFF: 0x400454ca,
  TUNGETIFF: 0x800454d2,
  IFF_TUN: 1,
  IFF_NO_PI: 0x1000,
} as const;
const C = TunConstant;

/** `struct ifreq`, net/if.h: a name of 16 bytes, then a union in which flags come first. */
export const IFREQ = { size: 40, flags: 16 } as const;

const CLONE_DEVICE = "/dev/net/tun";

/** One device and its other end; both go when this is disposed. */
export class Tun implements Disposable {
  /** -1 once closed. */
  #fd: number;
  readonly #name: string;

  private constructor(fd: number, name: string) {
    this.#fd = fd;
    this.#name = name;
  }

  /**
   * Makes the device; packets pass it without any header before them.
   *
   * @throws {OpError} when there is no `/dev/net/tun`, or the name is another's.
   */
  static open(name: string): Tun {
    const fd = libc().open(cString(CLONE_DEVICE), C.O_RDWR | C.O_NONBLOCK | C.O_CLOEXEC);
    if (fd < 0) {
      throw failure("open", CLONE_DEVICE, "Load the module tun, and give the daemon this device");
    }
    using undo = new DisposableStack();
    undo.defer(() => libc().close(fd));
    const request = new Uint8Array(IFREQ.size);
    request.set(new TextEncoder().encode(name));
    new DataView(request.buffer).setInt16(IFREQ.flags, C.IFF_TUN | C.IFF_NO_PI, true);
    if (symbols().ioctl(fd, BigInt(C.TUNSETIFF), request) !== 0) {
      throw failure(
        "make tun device",
        name,
        `See who holds it (ip -d link show ${name}), end that program or delete the device`,
      );
    }
    undo.move();
    return new Tun(fd, name);
  }

  /** The descriptor, for a poll. */
  get fd(): number {
    return this.#fd;
  }

  /** False when somebody deleted or renamed the device. */
  isThere(): boolean {
    const request = new Uint8Array(IFREQ.size);
    if (symbols().ioctl(this.#fd, BigInt(C.TUNGETIFF), request) !== 0) return false;
    return new TextDecoder().decode(request.subarray(0, 16)).split("\0")[0] === this.#name;
  }

  /** The length of the next packet, which is put into the buffer; 0 when there is none. */
  receive(into: Uint8Array<ArrayBuffer>): number {
    const length = symbols().read(this.#fd, into, BigInt(into.length));
    return length > 0 ? length : 0;
  }

  /** Gives a packet to the kernel. Returns false when it refused: the device is down or gone. */
  send(packet: Uint8Array<ArrayBuffer>, length: number): boolean {
    return symbols().write(this.#fd, packet, BigInt(length)) === length;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }
}

function failure(deed: string, object: string, advice: string): OpError {
  const code = errno();
  const words = code === Errno.EBUSY ? "another program holds it" : errnoText(code);
  return new OpError(deed, object, {
    code: ErrorCode.kernel,
    errno: code,
    kernel: words,
    advice,
  });
}
