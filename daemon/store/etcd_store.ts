/**
 * The store in etcd, key for key and byte for byte flannel's: nodes that run either program share
 * it. Each node leases a subnet of its own choice for a day and writes its key again before that
 * day is over.
 *
 * Three things here are deliberately unlike flannel. Renewal hangs on a timer and on nothing else,
 * so a broken watch cannot stop it. Losing a race, a request or the whole lease means to try again,
 * never to exit. And a key without an etcd lease is a reservation: its value is kept up to date,
 * its permanence is left alone.
 *
 * @module
 */

import { chooseLease } from "../../engine/choose_lease.ts";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import {
  type Lease,
  leaseKey,
  type LeaseRecord,
  type LeaseSubnets,
  leaseValue,
} from "../../engine/lease.ts";
import { type NetConf, parseNetConf, validateForLeases } from "../../engine/net_conf.ts";
import type { Log } from "../log.ts";
import { Backoff, Mark, sleep } from "../wait.ts";
import type { EtcdApi, EtcdRecord } from "./etcd.ts";
import { claimsOf, EtcdView, readEntry } from "./etcd_view.ts";
import type { KnownSelf, LeaseRequest, Snapshot, Store, StoreStatus } from "./store.ts";

/** What an {@link EtcdStore} needs; times are milliseconds unless they say otherwise. */
export interface EtcdStoreOptions {
  /** The store closes it. */
  readonly etcd: EtcdApi;
  /** `--etcd-prefix`. */
  readonly prefix: string;
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

/** Other nodes may be faster this often in a row before we take a breath. */
const RACES = 10;
/** The longest that `setTimeout` can wait. */
const LONGEST = 0x7fffffff;

/** The own lease as it was last written. */
interface Own {
  readonly key: string;
  readonly lease: Lease;
  /** Id of its etcd lease, `0` for a reservation. */
  readonly id: string;
  /** When the etcd lease ends; absent for a reservation. */
  readonly ends?: number;
}

/** Leases in etcd. */
export class EtcdStore implements Store {
  readonly name = "etcd";
  readonly #etcd: EtcdApi;
  readonly #log: Log;
  readonly #configKey: string;
  readonly #folder: string;
  readonly #margin: number;
  readonly #ttl: number;
  readonly #poll: number;
  readonly #retry: number;
  readonly #random: () => number;
  readonly #view: EtcdView;
  readonly #closing = new AbortController();
  /** The own key is not what we wrote: see to it. */
  readonly #attention = new Mark();
  /** What goes wrong now, by the work that it stops. */
  readonly #problems = new Map<"config" | "lease" | "watch", string>();
  #record: LeaseRecord | undefined;
  #own: Own | undefined;
  #keeper: Promise<void> | undefined;
  /** Writes of the own key, one after another. */
  #writes: Promise<unknown> = Promise.resolve();
  #bad = 0;
  #gaps = 0;

  constructor(options: EtcdStoreOptions) {
    const prefix = options.prefix.replace(/\/+/g, "/").replace(/\/$/, "");
    this.#etcd = options.etcd;
    this.#log = options.log.with({ store: "etcd" });
    this.#configKey = `${prefix}/config`;
    this.#folder = `${prefix}/subnets/`;
    this.#margin = options.margin;
    this.#ttl = options.ttl ?? 86_400;
    this.#poll = options.poll ?? 1_000;
    this.#retry = options.retry ?? 60_000;
    this.#random = options.random ?? Math.random;
    this.#view = new EtcdView(
      this.#folder,
      ({ key, reason }) => this.#log.warn("Ignoring a record that is no lease", { key, reason }),
    );
  }

  /** etcd knows a node by its address only. */
  self(): Promise<KnownSelf> {
    return Promise.resolve({});
  }

