/**
 * A store that remembers: it passes on what the store behind it says, keeps the last good snapshot
 * on disk, and says that instead as long as the store has not answered since the start.
 *
 * @module
 */

import { messageOf } from "../../engine/errors.ts";
import type { Lease } from "../../engine/lease.ts";
import type { Memory } from "../../engine/memory.ts";
import { formatNetConf, type NetConf, withoutSecrets } from "../../engine/net_conf.ts";
import type { Log } from "../log.ts";
import { Mark, sleep } from "../wait.ts";
import type { MemoryFile } from "./memory.ts";
import type { KnownSelf, LeaseRequest, Snapshot, Store, StoreStatus } from "./store.ts";

/** How long the store may take before memory speaks, ms. */
const PATIENCE = 2_000;
/** Snapshots come in bursts; the file is written once for each, ms. */
const SETTLE = 1_000;

/** See the module. */
export class RememberingStore implements Store {
  readonly name: string;
  readonly #store: Store;
  readonly #file: MemoryFile;
  readonly #log: Log;
  readonly #patience: number;
  readonly #memory: Memory | undefined;
  /** Memory was used, and the store has not said anything better yet. */
  #speaking = false;
  #conf: NetConf | undefined;
  #own: Lease | undefined;
  /** Work that goes on behind our answers; never rejects. */
  readonly #background = new Set<Promise<void>>();
  /** The snapshot that is about to be written down. */
  #pending: Snapshot | undefined;

  constructor(store: Store, file: MemoryFile, log: Log, patience: number = PATIENCE) {
    this.name = store.name;
    this.#store = store;
    this.#file = file;
    this.#log = log;
    this.#patience = patience;
    try {
      this.#memory = file.read();
    } catch (e) {
      log.warn(messageOf(e));
    }
  }

  /** A store that knows nothing of us may have a memory of our lease: peers know its MAC address. */
  async self(signal: AbortSignal): Promise<KnownSelf> {
    const fresh = this.#store.self(signal);
    const known = await this.#orMemory(fresh, (): KnownSelf => ({}), "lease");
    if (this.#speaking) this.#goOn(fresh.then((late) => this.#heardLate(late)));
    const lease = known.lease ?? this.#memory?.own;
    return lease === undefined ? known : { ...known, lease };
  }

  async config(signal: AbortSignal): Promise<NetConf> {
    const fresh = this.#store.config(signal);
    const conf = await this.#orMemory(fresh, (memory) => memory.conf, "configuration");
    this.#conf = conf;
    if (this.#speaking) this.#goOn(fresh.then((now) => this.#compare(conf, now)));
    return conf;
  }

  #heardLate({ publicIp, publicIp6 }: KnownSelf): void {
    const addresses = [publicIp, publicIp6].filter((ip) => ip !== undefined).join(", ");
    if (addresses === "") return;
    this.#log.error("The store names an address for this node; restart twill to use it", {
      addresses,
    });
  }

  #compare(used: NetConf, now: NetConf): void {
    // What was remembered is without secrets.
    if (formatNetConf(withoutSecrets(used)) === formatNetConf(withoutSecrets(now))) return;
    this.#log.error("The network configuration has changed meanwhile; restart twill to use it");
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const fresh = this.#store.acquire(request, signal);
    const lease = await this.#orMemory(fresh, (memory) => memory.own, "lease");
    this.#own = lease;
    return lease;
  }

  /** The store's answer, or after a while what is remembered; the store's work goes on. */
  async #orMemory<T>(
    fresh: Promise<T>,
    remembered: (memory: Memory) => T,
    what: string,
  ): Promise<T> {
    const memory = this.#memory;
    if (memory === undefined) return await fresh;
    const late = new AbortController();
    const answer = fresh.then((value) => ({ value }));
    // Who did not answer one question in time will not be waited for with the next.
    const patience = this.#speaking ? 0 : this.#patience;
    const timeout = sleep(patience, late.signal).catch(() => {});
    try {
      const first = await Promise.race([answer, timeout]);
      if (first !== undefined) return first.value;
    } finally {
      late.abort();
    }
    this.#goOn(answer);
    this.#speaking = true;
    const at = new Date(memory.at).toISOString();
    this.#log.warn(`The store does not answer; using the ${what} of the last good snapshot`, {
      at,
    });
    return remembered(memory);
  }

  async *snapshots(signal: AbortSignal): AsyncGenerator<Snapshot, void, undefined> {
    const news = new Mark();
    let newest: Snapshot | undefined;
    let ended = false;
    const listening = (async () => {
      for await (const snapshot of this.#store.snapshots(signal)) {
        newest = snapshot;
        news.raise();
      }
    })().finally(() => {
      ended = true;
      news.raise();
    });
    this.#goOn(listening);
    if (this.#speaking && this.#memory !== undefined) {
      const { leases, own } = this.#memory;
      yield { leases, own, bad: [] };
    }
    while (!signal.aborted && !ended) {
      try {
        await news.wait(signal);
      } catch {
        break;
      }
      if (newest === undefined) continue;
      const snapshot = newest;
      if (snapshot.own !== undefined) {
        if (this.#speaking) this.#log.info("The store answers again");
        this.#speaking = false;
      }
      // Without a word of our own lease the store is not to be followed yet: memory holds.
      if (this.#speaking) continue;
      yield snapshot;
      this.#remember(snapshot, signal);
    }
    await listening;
  }

  #goOn(work: Promise<unknown>): void {
    const settled: Promise<void> = work.then(() => {}, () => {}).finally(() =>
      this.#background.delete(settled)
    );
    this.#background.add(settled);
  }

  #remember(snapshot: Snapshot, signal: AbortSignal): void {
    const idle = this.#pending === undefined;
    this.#pending = snapshot;
    if (!idle) return;
    this.#goOn(sleep(SETTLE, signal).catch(() => {}).then(() => this.#writeDown()));
  }

  #writeDown(): void {
    const snapshot = this.#pending;
    this.#pending = undefined;
    const own = snapshot?.own ?? this.#own;
    if (snapshot === undefined || own === undefined || this.#conf === undefined) return;
    const { leaseEnds } = this.#store.status();
    const ends = leaseEnds === undefined ? {} : { ends: leaseEnds };
    try {
      this.#file.write({
        at: Date.now(),
        conf: this.#conf,
        own,
        ...ends,
        leases: snapshot.leases,
      });
    } catch (e) {
      this.#log.warn(messageOf(e));
    }
  }

  ready(): void {
    this.#store.ready?.();
  }

  status(): StoreStatus {
    const status = this.#store.status();
    if (!this.#speaking || this.#memory === undefined) return status;
    return { ...status, remembered: this.#memory.at };
  }

  async close(): Promise<void> {
    await this.#store.close();
    await Promise.all(this.#background);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
