/**
 * Tells when a file may have changed: at once where the kernel says so (inotify), and from time to
 * time in any case, because it does not say everything: not on network file systems, not when it has
 * run out of watches.
 *
 * The directory is watched and not the file: an editor puts a new file in its place, and Kubernetes
 * turns a link beside it.
 *
 * @module
 */

import { messageOf } from "../../engine/errors.ts";
import type { Log } from "../log.ts";
import { sleep, unless } from "../wait.ts";

/** A writer needs several steps; what is heard within so many milliseconds is one change. */
const SETTLE = 50;
/** A writer that never rests is looked at after so many milliseconds. */
const PATIENCE = 500;

/** See the module. */
export class FileNews implements AsyncDisposable {
  readonly #path: string;
  readonly #every: number;
  readonly #log: Log;
  readonly #waiting = new Set<() => void>();
  #count = 0;
  #watcher: Deno.FsWatcher | undefined;
  #listening: Promise<void> = Promise.resolve();
  /** What the watcher watches. */
  #watched = "";
  #timer: ReturnType<typeof setTimeout> | undefined;
  #firstHeard = 0;

  /**
   * Watches from now on.
   *
   * @param every milliseconds between two signs without a reason.
   */
  constructor(path: string, every: number, log: Log) {
    this.#path = path;
    this.#every = every;
    this.#log = log;
    this.#watch();
  }

  /** Grows with each change. Ask for it before the file is read. */
  get count(): number {
    return this.#count;
  }

  /**
   * Waits until something has changed since, or it is time to look in any case.
   *
   * @param since what {@link FileNews.count} or this said last.
   * @returns the count of now.
   * @throws the signal's reason, as soon as it is aborted.
   */
  async next(since: number, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted();
    if (this.#count !== since) return this.#count;
    const late = new AbortController();
    let wake: (() => void) | undefined;
    const heard = new Promise<void>((resolve) => this.#waiting.add(wake = resolve));
    const timeout = sleep(this.#every, late.signal).then(() => this.#watch(), () => {});
    try {
      await unless(signal, Promise.race([heard, timeout]));
    } finally {
      this.#waiting.delete(wake!);
      late.abort();
    }
    return this.#count;
  }

  /** Sees to it that the directories are watched that the path leads through now. */
  #watch(): void {
    try {
      const parents = [this.#path, realPath(this.#path)].map(parentOf);
      const directories = [...new Set(parents)];
      const now = directories.map((path) => `${path} ${Deno.statSync(path).ino}`).join();
      if (now === this.#watched) return;
      this.#watcher?.close();
      const watcher = Deno.watchFs(directories, { recursive: false });
      this.#watcher = watcher;
      this.#listening = this.#listen(watcher);
      this.#watched = now;
    } catch (e) {
      this.#watched = "";
      this.#log.debug("Cannot watch the file, looking at it from time to time", {
        file: this.#path,
        reason: messageOf(e),
      });
    }
  }

  async #listen(watcher: Deno.FsWatcher): Promise<void> {
    for await (const _event of watcher) {
      const now = performance.now();
      if (this.#timer === undefined) this.#firstHeard = now;
      clearTimeout(this.#timer);
      const left = this.#firstHeard + PATIENCE - now;
      this.#timer = setTimeout(() => this.#tell(), Math.max(0, Math.min(SETTLE, left)));
    }
  }

  #tell(): void {
    this.#timer = undefined;
    this.#count++;
    for (const wake of this.#waiting) wake();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watcher?.close();
    // It may have something left to tell.
    await this.#listening;
    clearTimeout(this.#timer);
  }
}

function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : path.slice(0, slash) || "/";
}
