/**
 * Advisory locks between processes, `flock(2)`: they belong to the open file, and are gone with
 * the process however it ends.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";

/** The longest pause between two attempts, milliseconds. */
const LONGEST_PAUSE = 20;

/** By path: those of this very process that wait for the lock, in the order of arrival. */
const queues = new Map<string, (() => void)[]>();

/** Resolves when nobody else in this process has the lock; the caller has it then. */
async function enter(path: string): Promise<void> {
  const queue = queues.get(path);
  if (queue === undefined) queues.set(path, []);
  else await new Promise<void>((resolve) => queue.push(resolve));
}

function leave(path: string): void {
  const next = queues.get(path)?.shift();
  if (next === undefined) queues.delete(path);
  else next();
}

/** An exclusive lock on a file, held until disposed. */
export class Flock implements Disposable {
  readonly #file: Deno.FsFile;
  #left: () => void;

  private constructor(file: Deno.FsFile, left: () => void = () => {}) {
    this.#file = file;
    this.#left = left;
  }

  /**
   * Waits for the lock without an end, as every other program does that uses the file.
   *
   * Where the calling thread serves nobody else, it sleeps in the kernel, which keeps the order of
   * arrival. A thread that serves others must not: its own calls take turns, and the one whose turn
   * it is asks again after ever longer pauses, as long as another process has the lock. (Deno's own
   * asynchronous `lock()` would hold one of its few pool threads all that time.)
   *
   * @param path the lock file; made with mode 0750 if it does not exist.
   * @param mayBlock true when the thread may sleep.
   * @throws {OpError} code 5 when the file cannot be opened or locked.
   */
  static async acquire(path: string, mayBlock: boolean): Promise<Flock> {
    using undo = new DisposableStack();
    if (!mayBlock) {
      await enter(path);
      undo.defer(() => leave(path));
    }
    const file = undo.use(openLockFile(path));
    try {
      if (!file.tryLockSync(true)) {
        if (mayBlock) file.lockSync(true);
        else await poll(file);
      }
    } catch (cause) {
      throw new OpError("lock", path, { code: ErrorCode.io, cause });
    }
    undo.move();
    return new Flock(file, mayBlock ? undefined : () => leave(path));
  }

  /**
   * Takes the lock if nobody has it.
   *
   * @returns undefined when another process has it.
   * @throws {OpError} code 5 when the file cannot be opened or locked.
   */
  static tryAcquire(path: string): Flock | undefined {
    const file = openLockFile(path);
    using undo = new DisposableStack();
    undo.use(file);
    try {
      if (!file.tryLockSync(true)) return undefined;
    } catch (cause) {
      throw new OpError("lock", path, { code: ErrorCode.io, cause });
    }
    undo.move();
    return new Flock(file);
  }

  /** Gives the lock back. */
  [Symbol.dispose](): void {
    this.#file.close();
    this.#left();
    this.#left = () => {};
  }
}

/**
 * Opens a lock file, which is made if need be (mode 0750, less the umask), without locking it.
 *
 * @throws {OpError} code 5 when that fails.
 */
export function openLockFile(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { read: true });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) {
      throw new OpError("open lock file", path, { code: ErrorCode.io, cause });
    }
  }
  try {
    return Deno.openSync(path, { write: true, create: true, mode: 0o750 });
  } catch (cause) {
    throw new OpError("create lock file", path, { code: ErrorCode.io, cause });
  }
}

async function poll(file: Deno.FsFile): Promise<void> {
  for (let pause = 1; !file.tryLockSync(true); pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
