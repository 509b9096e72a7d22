/**
 * What the keys below `<prefix>/subnets/` say, kept up to date change by change.
 *
 * The rule that matters: a record that cannot be read changes nothing. A node whose value turns to
 * garbage keeps the lease that it had until its key is deleted or readable again.
 *
 * @module
 */

import type { Claim } from "../../engine/choose_lease.ts";
import type { Cidr, Ip4 } from "../../engine/ip.ts";
import {
  type Lease,
  type LeaseSubnets,
  leaseSubnets,
  parseLeaseKey,
  parseLeaseValue,
} from "../../engine/lease.ts";
import type { EtcdEvent, EtcdRecord } from "./etcd_api.ts";
import type { BadRecord } from "./store.ts";

/** One key: what it says, or last said, and what is wrong with it now. */
export interface Entry {
  readonly record: EtcdRecord;
  /** The subnets in the key; absent when it is no lease's key. */
  readonly subnets?: LeaseSubnets;
  readonly lease?: Lease;
  /** Why `record` is no lease. */
  readonly reason?: string;
}

/** A key as the choice of a subnet sees it. */
export interface RecordClaim extends Claim {
  readonly record: EtcdRecord;
}

/**
 * Reads one record.
 *
 * @param folder what comes before the lease's name in a key: `<prefix>/subnets/`.
 * @param before what the key said before; its lease stays while the record cannot be read.
 */
export function readEntry(record: EtcdRecord, folder: string, before?: Entry): Entry {
  // A renewal writes the same value again: the lease stays the same object.
  if (before !== undefined && before.record.value === record.value) return { ...before, record };
  let subnets: LeaseSubnets | undefined;
  try {
    subnets = parseLeaseKey(record.key.slice(folder.length));
    return { record, subnets, lease: { ...subnets, ...parseLeaseValue(record.value) } };
  } catch (e) {
    const reason = (e as SyntaxError).message;
    const lease = before?.lease;
    return { record, ...(subnets && { subnets }), ...(lease && { lease }), reason };
  }
}

/** What the choice of a subnet needs: every key that names subnets, readable value or not. */
export function claimsOf(records: readonly EtcdRecord[], folder: string): RecordClaim[] {
  return records.flatMap((record) => claimOf(readEntry(record, folder)));
}

function claimOf({ record, subnets, lease }: Entry): RecordClaim[] {
  if (subnets === undefined) return [];
  const publicIp = lease?.publicIp;
  return [{ ...subnets, ...(publicIp && { publicIp }), reserved: record.lease === "0", record }];
}

/**
 * The entries that must not count, because a key that was written later names one of their subnets:
 * `X` and `X&Y` can stand side by side. Of two only the one that somebody still renews is alive, and
 * all nodes see the same order. Each with the reason.
 */
export function outdated(entries: Iterable<Entry>): Map<Entry, string> {
  const all = [...entries].filter(({ lease }) => lease !== undefined);
  const subnets = all.flatMap(({ lease }) => leaseSubnets(lease!));
  // Nearly always: sorting thousands for each change would cost more than all the rest.
  if (new Set(subnets).size === subnets.length) return new Map();
  const holders = new Map<Cidr, Entry>();
  const gone = new Map<Entry, string>();
  for (const entry of all.sort((a, b) => byRevision(b.record, a.record))) {
    const own = leaseSubnets(entry.lease!);
    const lost = own.find((subnet) => holders.has(subnet));
    if (lost === undefined) { for (const subnet of own) holders.set(subnet, entry); }
    else gone.set(entry, `${holders.get(lost)!.record.key} has ${lost}, and was written later`);
  }
  return gone;
}

/** By revision, which may have more digits than a number holds. */
function byRevision(a: EtcdRecord, b: EtcdRecord): number {
  const [x, y] = [a.modRevision, b.modRevision];
  return x.length - y.length || (x < y ? -1 : Number(x > y));
}

/** What a snapshot is made of. */
export interface Contents {
  /** Unchanged ones are the same objects as before. */
  readonly leases: readonly Lease[];
  /** Records that are no leases, or do not count. */
  readonly bad: readonly BadRecord[];
}

/** The entries of all keys below one folder. */
export class EtcdView {
  readonly folder: string;
  readonly #told: (bad: BadRecord) => void;
  #entries = new Map<string, Entry>();
  /** Until the next change. */
  #contents: Contents | undefined;
  /** What was told of outdated entries. */
  #outdated: ReadonlySet<string> = new Set();

  /**
   * @param folder `<prefix>/subnets/`.
   * @param told called once for each record that cannot be read, and again when that changes.
   */
  constructor(folder: string, told: (bad: BadRecord) => void) {
    this.folder = folder;
    this.#told = told;
  }

  /** What a key says now. */
  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** All leases and all bad records. */
  contents(): Contents {
    if (this.#contents !== undefined) return this.#contents;
    const gone = outdated(this.#entries.values());
    const leases: Lease[] = [];
    const bad: BadRecord[] = [];
    for (const entry of this.#entries.values()) {
      const late = gone.get(entry);
      const reason = entry.reason ?? late;
      if (reason !== undefined) bad.push({ key: entry.record.key, reason });
      if (entry.lease !== undefined && late === undefined) leases.push(entry.lease);
    }
    const lost = new Set([...gone].map(([entry, reason]) => `${entry.record.key} ${reason}`));
    for (const [entry, reason] of gone) {
      const key = entry.record.key;
      if (!this.#outdated.has(`${key} ${reason}`)) this.#told({ key, reason });
    }
    this.#outdated = lost;
    return this.#contents = { leases, bad };
  }

  /** The keys whose lease has this address, but for one. */
  withAddress(publicIp: Ip4, except: string): RecordClaim[] {
    const found: RecordClaim[] = [];
    for (const entry of this.#entries.values()) {
      if (entry.lease?.publicIp !== publicIp || entry.record.key === except) continue;
      found.push(...claimOf(entry));
    }
    return found;
  }

  /** Takes a whole listing for the truth. */
  replace(records: readonly EtcdRecord[]): void {
    this.#contents = undefined;
    const before = this.#entries;
    this.#entries = new Map();
    for (const record of records) this.#put(record, before.get(record.key));
  }

  /** Takes changes, in order. */
  apply(events: readonly EtcdEvent[]): void {
    this.#contents = undefined;
    for (const event of events) {
      switch (event.kind) {
        case "put":
          this.#put(event.record, this.#entries.get(event.record.key));
          break;
        case "delete":
          this.#entries.delete(event.key);
          break;
      }
    }
  }

  #put(record: EtcdRecord, before: Entry | undefined): void {
    const entry = readEntry(record, this.folder, before);
    this.#entries.set(record.key, entry);
    if (entry.reason !== undefined && entry.reason !== before?.reason) {
      this.#told({ key: record.key, reason: entry.reason });
    }
  }
}