  async config(signal: AbortSignal): Promise<NetConf> {
    for (;;) {
      try {
        const conf = await this.#readConfig(signal);
        this.#settled("config");
        return conf;
      } catch (e) {
        signal.throwIfAborted();
        this.#trouble("config", `Couldn't fetch network config: ${messageOf(e)}`);
      }
      await sleep(this.#poll, signal);
    }
  }

  async acquire({ record, previous }: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    this.#record = record;
    const backoff = new Backoff(this.#poll, 30_000, this.#random);
    for (;;) {
      try {
        const { lease } = await this.#write(() => this.#refresh(previous, signal));
        this.#settled("lease");
        this.#keeper ??= this.#keep(this.#closing.signal);
        return lease;
      } catch (e) {
        signal.throwIfAborted();
        this.#trouble("lease", `failed to acquire lease: ${messageOf(e)}`);
      }
      await sleep(backoff.next(), signal);
    }
  }

  async *snapshots(signal: AbortSignal): AsyncGenerator<Snapshot, void, undefined> {
    const backoff = new Backoff(100, 5_000, this.#random);
    const changed = new Mark();
    while (!signal.aborted) {
      try {
        const { records, revision } = await this.#etcd.list(this.#folder, signal);
        this.#view.replace(records);
        this.#look();
        using watch = this.#etcd.watch(this.#folder, String(BigInt(revision) + 1n), {
          opened: () => {
            backoff.reset();
            this.#settled("watch");
          },
          changed: (events) => {
            this.#view.apply(events);
            this.#look();
            changed.raise();
          },
        });
        this.#log.info("watching for new subnet leases", { revision });
        let end;
        do {
          yield this.#snapshot();
          end = await Promise.race([changed.wait(signal), watch.ended]);
        } while (end === undefined);
        switch (end.kind) {
          case "compacted":
            this.#trouble(
              "watch",
              `etcd watch for ${this.#folder} fell behind compaction horizon ` +
                `(compact rev ${end.revision}), re-listing and resuming`,
            );
            break;
          case "failed":
            throw end.error;
        }
      } catch (e) {
        if (signal.aborted) return;
        this.#trouble("watch", `${messageOf(e)}; reading all leases again`);
      }
      this.#gaps++;
      await sleep(backoff.next(), signal).catch(() => {});
    }
  }

  status(): StoreStatus {
    const problem = [...this.#problems.values()][0];
    return {
      connected: problem === undefined,
      ...(problem !== undefined && { problem }),
      ...(this.#own?.ends !== undefined && { leaseEnds: this.#own.ends }),
      bad: this.#bad,
      gaps: this.#gaps,
    };
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the store is closed"));
    await this.#keeper;
    this.#etcd[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #readConfig(signal: AbortSignal): Promise<NetConf> {
    const found = await this.#etcd.get(this.#configKey, signal);
    if (found === undefined) {
      throw new OpError("find etcd key", this.#configKey, {
        code: ErrorCode.store,
        advice: `Write the network configuration: etcdctl put ${this.#configKey} '{"Network": …}'`,
      });
    }
    const conf = parseNetConf(found.value);
    validateForLeases(conf);
    if (!conf.families[4].enabled) {
      throw new OpError("use network configuration", this.#configKey, {
        code: ErrorCode.badConfig,
        kernel: "in etcd every lease has an IPv4 subnet, so EnableIPv4 cannot be false",
      });
    }
    return conf;
  }

