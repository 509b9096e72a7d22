/**
 * One wait for all descriptors that FFI opened. Deno runs a `nonblocking` FFI call on one of the
 * 32 threads that it also needs for files and name look-ups, so there is a single `epoll_wait` for
 * the whole daemon, and nothing else ever parks a thread.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { errnoText } from "./errno.ts";
import { errno } from "./libc.ts";

/** sys/epoll.h, sys/eventfd.h, unistd.h. */
const SYMBOLS = {
  // int epoll_create1(int flags)
  epoll_create1: { parameters: ["i32"], result: "i32" },
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  // int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
  epoll_wait: {
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
  },
  // int eventfd(unsigned int initval, int flags)
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // int fcntl(int fd, int cmd, int arg)
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t n)
  write: { parameters: ["i32", "buffer", "usize"], result: "i64" },
  // int close(int fd)
  close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

/** `EPOLL_CLOEXEC` and `EFD_CLOEXEC`, the same bit. */
const CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLLIN = 1;

/**
 * `struct epoll_event`: events at 0; the data, where we put the descriptor, at 4 on x86-64 (the
 * struct is packed there) and at 8 elsewhere.
 */
const DATA_AT = Deno.build.arch === "x86_64" ? 4 : 8;
const EVENT_SIZE = DATA_AT + 8;
const MAX_EVENTS = 64;

/** fcntl.h. */
const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;

/** Calls a function whenever its descriptor can be read, until disposed. */
export class Poller implements AsyncDisposable {
  readonly #c = Deno.dlopen("libc.so.6", SYMBOLS);
  readonly #epoll: number;
  readonly #wake: number;
  readonly #events = new Uint8Array(EVENT_SIZE * MAX_EVENTS);
  readonly #ready = new Map<number, () => void>();
  readonly #loop: Promise<void>;
  #ending = false;

  /** @throws {OpError} when the kernel has no descriptors left. */
  constructor() {
    const { epoll_create1, eventfd } = this.#c.symbols;
    this.#epoll = must("make epoll", epoll_create1(CLOEXEC));
    this.#wake = must("make eventfd", eventfd(0, CLOEXEC));
    this.#control(EPOLL_CTL_ADD, this.#wake);
    this.#loop = this.#run();
  }

  /**
   * Calls `ready` whenever the descriptor, which is made non-blocking, can be read. It must read
   * all there is, or it is called again at once.
   *
   * @returns What stops it; dispose it before the descriptor is closed.
   */
  watch(fd: number, ready: () => void): Disposable {
    const { fcntl } = this.#c.symbols;
    const flags = must("read descriptor flags", fcntl(fd, F_GETFL, 0));
    must("make descriptor non-blocking", fcntl(fd, F_SETFL, flags | O_NONBLOCK));
    this.#ready.set(fd, ready);
    this.#control(EPOLL_CTL_ADD, fd);
    return {
      [Symbol.dispose]: () => {
        if (!this.#ready.delete(fd)) return;
        this.#control(EPOLL_CTL_DEL, fd);
      },
    };
  }

  #control(op: number, fd: number): void {
    const event = new DataView(new ArrayBuffer(EVENT_SIZE));
    event.setUint32(0, EPOLLIN, true);
    event.setInt32(DATA_AT, fd, true);
    const bytes = new Uint8Array(event.buffer);
    must("change epoll", this.#c.symbols.epoll_ctl(this.#epoll, op, fd, bytes));
  }

  async #run(): Promise<void> {
    const view = new DataView(this.#events.buffer);
    while (!this.#ending) {
      const { epoll_wait } = this.#c.symbols;
      // The thread that waits has its own errno: a failure here can only be EINTR.
      const count = await epoll_wait(this.#epoll, this.#events, MAX_EVENTS, -1);
      for (let i = 0; i < count && !this.#ending; i++) {
        this.#ready.get(view.getInt32(i * EVENT_SIZE + DATA_AT, true))?.();
      }
    }
  }

  /** Ends the wait, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    this.#c.symbols.write(this.#wake, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]), 8n);
    await this.#loop;
    this.#c.symbols.close(this.#wake);
    this.#c.symbols.close(this.#epoll);
    this.#c.close();
  }
}

function must(deed: string, result: number): number {
  if (result >= 0) return result;
  const code = errno();
  throw new OpError(deed, "", { code: ErrorCode.kernel, errno: code, kernel: errnoText(code) });
}
