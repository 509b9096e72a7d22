/**
 * A list of the API that is kept up to date: list, watch from the list's version, and list again
 * after any gap. What is kept of each object is what `strip` returns, and nothing else; whole lists
 * are never in memory.
 *
 * ```ts ignore
 * const pods = new ListWatch({
 *   client,
 *   path: "/api/v1/pods",
 *   resource: "pods",
 *   query: { fieldSelector: "spec.nodeName=worker-1" },
 *   strip: (raw) => ({ ip: textOf(at(raw, "status", "podIP")) }),
 *   log,
 * });
 * for await (const { objects, changed } of pods.views(signal)) {
 *   for (const key of changed) console.log(key, objects.get(key)); // undefined: it is gone
 * }
 * ```
 *
 * The rules are those of client-go's reflector, with its constants. Where a server gives up a
 * version there are two forms of the news, the status 410 and an ERROR event with that code; a
 * watch that ends is normal; a watch that is silent for longer than bookmarks can be late is begun
 * anew, because a vanished server says nothing.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Log } from "../log.ts";
import { Backoff, Mark, sleep } from "../wait.ts";
import { chunksOf, Silence } from "./body.ts";
import { Cache, keyOf, type View } from "./cache.ts";
import { type KubeClient, Renewed } from "./client.ts";
import { type Deed, KubeError, statusWords } from "./errors.ts";
import { Lines, ListItems } from "./json_stream.ts";
import { at, member, textOf } from "./raw.ts";

/** What a {@link ListWatch} needs. */
export interface ListWatchOptions<T> {
  readonly client: Pick<KubeClient, "open">;
  /** Of the list: `/api/v1/nodes`, `/apis/networking.k8s.io/v1/networkpolicies`. */
  readonly path: string;
  /** As in a role: `nodes`. Errors name it. */
  readonly resource: string;
  /** `fieldSelector`, `labelSelector`. */
  readonly query?: Readonly<Record<string, string>>;
  /** Only `metadata` of each object is asked for (PartialObjectMetadata). */
  readonly metadataOnly?: boolean;
  /**
   * What to keep of an object; undefined leaves it out. The object is of unknown shape: look into
   * it with `raw.ts`. An object for which this throws is a bad one: what was kept of it before
   * stays, and {@link View.bad} names it.
   */
  readonly strip: (raw: unknown) => T | undefined;
  /** True when two kept objects say the same; then it is no change. By their JSON unless set. */
  readonly same?: (a: T, b: T) => boolean;
  readonly log: Log;
  /** For tests. */
  readonly times?: Partial<WatchTimes>;
}

/** Milliseconds. */
export interface WatchTimes {
  /** Bounds of the wait after a failure; each lies between half and all of a value that doubles. */
  readonly again: { readonly first: number; readonly cap: number };
  /** A run without failures for so long lets the waits begin anew. */
  readonly calm: number;
  /** A watch ends by itself after a random time between these. */
  readonly life: { readonly least: number; readonly most: number };
  /** A watch that says nothing for so long is begun anew. Bookmarks come about once a minute. */
  readonly silence: number;
  /** After a refusal (403) the next try is not sooner than this. */
  readonly refused: number;
}

const TIMES: WatchTimes = {
  again: { first: 1_600, cap: 30_000 },
  calm: 120_000,
  life: { least: 300_000, most: 600_000 },
  silence: 150_000,
  refused: 5_000,
};

/** How a {@link ListWatch} is doing. */
export interface WatchStatus {
  /** A whole list has been read at least once. */
  readonly synced: boolean;
  /** Nothing has failed since the last success. */
  readonly connected: boolean;
  /** What fails now: the words, what to do, and whether it is a refusal (401, 403). */
  readonly problem?: {
    readonly words: string;
    readonly advice?: string;
    readonly denied: boolean;
  };
  /** How often everything was read anew after a gap. */
  readonly gaps: number;
}

/** Items of one page. The server may send fewer, or (for version 0) all. */
const PAGE = 500;
/** A watch that ends sooner without a word has failed, ms. */
const BRIEF = 1_000;

