/**
 * What the keys below `<prefix>/subnets/` say, kept up to date change by change.
 *
 * The rule that matters: a record that cannot be read changes nothing. A node whose value turns to
 * garbage keeps the lease that it had until its key is deleted or readable again.
 *
 * @module
 */

import type { Claim } from "../../engine/choose_lease.ts";
import type { Ip4 } from "../../engine/ip.ts";
import {
  type Lease,
  type LeaseSubnets,
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

/** The entries of all keys below one folder. */
export class EtcdView {
  readonly folder: string;
  readonly #told: (bad: BadRecord) => void;
  #entries = new Map<string, Entry>();

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

  /** All leases; unchanged ones are the same objects as before. */
  leases(): Lease[] {
    return [...this.#entries.values()].flatMap(({ lease }) => lease === undefined ? [] : [lease]);
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

  /** The records that cannot be read. */
  bad(): BadRecord[] {
    return [...this.#entries.values()].flatMap(({ record, reason }) =>
      reason === undefined ? [] : [{ key: record.key, reason }]
    );
  }

  /** Takes a whole listing for the truth. */
  replace(records: readonly EtcdRecord[]): void {
    const before = this.#entries;
    this.#entries = new Map();
    for (const record of records) this.#put(record, before.get(record.key));
  }

  /** Takes changes, in order. */
  apply(events: readonly EtcdEvent[]): void {
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
