/**
 * This node's lease in etcd: getting it, and keeping it.
 *
 * Three things are deliberately unlike flannel. Renewal hangs on a timer and on nothing else, so
 * that a broken watch cannot stop it. Losing a race, a request or the whole lease means to try
 * again, never to exit. And a key without an etcd lease is a reservation: its value is kept up to
 * date, its permanence is left alone.
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
import type { LeaseRanges } from "../../engine/net_conf.ts";
import type { Log } from "../log.ts";
import { Backoff, Mark, sleep } from "../wait.ts";
import type { EtcdApi } from "./etcd.ts";
import type { EtcdRecord } from "./etcd_api.ts";
import type { Marks } from "./etcd_marks.ts";
import { Rivals } from "./etcd_rivals.ts";
import { claimsOf, type EtcdView, readEntry } from "./etcd_view.ts";
import type { LeaseRequest } from "./store.ts";

/** What an {@link EtcdLease} needs; times are milliseconds unless they say otherwise. */
export interface EtcdLeaseOptions {
  readonly etcd: EtcdApi;
  /** `<prefix>/subnets/` */
  readonly folder: string;
  /** Who holds which lease. */
  readonly marks: Marks;
  /** Reads what nodes may lease, from the configuration as it is now. */
  readonly ranges: (signal: AbortSignal) => Promise<LeaseRanges>;
  /** How long before its end a lease is renewed. */
  readonly margin: number;
  /** Seconds that a lease lives. */
  readonly ttl: number;
  /** Longest wait before a failed renewal is tried again. */
  readonly retry: number;
  /** 0 to 1 */
  readonly random: () => number;
  readonly log: Log;
  /** Called with what keeps the lease from being written, and with nothing when it was. */
  readonly report: (trouble?: { readonly words: string; readonly cause: unknown }) => void;
  /** Called with what is wrong about this node's address, and with nothing when all is well. */
  readonly conflict: (words?: string) => void;
  /** Called when {@link EtcdLease.own} is another one. */
  readonly changed: () => void;
}

/** The own lease as it was last written. */
export interface OwnLease {
  readonly key: string;
  readonly lease: Lease;
  /** The value of the key: what we wrote, or another node with our address. */
  readonly value: string;
  /** Id of its etcd lease, `0` for a reservation. */
  readonly id: string;
  /** When the etcd lease ends, as `Date.now()` counts; absent for a reservation. */
  readonly ends?: number;
  /** When the lease, or the mark of a reservation, ends; absent when nothing is to be renewed. */
  readonly fades?: number;
}

/** Other nodes may be faster this often in a row before we take a breath. */
const RACES = 10;
/** The longest that `setTimeout` can wait. */
const LONGEST = 0x7fffffff;
/** Waits of {@link EtcdLease.acquire} between two tries: first and longest. */
const ACQUIRE = { first: 1_000, cap: 30_000 } as const;

/** Holds this node's lease from the first {@link EtcdLease.acquire} to {@link EtcdLease.stop}. */
export class EtcdLease {
  readonly #options: EtcdLeaseOptions;
  readonly #stopping = new AbortController();
  /** The own key is not as we wrote it: see to it. */
  readonly #attention = new Mark();
  #record: LeaseRecord | undefined;
  #own: OwnLease | undefined;
  #keeper: Promise<void> | undefined;
  /** Writes of the own key, one after another. */
  #writes: Promise<unknown> = Promise.resolve();
  readonly #rivals: Rivals;

  constructor(options: EtcdLeaseOptions) {
    this.#options = options;
    this.#rivals = new Rivals(options.marks, options.conflict);
  }

  /** The lease as it was last written; undefined before the first and after a lost one. */
  get own(): OwnLease | undefined {
    return this.#own;
  }

