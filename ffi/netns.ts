/**
 * Network namespaces. `setns(2)` moves one thread; Deno runs synchronous calls and FFI on the
 * main thread, asynchronous file calls on pool threads that never follow. So a guard is short,
 * synchronous, and nothing asynchronous starts inside it.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Errno, errnoText } from "./errno.ts";
import { cString, errno, libc } from "./libc.ts";

/** `O_RDONLY | O_CLOEXEC`, asm-generic/fcntl.h. */
export const O_RDONLY_CLOEXEC = 0o2000000;
/** `CLONE_NEWNET`, linux/sched.h. */
export const CLONE_NEWNET = 0x40000000;

/** The thread's own namespace; `/proc/self` would name the main thread's whoever asks. */
export const OWN_NETNS = "/proc/thread-self/ns/net";

/** A file descriptor that FFI made: closed when disposed. */
export class Fd implements Disposable {
  #fd: number;
  /** What was opened. */
  readonly path: string;

  /** @throws {OpError} when the path cannot be opened; `errno` tells why. */
  constructor(path: string) {
    this.path = path;
    this.#fd = libc().open(cString(path), O_RDONLY_CLOEXEC);
    if (this.#fd < 0) {
      const code = errno();
      throw new OpError("open", path, {
        code: ErrorCode.io,
        errno: code,
        kernel: errnoText(code),
      });
    }
  }

  /** The number; -1 once closed. */
  get number(): number {
    return this.#fd;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }
}

/**
 * Holds the calling thread in another network namespace until disposed.
 *
 * Getting home must not fail: every later call would act on the wrong host or pod, so the
 * process ends when it does.
 */
export class NetnsGuard implements Disposable {
  readonly #home: Fd;

  /**
   * @param target An open namespace file: `/run/netns/x`, `/proc/PID/ns/net`, a bind mount.
   * @throws {OpError} when it is no network namespace, or cannot be entered.
   */
  constructor(target: Fd) {
    using undo = new DisposableStack();
    this.#home = undo.use(new Fd(OWN_NETNS));
    if (libc().setns(target.number, CLONE_NEWNET) !== 0) {
      const code = errno();
      throw new OpError("enter network namespace", target.path, {
        code: ErrorCode.kernel,
        errno: code,
        kernel: code === Errno.EINVAL ? "it is no network namespace" : errnoText(code),
      });
    }
    undo.move();
  }

  [Symbol.dispose](): void {
    using home = this.#home;
    if (libc().setns(home.number, CLONE_NEWNET) !== 0) {
      throw endProcess(`twill: cannot return to the host's network namespace (${errno()})`);
    }
  }
}

function endProcess(why: string): Error {
  Deno.stderr.writeSync(new TextEncoder().encode(`${why}\n`));
  Deno.kill(Deno.pid, "SIGKILL");
  return new Error(why);
}

/** True when the path names a network namespace that this process may enter. */
export function isNetns(path: string): boolean {
  try {
    return within(path, () => true);
  } catch (e) {
    if (e instanceof OpError) return false;
    throw e;
  }
}

/**
 * Runs a synchronous function inside a namespace.
 *
 * @throws {OpError} when the path is missing, is no network namespace, or cannot be entered.
 */
export function within<T>(path: string, work: () => T): T {
  using target = new Fd(path);
  using _guard = new NetnsGuard(target);
  return work();
}