  /** Keeps the lease: writes it again in time, and when somebody else has touched its key. */
  async #keep(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(1_000, this.#retry, this.#random);
    while (!signal.aborted) {
      try {
        const due = await this.#untilDue(signal);
        await this.#write(() => due ? this.#refresh({}, signal) : this.#inspectOwn(signal));
        this.#settled("lease");
        backoff.reset();
      } catch (e) {
        if (signal.aborted) return;
        const wait = backoff.next();
        const again = `trying again in ${Math.ceil(wait / 1000)} s`;
        this.#trouble("lease", `Error renewing lease (${again}): ${messageOf(e)}`);
        await sleep(wait, signal).catch(() => {});
        this.#attention.raise();
      }
    }
  }

  /** Waits for the time to renew (true) or for a remark about the own key (false). */
  async #untilDue(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      const left = this.#dueIn();
      if (left <= 0) return true;
      const race = new AbortController();
      const both = AbortSignal.any([signal, race.signal]);
      try {
        const waits = [
          sleep(Math.min(left, LONGEST), both).then(() => "time" as const),
          this.#attention.wait(both).then(() => "attention" as const),
        ];
        if (await Promise.race(waits) === "attention") return false;
      } finally {
        race.abort();
      }
    }
  }

  /** Milliseconds until the lease should be renewed. */
  #dueIn(): number {
    const { ends } = this.#own ?? {};
    if (ends === undefined) return Infinity;
    // A margin longer than the lease would mean to renew without a pause.
    const margin = Math.min(this.#margin, this.#ttl * 1000 * 0.9);
    return ends - margin - Date.now();
  }

  /** The own key has changed, but not by our hand: finds out what that means. */
  async #inspectOwn(signal: AbortSignal): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    const record = await this.#etcd.get(own.key, signal);
    const entry = record && readEntry(record, this.#folder);
    if (record === undefined || entry?.lease?.publicIp !== own.lease.publicIp) {
      await this.#refresh({}, signal);
    } else if (record.lease === "0") {
      this.#own = { key: own.key, lease: own.lease, id: "0" };
    } else if (record.lease !== own.id) {
      // A node that has our address, or we before a crash: it is renewed in its time.
      const left = await this.#etcd.timeToLive(record.lease, signal);
      this.#own = { ...own, id: record.lease, ends: Date.now() + left * 1000 };
    }
  }

  /**
   * Writes the own key: the one we have, else one that is chosen. After this the lease is fresh.
   *
   * @param previous preferred when there is no own key.
   */
  async #refresh(previous: LeaseSubnets, signal: AbortSignal): Promise<Own> {
    const record = this.#record;
    if (record?.publicIp === undefined) {
      throw new TypeError("a lease in etcd needs an IPv4 address");
    }
    for (let race = 0; race < RACES; race++) {
      const own = this.#own;
      const done = own === undefined
        ? await this.#choose(record, previous, signal)
        : await this.#renew(own, record, signal);
      if (done !== undefined) return this.#own = done;
    }
    throw new OpError("acquire", "lease", {
      code: ErrorCode.tryAgain,
      kernel: "max retries reached trying to acquire a subnet",
    });
  }

  /** Renews the lease that we have. Undefined: look again. */
  async #renew(own: Own, record: LeaseRecord, signal: AbortSignal): Promise<Own | undefined> {
    const found = await this.#etcd.get(own.key, signal);
    const theirs = found && readEntry(found, this.#folder).lease?.publicIp;
    const ours = theirs === undefined || theirs === own.lease.publicIp;
    if (found === undefined || !ours) {
      const reason = ours ? "its key is gone" : `${theirs} has taken it`;
      this.#log.error("Lease is lost, acquiring one again", { key: own.key, reason });
      this.#own = undefined;
      return await this.#choose(record, own.lease, signal);
    }
    const renewed = await this.#put(own.lease, record, found, signal);
    if (renewed?.ends !== undefined) {
      const expires = new Date(renewed.ends).toISOString();
      this.#log.info(`Lease renewed, new expiration: ${expires}`, { key: own.key });
    }
    return renewed;
  }

  /** Gets a lease when we have none. Undefined: another node was faster. */
  async #choose(
    record: LeaseRecord,
    previous: LeaseSubnets,
    signal: AbortSignal,
  ): Promise<Own | undefined> {
    const ranges = validateForLeases(await this.#readConfig(signal));
    const { records } = await this.#etcd.list(this.#folder, signal);
    const { publicIp } = record;
    const choice = chooseLease({
      claims: claimsOf(records, this.#folder),
      ranges,
      ...(publicIp && { publicIp }),
      previous,
      random: this.#random,
    });
    for (const gone of choice.remove) {
      this.#log.warn(
        `Found lease (${
          spell(gone)
        }) for current IP (${publicIp}) but not compatible with current config, deleting`,
      );
      await this.#etcd.remove(gone.record.key, gone.record.modRevision, signal);
    }
    switch (choice.kind) {
      case "full":
        throw new OpError("acquire", "lease", {
          code: ErrorCode.tryAgain,
          kernel: `out of subnets: no IPv${choice.family} subnet is free`,
          advice:
            "Make Network larger or SubnetLen longer, or delete leases of nodes that are gone",
        });
      case "keep":
        this.#log.info(
          `Found lease (${spell(choice.claim)}) for current IP (${publicIp}), reusing`,
        );
        return await this.#put(choice.claim, record, choice.claim.record, signal);
      case "create": {
        if (choice.again.length > 0) {
          this.#log.info(`Found previously leased subnet (${spell(choice.subnets)}), reusing`);
        }
        const created = await this.#put(choice.subnets, record, undefined, signal);
        if (created !== undefined) {
          const name = spell(choice.subnets);
          this.#log.info(`Allocated lease (${name}) to current node (${publicIp})`);
        }
        return created;
      }
    }
  }

  /** Writes the own key if it still is as we found it, with a fresh lease unless it is reserved. */
  async #put(
    subnets: LeaseSubnets,
    record: LeaseRecord,
    found: EtcdRecord | undefined,
    signal: AbortSignal,
  ): Promise<Own | undefined> {
    const { subnet, subnet6 } = subnets;
    const lease: Lease = { ...(subnet && { subnet }), ...(subnet6 && { subnet6 }), ...record };
    const key = found?.key ?? this.#folder + leaseKey(lease);
    const value = leaseValue(lease);
    const ifRevision = found?.modRevision ?? "0";
    if (found?.lease === "0") {
      const done = found.value === value ||
        await this.#etcd.put(key, value, { ifRevision }, signal);
      return done ? { key, lease, id: "0" } : undefined;
    }
    const asked = Date.now();
    const granted = await this.#etcd.grant(this.#ttl, signal);
    if (await this.#etcd.put(key, value, { ifRevision, lease: granted.id }, signal)) {
      return { key, lease, id: granted.id, ends: asked + granted.ttl * 1000 };
    }
    await this.#etcd.revoke(granted.id, signal);
    return undefined;
  }

  #snapshot(): Snapshot {
    const bad = this.#view.bad();
    this.#bad = bad.length;
    const own = this.#own && this.#view.get(this.#own.key)?.lease;
    const isOurs = own !== undefined && own.publicIp === this.#own?.lease.publicIp;
    return { leases: this.#view.leases(), ...(isOurs && { own }), bad };
  }

  /** Asks for attention when the own key is not as we wrote it. */
  #look(): void {
    if (this.#own === undefined) return;
    const entry = this.#view.get(this.#own.key);
    const ours = entry?.reason === undefined && entry?.record.lease === this.#own.id &&
      entry.lease?.publicIp === this.#own.lease.publicIp;
    if (!ours) this.#attention.raise();
  }

  #write<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#writes.then(task, task);
    this.#writes = done.catch(() => {});
    return done;
  }

  /** Remembers a problem, and logs it unless it is the one of before. */
  #trouble(work: "config" | "lease" | "watch", words: string): void {
    if (this.#problems.get(work) !== words) this.#log.warn(words);
    this.#problems.set(work, words);
  }

  #settled(work: "config" | "lease" | "watch"): void {
    this.#problems.delete(work);
  }
}

/** A lease in flannel's words. */
function spell({ subnet, subnet6 }: LeaseSubnets): string {
  return `ip: ${subnet ?? "none"} ipv6: ${subnet6 ?? "none"}`;
}