  /** Gets the lease, or writes the one we have with another record, and keeps it from then on. */
  async acquire({ record, previous }: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    if (record.publicIp === undefined) throw new TypeError("a lease in etcd needs an IPv4 address");
    this.#record = record;
    const backoff = new Backoff(ACQUIRE.first, ACQUIRE.cap, this.#options.random);
    for (;;) {
      try {
        const { lease } = await this.#alone(() => this.#refresh(previous, signal));
        this.#options.report();
        this.#keeper ??= this.#keep(this.#stopping.signal);
        return lease;
      } catch (cause) {
        signal.throwIfAborted();
        const words = `failed to acquire lease: ${messageOf(cause)}`;
        this.#options.report({ words, cause });
      }
      await sleep(backoff.next(), signal);
    }
  }

  /** Compares the view with what we wrote; cheap, to be called at every change. */
  look(view: EtcdView): void {
    if (this.#own === undefined) return;
    const record = view.get(this.#own.key)?.record;
    const { id, value } = this.#own;
    if (record?.lease !== id || record.value !== value) this.#attention.raise();
    this.meet(view);
  }

  /** Looks for other leases with our address; to be called when that changed, too. */
  meet(view: EtcdView): void {
    const { key, lease } = this.#own ?? {};
    const ip = lease?.publicIp;
    const found = key === undefined || ip === undefined ? [] : view.withAddress(ip, key);
    if (this.#rivals.see(found)) this.#attention.raise();
  }

  /** Stops keeping the lease; it stays until it runs out. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the lease is no longer kept"));
    await this.#keeper;
  }

  /** Writes the lease again in time, and when somebody else has touched its key. */
  async #keep(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(1_000, this.#options.retry, this.#options.random);
    while (!signal.aborted) {
      try {
        const due = await this.#untilDue(signal);
        await this.#alone<unknown>(() =>
          due || this.#own === undefined ? this.#refresh({}, signal) : this.#examine(signal)
        );
        await this.#rivals.judge(signal);
        this.#options.report();
        backoff.reset();
      } catch (cause) {
        if (signal.aborted) return;
        // The same words each time, so that they are logged once.
        const words = `Error renewing lease (trying again): ${messageOf(cause)}`;
        this.#options.report({ words, cause });
        await sleep(backoff.next(), signal).catch(() => {});
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
        const time = sleep(Math.min(left, LONGEST), both).then(() => true);
        const remark = this.#attention.wait(both).then(() => false);
        if (!await Promise.race([time, remark])) return false;
      } finally {
        race.abort();
      }
    }
  }

  /** Milliseconds until the lease should be renewed. */
  #dueIn(): number {
    const fades = this.#own?.fades;
    if (fades === undefined) return Infinity;
    const life = this.#options.ttl * 1000;
    // A margin longer than the lease would mean to renew without a pause.
    return fades - (this.#options.margin < life ? this.#options.margin : life / 2) - Date.now();
  }

  /** The own key is not as we wrote it: finds out what that means. */
  async #examine(signal: AbortSignal): Promise<void> {
    const own = this.#own;
    if (own === undefined) return;
    const found = await this.#options.etcd.get(own.key, signal);
    if (found !== undefined && found.lease !== "0" && found.lease !== own.id && isOf(found, own)) {
      // A node that has our address, or we ourselves before a crash. It is renewed in its time:
      // two that write at once whenever the other has written would never stop.
      const left = await this.#options.etcd.timeToLive(found.lease, signal);
      const ends = Date.now() + left * 1000;
      const { value, lease: id } = found;
      this.#set({ ...own, value, id, ends, fades: ends });
      const [claim] = claimsOf([found], this.#options.folder);
      if (value !== leaseValue(own.lease)) this.#rivals.taken(claim);
    } else if (found?.lease !== own.id || found.value !== own.value) {
      await this.#refresh({}, signal);
    }
  }

  /** Writes the own key: the one we have, else one that is chosen. After this it is fresh. */
  async #refresh(previous: LeaseSubnets, signal: AbortSignal): Promise<OwnLease> {
    const record = this.#record ?? { backendType: "" };
    for (let race = 0; race < RACES; race++) {
      const own = this.#own;
      const done = own === undefined
        ? await this.#choose(record, previous, signal)
        : await this.#renew(own, record, signal);
      if (done === undefined) continue;
      this.#rivals.taken();
      return this.#set(done);
    }
    throw new OpError("acquire", "lease", {
      code: ErrorCode.tryAgain,
      kernel: "max retries reached trying to acquire a subnet",
    });
  }

  /** Renews the lease that we have. Undefined: look again. */
  async #renew(
    own: OwnLease,
    record: LeaseRecord,
    signal: AbortSignal,
  ): Promise<OwnLease | undefined> {
    const { etcd, log } = this.#options;
    const found = await etcd.get(own.key, signal);
    if (found === undefined || !isOf(found, own)) {
      const reason = found === undefined ? "its key is gone" : "another node has it";
      log.error("Lease is lost, acquiring one again", { key: own.key, reason });
      // `#own` stays until there is another: a try that fails must know what to ask for next.
      return await this.#choose(record, own.lease, signal);
    }
    const renewed = await this.#put(own.lease, record, found, signal);
    if (renewed?.ends !== undefined) {
      const expires = new Date(renewed.ends).toISOString();
      log.info(`Lease renewed, new expiration: ${expires}`, { key: own.key });
    }
    return renewed;
  }