/** See the module. */
export class ListWatch<T> {
  readonly #options: ListWatchOptions<T>;
  readonly #times: WatchTimes;
  readonly #log: Log;
  readonly #cache: Cache<T>;
  readonly #news = new Mark();
  /** Where the next watch begins; undefined: list first. */
  #version: string | undefined;
  /** The next list asks for the newest, and not for whatever the server has at hand. */
  #fresh = false;
  #synced = false;
  #problem: WatchStatus["problem"];
  #gaps = 0;

  constructor(options: ListWatchOptions<T>) {
    this.#options = options;
    this.#times = { ...TIMES, ...options.times };
    this.#log = options.log.with({ resource: options.resource });
    this.#cache = new Cache({
      strip: options.strip,
      same: options.same ?? ((a, b) => JSON.stringify(a) === JSON.stringify(b)),
      told: (key, reason) =>
        this.#log.warn("Ignoring an object that cannot be read", { key, reason }),
    });
  }

  /** How it is doing; costs nothing. */
  status(): WatchStatus {
    return {
      synced: this.#synced,
      connected: this.#problem === undefined,
      ...(this.#problem !== undefined && { problem: this.#problem }),
      gaps: this.#gaps,
    };
  }

  /**
   * Runs the list and watch until the signal is aborted, and tells what is known: first when a whole
   * list was read, then after each change; a slow consumer gets several changes at once. Call it
   * once. It never throws: what fails is logged once, shown in {@link ListWatch.status}, and tried
   * again.
   *
   * @param troubled called when {@link ListWatch.status} changes.
   */
  async *views(
    signal: AbortSignal,
    troubled: () => void = () => {},
  ): AsyncGenerator<View<T>, void, undefined> {
    const ending = new AbortController();
    const work = this.#run(AbortSignal.any([signal, ending.signal]), troubled);
    try {
      for (;;) {
        try {
          await this.#news.wait(signal);
        } catch {
          return;
        }
        yield this.#cache.take();
      }
    } finally {
      ending.abort(new Error("nobody listens"));
      await work;
    }
  }

  async #run(signal: AbortSignal, troubled: () => void): Promise<void> {
    const backoff = new Backoff(this.#times.again.first, this.#times.again.cap);
    let failedAt = -Infinity;
    let expiredAt = -Infinity;
    while (!signal.aborted) {
      let least = 0;
      try {
        if (this.#version === undefined) await this.#list(signal);
        const began = performance.now();
        const heard = await this.#watch(signal, () => this.#solved(troubled));
        if (heard || performance.now() - began > BRIEF) continue;
      } catch (e) {
        if (signal.aborted) return;
        if (e instanceof Renewed) continue;
        least = this.#fail(e, troubled);
        // The server is there: the list that is due need not wait as long as its failures before.
        const since = performance.now() - expiredAt;
        if (e instanceof KubeError && e.expired && since > this.#times.again.first) {
          expiredAt = performance.now();
          continue;
        }
      }
      if (performance.now() - failedAt > this.#times.calm) backoff.reset();
      await sleep(Math.max(least, backoff.next()), signal).catch(() => {});
      failedAt = performance.now();
    }
  }

  /** Takes note of a failure. Returns how long to wait at least, ms. */
  #fail(e: unknown, troubled: () => void): number {
    const denied = e instanceof OpError && e.code === ErrorCode.denied;
    if (e instanceof KubeError && (e.expired || e.tooNew)) {
      // History is short: this is how a watch ends that was away for too long.
      this.#log.debug("Reading everything again", { reason: e.message });
      this.#startOver();
      return e.retryAfter ?? 0;
    }
    const words = messageOf(e);
    const advice = e instanceof OpError ? e.advice : undefined;
    if (this.#problem?.words !== words) {
      this.#log.warn(words, { advice });
      this.#problem = { words, ...(advice !== undefined && { advice }), denied };
      troubled();
    }
    if (!(e instanceof KubeError)) return 0;
    if (e.status === 400) this.#startOver();
    // Where only the watch is refused, lists alone keep us up to date, if slowly.
    if (denied) this.#version = undefined;
    return Math.max(e.retryAfter ?? 0, denied ? this.#times.refused : 0);
  }

  #solved(troubled: () => void): void {
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#log.info("The API server answers again");
    troubled();
  }

  /** The version that we have is of no use: the next list asks for the newest. */
  #startOver(): void {
    this.#version = undefined;
    this.#fresh = true;
  }

  /** Reads all pages; then keys that were not in them are gone. */
  async #list(signal: AbortSignal): Promise<void> {
    const { path, query } = this.#options;
    const present = new Set<string>();
    let next = "";
    let version = "";
    do {
      const response = await this.#options.client.open({
        ...this.#deed("list"),
        path,
        query: {
          ...query,
          limit: String(PAGE),
          ...(next !== "" ? { continue: next } : !this.#fresh && { resourceVersion: "0" }),
        },
        accept: this.#accept("List"),
        signal,
      });
      const items = new ListItems();
      for await (const chunk of this.#chunks("list", response, signal)) {
        for (const item of items.push(chunk)) {
          present.add(this.#cache.put(parse(item)));
        }
      }
      const metadata = member(parse(items.end()), "metadata");
      version = textOf(member(metadata, "resourceVersion")) ?? "";
      next = textOf(member(metadata, "continue")) ?? "";
    } while (next !== "");
    if (version === "") throw this.#odd("list", "the list has no resourceVersion");
    this.#cache.retain(present);
    if (this.#synced) this.#gaps++;
    if (!this.#synced || this.#cache.changed) this.#news.raise();
    this.#synced = true;
    this.#version = version;
  }

  /** Watches until the stream ends. Returns whether anything was heard. */
  async #watch(signal: AbortSignal, opened: () => void): Promise<boolean> {
    const { path, query } = this.#options;
    const { least, most } = this.#times.life;
    const life = least + Math.random() * (most - least);
    const ending = new AbortController();
    let heard = false;
    try {
      const response = await this.#options.client.open({
        ...this.#deed("watch"),
        path,
        query: {
          ...query,
          watch: "1",
          allowWatchBookmarks: "true",
          resourceVersion: this.#version ?? "",
          timeoutSeconds: String(Math.ceil(life / 1000)),
        },
        accept: this.#accept(""),
        signal: AbortSignal.any([signal, ending.signal]),
      });
      opened();
      const lines = new Lines();
      for await (const chunk of this.#chunks("watch", response, signal)) {
        for (const line of lines.push(chunk)) {
          this.#event(parse(line));
          heard = true;
        }
        if (this.#cache.changed) this.#news.raise();
      }
      return heard;
    } catch (e) {
      // No failure yet: a server that has nothing new of a resource since its start sends no bookmarks
      // either. Whether it is still there shows the next watch.
      if (!(e instanceof Silence)) throw e;
      this.#log.debug(e.message);
      return heard;
    } finally {
      if (this.#cache.changed) this.#news.raise();
      ending.abort(new Error("the watch is over"));
    }
  }

  /** Takes one event. @throws {KubeError} the one that an ERROR event tells */
  #event(raw: unknown): void {
    const object = member(raw, "object");
    switch (textOf(member(raw, "type"))) {
      case "ADDED":
      case "MODIFIED":
        this.#cache.put(object);
        break;
      case "DELETED":
        this.#cache.delete(keyOf(object));
        break;
      case "BOOKMARK":
        break;
      case "ERROR":
        throw new KubeError(this.#deed("watch"), statusWords(0, object));
      default:
        throw this.#odd("watch", "an event of a type that is not known");
    }
    const version = textOf(at(object, "metadata", "resourceVersion"));
    if (version !== undefined) this.#version = version;
  }

  #chunks(
    verb: string,
    response: Response,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    return chunksOf(response, this.#deed(verb), this.#times.silence, signal);
  }

  #deed(verb: string): Deed {
    return { verb, resource: this.#options.resource };
  }

  #odd(verb: string, kernel: string): OpError {
    return new OpError(verb, this.#options.resource, { code: ErrorCode.store, kernel });
  }

  #accept(list: "List" | ""): string {
    return this.#options.metadataOnly
      ? `application/json;as=PartialObjectMetadata${list};g=meta.k8s.io;v=v1`
      : "application/json";
  }
}

/** @throws {OpError} */
function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (cause) {
    throw new OpError("read", "the answer of the API server", { code: ErrorCode.store, cause });
  }
}
