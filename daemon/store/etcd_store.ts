/**
 * The store in etcd, key for key and byte for byte flannel's: nodes that run either program share
 * it. Each node leases a subnet of its own choice for a day and writes its key again before that
 * day is over.
 *
 * One range read gives all leases, one watch the changes. After any gap (an error, a compaction,
 * silence) everything is read again; no call is made for a single key of another node.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Lease } from "../../engine/lease.ts";
import {
  type LeaseRanges,
  type NetConf,
  parseNetConf,
  validateForLeases,
} from "../../engine/net_conf.ts";
import type { Log } from "../log.ts";
import { Backoff, Mark, sleep } from "../wait.ts";
import type { EtcdApi } from "./etcd.ts";
import type { WatchEnd } from "./etcd_api.ts";
import { EtcdLease } from "./etcd_lease.ts";
import { Marks } from "./etcd_marks.ts";
import { EtcdView } from "./etcd_view.ts";
import type { NodeIdentity } from "./node_id.ts";
import type { KnownSelf, LeaseRequest, Snapshot, Store, StoreStatus } from "./store.ts";

/** What an {@link EtcdStore} needs; times are milliseconds unless they say otherwise. */
export interface EtcdStoreOptions {
  /** The store closes it. */
  readonly etcd: EtcdApi;
  /** `--etcd-prefix` */
  readonly prefix: string;
  /** This node, for others that have its address. */
  readonly node: NodeIdentity;
  /** `--subnet-lease-renew-margin`: how long before its end a lease is renewed. */
  readonly margin: number;
  readonly log: Log;
  /** Seconds that a lease lives; 86,400 unless set, as in flannel. */
  readonly ttl?: number;
  /** Between two looks for the configuration; 1,000 unless set. */
  readonly poll?: number;
  /** Longest wait before a failed renewal is tried again; 60,000 unless set. */
  readonly retry?: number;
  /** 0 to 1; `Math.random` unless set. */
  readonly random?: () => number;
}

/** Waits between two readings of all leases: first and longest. */
const AGAIN = { first: 100, cap: 5_000 } as const;

type Work = "config" | "lease" | "watch" | "address";

/** Leases in etcd. */
export class EtcdStore implements Store {
  readonly name = "etcd";
  readonly #etcd: EtcdApi;
  readonly #log: Log;
  readonly #configKey: string;
  readonly #folder: string;
  readonly #poll: number;
  readonly #random: () => number;
  readonly #view: EtcdView;
  readonly #lease: EtcdLease;
  /** What goes wrong now, by the work that it stops. */
  readonly #problems = new Map<Work, { readonly words: string; readonly silent: boolean }>();
  /** A snapshot would be another one now. */
  #changed = new Mark();
  #bad = 0;
  #gaps = 0;

