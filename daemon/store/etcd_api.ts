/**
 * What the requests to etcd take and give, in our own words: no type of the client library gets
 * past `etcd.ts`.
 *
 * @module
 */

import type { OpError } from "../../engine/errors.ts";

/** A key with its value, as text. */
export interface EtcdRecord {
  readonly key: string;
  readonly value: string;
  /** Id of the etcd lease that ends the key; `0` for none. */
  readonly lease: string;
  /** Grows with each change of the key. */
  readonly modRevision: string;
}

/** An etcd lease: a time to live that keys can be bound to. */
export interface EtcdLease {
  readonly id: string;
  /** Seconds granted. */
  readonly ttl: number;
}

/** One change that a watch saw; a delete has no value. */
export type EtcdEvent =
  | { readonly kind: "put"; readonly record: EtcdRecord }
  | { readonly kind: "delete"; readonly key: string };

/** What a put may depend on, and what ends the key. */
export interface PutCondition {
  /** `modRevision` that the key must have; `0`: the key must not exist. */
  readonly ifRevision: string;
  /** Id of the lease to bind the key to; absent: the key keeps the one it has, or none. */
  readonly lease?: string;
  /** Another key to write in the same step, whatever it holds. */
  readonly also?: { readonly key: string; readonly value: string; readonly lease: string };
}

/** Why a watch has ended. */
export type WatchEnd =
  /** The watch wanted to begin before what etcd still remembers. */
  | { readonly kind: "compacted"; readonly revision: string }
  | { readonly kind: "failed"; readonly error: OpError };

/** What a watch calls. */
export interface EtcdWatcher {
  /** etcd has confirmed the watch. */
  opened(): void;
  /** The changes of one answer, in order. */
  changed(events: readonly EtcdEvent[]): void;
  /** The watch is over, once and for all; not called after it was disposed of. */
  ended(why: WatchEnd): void;
}