  /** Gets a lease when we have none. Undefined: another node was faster. */
  async #choose(
    record: LeaseRecord,
    previous: LeaseSubnets,
    signal: AbortSignal,
  ): Promise<OwnLease | undefined> {
    const { etcd, folder, log, marks, random } = this.#options;
    const ranges = await this.#options.ranges(signal);
    const { records } = await etcd.list(folder, signal);
    const { publicIp } = record;
    const claims = await marks.judge(claimsOf(records, folder), previous, signal);
    for (const other of claims) {
      if (other.holder !== "another" || other.publicIp !== publicIp) continue;
      const what = `Found lease (${spell(other)}) for current IP (${publicIp})`;
      log.warn(`${what}, but it is another node's`, { node: other.mark?.node.name });
    }
    const wish = { claims, ranges, previous, random, ...(publicIp && { publicIp }) };
    const choice = chooseLease(wish);
    for (const gone of choice.remove) {
      const what = `Found lease (${spell(gone)}) for current IP (${publicIp})`;
      log.warn(`${what} but not compatible with current config, deleting`);
      const { key, modRevision } = gone.record;
      await etcd.remove(key, modRevision, signal, gone.holder && marks.keyOf(gone));
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
        log.info(`Found lease (${spell(choice.claim)}) for current IP (${publicIp}), reusing`);
        return await this.#put(choice.claim, record, choice.claim.record, signal);
      case "create": {
        const name = spell(choice.subnets);
        if (choice.again.length > 0) log.info(`Found previously leased subnet (${name}), reusing`);
        const created = await this.#put(choice.subnets, record, undefined, signal);
        if (created !== undefined) {
          log.info(`Allocated lease (${name}) to current node (${publicIp})`);
        }
        return created;
      }
    }
  }

  /** Writes the own key if it still is as we found it, with a fresh lease unless it is reserved. */
  async #put(
    { subnet, subnet6 }: LeaseSubnets,
    record: LeaseRecord,
    found: EtcdRecord | undefined,
    signal: AbortSignal,
  ): Promise<OwnLease | undefined> {
    const { etcd, folder, marks, ttl } = this.#options;
    const lease: Lease = { ...(subnet && { subnet }), ...(subnet6 && { subnet6 }), ...record };
    const key = found?.key ?? folder + leaseKey(lease);
    const value = leaseValue(lease);
    const ifRevision = found?.modRevision ?? "0";
    const reserved = found?.lease === "0";
    const asked = Date.now();
    const { id, ttl: granted } = await etcd.grant(ttl, signal);
    const fades = asked + granted * 1000;
    const also = marks.beside(lease, lease.publicIp, id);
    const condition = { ifRevision, ...(reserved ? {} : { lease: id }), ...(also && { also }) };
    try {
      if (await etcd.put(key, value, condition, signal)) {
        const own = { key, lease, value, fades };
        return reserved ? { ...own, id: "0" } : { ...own, id, ends: fades };
      }
    } catch (e) {
      // Rights may be given for leases only: the next try is without a mark.
      if (also === undefined || !marks.refused(e)) throw e;
    }
    // If this fails, the lease ends by itself: nothing is bound to it.
    await etcd.revoke(id, signal).catch(() => signal.throwIfAborted());
    return undefined;
  }

  #set(own: OwnLease): OwnLease {
    this.#own = own;
    this.#options.changed();
    return own;
  }

  #alone<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#writes.then(task);
    this.#writes = done.catch(() => {});
    return done;
  }
}

/** True unless the record names another node: one that cannot be read is ours to write again. */
function isOf(found: EtcdRecord, { key, lease }: OwnLease): boolean {
  const entry = readEntry(found, key.slice(0, -leaseKey(lease).length));
  return entry.lease === undefined || entry.lease.publicIp === lease.publicIp;
}

/** A lease in flannel's words. */
function spell({ subnet, subnet6 }: LeaseSubnets): string {
  return `ip: ${subnet ?? "none"} ipv6: ${subnet6 ?? "none"}`;
}