  constructor(options: EtcdStoreOptions) {
    const prefix = options.prefix.replace(/\/+/g, "/").replace(/\/$/, "");
    this.#etcd = options.etcd;
    this.#log = options.log.with({ store: "etcd" });
    this.#configKey = `${prefix}/config`;
    this.#folder = `${prefix}/subnets/`;
    this.#poll = options.poll ?? 1_000;
    this.#random = options.random ?? Math.random;
    this.#view = new EtcdView(
      this.#folder,
      ({ key, reason }) => this.#log.warn("Ignoring a record that is no lease", { key, reason }),
    );
    this.#lease = new EtcdLease({
      etcd: this.#etcd,
      folder: this.#folder,
      marks: new Marks(this.#etcd, `${prefix}/twill/`, options.node, this.#log),
      ranges: async (signal) => (await this.#readConfig(signal)).ranges,
      margin: options.margin,
      ttl: options.ttl ?? 86_400,
      retry: options.retry ?? 60_000,
      random: this.#random,
      log: this.#log,
      report: (trouble) =>
        trouble === undefined
          ? this.#settled("lease")
          : this.#trouble("lease", trouble.words, trouble.cause),
      conflict: (words) =>
        words === undefined ? this.#settled("address") : this.#trouble("address", words, undefined),
      changed: () => {
        this.#lease.meet(this.#view);
        this.#changed.raise();
      },
    });
  }

  /** etcd knows a node by its address only. */
  self(): Promise<KnownSelf> {
    return Promise.resolve({});
  }

  async config(signal: AbortSignal): Promise<NetConf> {
    for (;;) {
      try {
        const { conf } = await this.#readConfig(signal);
        this.#settled("config");
        return conf;
      } catch (e) {
        signal.throwIfAborted();
        this.#trouble("config", `Couldn't fetch network config: ${messageOf(e)}`, e);
      }
      await sleep(this.#poll, signal);
    }
  }

  acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    return this.#lease.acquire(request, signal);
  }

  async *snapshots(signal: AbortSignal): AsyncGenerator<Snapshot, void, undefined> {
    const backoff = new Backoff(AGAIN.first, AGAIN.cap, this.#random);
    for (; !signal.aborted; this.#gaps++) {
      try {
        const { records, revision } = await this.#etcd.list(this.#folder, signal);
        this.#view.replace(records);
        this.#lease.look(this.#view);
        const changed = this.#changed = new Mark();
        let end: WatchEnd | undefined;
        using _watch = this.#etcd.watch(this.#folder, String(BigInt(revision) + 1n), {
          opened: () => {
            backoff.reset();
            this.#settled("watch");
          },
          changed: (events) => {
            this.#view.apply(events);
            this.#lease.look(this.#view);
            changed.raise();
          },
          ended: (why) => {
            end = why;
            changed.raise();
          },
        });
        this.#log.debug("watching for new subnet leases", { revision });
        for (; end === undefined; await changed.wait(signal)) yield this.#snapshot();
        this.#trouble("watch", ...this.#explain(end));
      } catch (e) {
        if (signal.aborted) return;
        this.#trouble("watch", `${messageOf(e)}; reading all leases again`, e);
      }
      await sleep(backoff.next(), signal).catch(() => {});
    }
  }

  status(): StoreStatus {
    const problems = [...this.#problems.values()];
    const problem = problems[0]?.words;
    const leaseEnds = this.#lease.own?.ends;
    return {
      connected: !problems.some(({ silent }) => silent),
      ...(problem !== undefined && { problem }),
      ...(leaseEnds !== undefined && { leaseEnds }),
      bad: this.#bad,
      gaps: this.#gaps,
    };
  }

  async close(): Promise<void> {
    await this.#lease.stop();
    this.#etcd[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #readConfig(signal: AbortSignal): Promise<{ conf: NetConf; ranges: LeaseRanges }> {
    const found = await this.#etcd.get(this.#configKey, signal);
    if (found === undefined) {
      throw new OpError("find etcd key", this.#configKey, {
        code: ErrorCode.badConfig,
        advice: `Write the network configuration there: etcdctl put ${this.#configKey} JSON`,
      });
    }
    const conf = parseNetConf(found.value);
    const ranges = validateForLeases(conf);
    if (!conf.families[4].enabled) {
      throw new OpError("use network configuration", this.#configKey, {
        code: ErrorCode.badConfig,
        kernel: "in etcd every lease has an IPv4 subnet, so EnableIPv4 cannot be false",
      });
    }
    return { conf, ranges };
  }

  #explain(end: WatchEnd): [words: string, cause: unknown] {
    const watch = `etcd watch for ${this.#folder}`;
    switch (end.kind) {
      case "compacted":
        return [
          `${watch} fell behind compaction horizon (compact rev ${end.revision}), ` +
          "re-listing and resuming",
          undefined,
        ];
      case "failed":
        return [`${watch} closed: ${end.error.kernel}; reading all leases again`, end.error];
    }
  }

  #snapshot(): Snapshot {
    const { leases, bad } = this.#view.contents();
    this.#bad = bad.length;
    const ours = this.#lease.own;
    const own = ours && this.#view.get(ours.key)?.lease;
    return {
      leases,
      ...(own !== undefined && own.publicIp === ours?.lease.publicIp && { own }),
      bad,
    };
  }

  /** Remembers a problem, and logs it unless it is the one of before. */
  #trouble(work: Work, words: string, cause: unknown): void {
    if (this.#problems.get(work)?.words !== words) {
      this.#log.warn(words, { advice: cause instanceof OpError ? cause.advice : undefined });
    }
    const silent = cause instanceof OpError && cause.code === ErrorCode.store;
    this.#problems.set(work, { words, silent });
  }

  #settled(work: Work): void {
    if (work === "watch" && this.#problems.get(work)?.silent) this.#log.info("etcd answers again");
    this.#problems.delete(work);
  }
}
