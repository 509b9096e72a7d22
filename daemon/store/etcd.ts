/**
 * The few things we ask of etcd, as plain functions: the only file that knows the client library.
 *
 * The library's own retries, circuit breakers and resuming watchers are not used. Each request has
 * one deadline, goes to the endpoint that answered last, and moves on to the next one when that
 * fails; a watch reports its end and never repairs itself, because whoever holds it must read
 * everything again after a gap.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Etcd3, type IOptions, isRecoverableError } from "etcd3";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { unless } from "../wait.ts";

/** How to reach etcd. */
export interface EtcdOptions {
  /** `http://host:port` or `https://host:port`. */
  readonly endpoints: readonly string[];
  /** PEM texts for `https` endpoints; without `ca` the system's authorities count. */
  readonly tls?: {
    readonly ca?: Uint8Array;
    readonly cert?: Uint8Array;
    readonly key?: Uint8Array;
  };
  readonly auth?: { readonly username: string; readonly password: string };
  /** Milliseconds for one request, all endpoints together; 5,000 unless set. */
  readonly deadline?: number;
}

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

/** The requests a store makes; what tests replace. */
export type EtcdApi = Omit<EtcdClient, never>;

/** A connection to etcd. */
export class EtcdClient implements Disposable {
  readonly #clients: readonly Etcd3[];
  readonly #deadline: number;
  /** Index of the endpoint that answered last. */
  #current = 0;

  /** Does not connect yet. @throws {TypeError} when there is no endpoint. */
  constructor(options: EtcdOptions) {
    if (options.endpoints.length === 0) throw new TypeError("etcd needs at least one endpoint");
    this.#deadline = options.deadline ?? 5_000;
    this.#clients = options.endpoints.map((endpoint) =>
      new Etcd3(this.#optionsFor(endpoint, options))
    );
  }

  /** Closes all connections. */
  [Symbol.dispose](): void {
    for (const client of this.#clients) client.close();
  }

  /** One key, or undefined. @throws {OpError} */
  async get(key: string, signal: AbortSignal): Promise<EtcdRecord | undefined> {
    const request = { key: Buffer.from(key) };
    const { kvs } = await this.#call("read etcd key", key, signal, (c) => c.kv.range(request));
    return kvs.map(toRecord)[0];
  }

  /**
   * All keys that begin with the prefix, in byte order, and the revision of this moment.
   *
   * @throws {OpError}
   */
  async list(
    prefix: string,
    signal: AbortSignal,
  ): Promise<{ readonly records: readonly EtcdRecord[]; readonly revision: string }> {
    const request = rangeOf(prefix);
    const answer = await this.#call("list etcd keys", prefix, signal, (c) => c.kv.range(request));
    return { records: answer.kvs.map(toRecord), revision: answer.header.revision };
  }

  /**
   * Writes a key if its condition holds. A request that was carried out but whose answer got lost
   * is recognised when it is sent again.
   *
   * @returns false when the condition did not hold: somebody else was faster.
   * @throws {OpError}
   */
  async put(
    key: string,
    value: string,
    { ifRevision, lease }: PutCondition,
    signal: AbortSignal,
  ): Promise<boolean> {
    const bytes = Buffer.from(key);
    const exists = ifRevision !== "0";
    const put = {
      key: bytes,
      value: Buffer.from(value),
      // etcd refuses `ignore_lease` for a key that does not exist.
      ...(lease !== undefined ? { lease } : exists ? { ignore_lease: true } : {}),
    };
    const answer = await this.#call("write etcd key", key, signal, (c) =>
      c.kv.txn({
        compare: [{ key: bytes, target: "Mod", result: "Equal", mod_revision: ifRevision }],
        success: [{ request_put: put }],
        failure: [{ request_range: { key: bytes } }],
      }));
    if (answer.succeeded) return true;
    const now = answer.responses[0]?.response_range.kvs.map(toRecord)[0];
    return now !== undefined && now.value === value && (lease === undefined || now.lease === lease);
  }

  /** Removes a key if it still has this revision. @throws {OpError} */
  async remove(key: string, ifRevision: string, signal: AbortSignal): Promise<boolean> {
    const bytes = Buffer.from(key);
    const answer = await this.#call("remove etcd key", key, signal, (c) =>
      c.kv.txn({
        compare: [{ key: bytes, target: "Mod", result: "Equal", mod_revision: ifRevision }],
        success: [{ request_delete_range: { key: bytes } }],
      }));
    return answer.succeeded;
  }

  /** A new lease of so many seconds; etcd may grant more. @throws {OpError} */
  async grant(ttl: number, signal: AbortSignal): Promise<EtcdLease> {
    const answer = await this.#call(
      "get etcd lease of",
      `${ttl} s`,
      signal,
      (c) => c.leaseClient.leaseGrant({ TTL: ttl }),
    );
    return { id: answer.ID, ttl: Number(answer.TTL) };
  }

  /** Ends a lease and all keys bound to it. @throws {OpError} */
  async revoke(id: string, signal: AbortSignal): Promise<void> {
    await this.#call("revoke etcd lease", id, signal, (c) => c.leaseClient.leaseRevoke({ ID: id }));
  }

  /** Seconds that a lease has left; -1 when it has ended. @throws {OpError} */
  async timeToLive(id: string, signal: AbortSignal): Promise<number> {
    const { TTL } = await this.#call(
      "read etcd lease",
      id,
      signal,
      (c) => c.leaseClient.leaseTimeToLive({ ID: id }),
    );
    return Number(TTL);
  }

  /**
   * Watches all keys that begin with the prefix, from a revision on, that one included. Disposing
   * the result ends the watch.
   */
  watch(prefix: string, from: string, watcher: EtcdWatcher): Disposable {
    const index = this.#current;
    let stream: { end(): void; cancel(): void } | undefined;
    let over = false;
    const stop = (): void => {
      over = true;
      clearTimeout(patience);
      // The library takes the error of a stream that can still be written for a failed endpoint,
      // and would close all its connections.
      stream?.end();
      stream?.cancel();
    };
    const end = (why: WatchEnd): void => {
      if (over) return;
      stop();
      watcher.ended(why);
    };
    const fail = (cause: unknown, words?: string): void =>
      end({ kind: "failed", error: failure("watch etcd keys", prefix, cause, words) });
    const patience = setTimeout(() => {
      this.#next(index);
      fail(undefined, `no answer within ${this.#deadline} ms`);
    }, this.#deadline);
    this.#clients[index]!.watchClient.watch(WITH_LEADER).then((duplex) => {
      stream = duplex;
      duplex.on("error", (e) => {
        if (over) return;
        this.#next(index);
        fail(e);
      });
      if (over) return stop();
      duplex.on("end", () => fail(undefined, "etcd has ended the watch"));
      duplex.on("data", ({ created, canceled, compact_revision, cancel_reason, events }) => {
        if (over) return;
        if (compact_revision !== "0") return end({ kind: "compacted", revision: compact_revision });
        if (canceled) return fail(undefined, cancel_reason || "etcd refused the watch");
        if (created) {
          clearTimeout(patience);
          watcher.opened();
        }
        if (events.length > 0) watcher.changed(events.map(toEvent));
      });
      duplex.write({ create_request: { ...rangeOf(prefix), start_revision: from } });
    }).catch(fail);
    return { [Symbol.dispose]: stop };
  }

  /** Asks the endpoint that answered last, then each of the others once. */
  async #call<T>(
    deed: string,
    object: string,
    signal: AbortSignal,
    request: (client: Etcd3) => Promise<T>,
  ): Promise<T> {
    let last: unknown;
    for (let tries = 0; tries < this.#clients.length; tries++) {
      const index = this.#current;
      try {
        return await unless(signal, request(this.#clients[index]!));
      } catch (e) {
        signal.throwIfAborted();
        last = e;
        if (!(e instanceof Error) || !isRecoverableError(e)) break;
        this.#next(index);
      }
    }
    throw failure(deed, object, last);
  }

  /** The endpoint did not answer: asks another one from now on, unless that happened already. */
  #next(failed: number): void {
    if (this.#current === failed) this.#current = (failed + 1) % this.#clients.length;
  }

  #optionsFor(endpoint: string, { endpoints, tls, auth }: EtcdOptions): IOptions {
    // One request may have to ask every endpoint within the deadline.
    const share = Math.max(500, Math.floor(this.#deadline / endpoints.length));
    const deadline = (): { deadline: number } => ({ deadline: Date.now() + share });
    return {
      hosts: endpoint,
      ...(tls && endpoint.startsWith("https:") && { credentials: credentialsOf(tls) }),
      ...(auth && { auth: { ...auth, callOptions: deadline } }),
      defaultCallOptions: ({ isStream }) => isStream ? {} : deadline(),
      faultHandling: { host: () => ONCE, global: ONCE },
      grpcOptions: {
        // All leases come in one answer.
        "grpc.max_receive_message_length": 256 << 20,
        // A watch on a dead connection hears nothing; etcd allows a ping each 5 s.
        "grpc.keepalive_time_ms": 10_000,
        "grpc.keepalive_timeout_ms": 5_000,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 1_000,
      },
    };
  }
}

/** The library's policy for "try once". */
const ONCE = {
  execute: async (task: (context: { signal: AbortSignal }) => unknown) =>
    await task({ signal: new AbortController().signal }),
} as unknown as NonNullable<NonNullable<IOptions["faultHandling"]>["global"]>;

type WatchCallOptions = NonNullable<Parameters<Etcd3["watchClient"]["watch"]>[0]>;

/** A member that has lost its leader ends the watch, and does not stay silent. */
const WITH_LEADER: WatchCallOptions = {
  interceptors: [(options, nextCall) => {
    const call = nextCall(options);
    const start = call.start.bind(call);
    call.start = (metadata, listener) => {
      metadata.set("hasleader", "true");
      start(metadata, listener);
    };
    return call as ReturnType<NonNullable<WatchCallOptions["interceptors"]>[number]>;
  }],
};

type Credentials = NonNullable<IOptions["credentials"]>;

function credentialsOf({ ca, cert, key }: NonNullable<EtcdOptions["tls"]>): Credentials {
  // The library passes an absent authority on, which means those of the system.
  return {
    ...(ca && { rootCertificate: Buffer.from(ca) }),
    ...(cert && { certChain: Buffer.from(cert) }),
    ...(key && { privateKey: Buffer.from(key) }),
  } as Credentials;
}

/** The half-open range of all keys with this prefix: up to the prefix with its last byte raised. */
function rangeOf(prefix: string): { key: Buffer; range_end: Buffer } {
  const key = Buffer.from(prefix);
  const end = Buffer.from(key);
  // UTF-8 has no byte 0xff, so the last byte can always be raised.
  end[end.length - 1]! += 1;
  return { key, range_end: end };
}

function toRecord(
  kv: { key: Buffer; value: Buffer; lease: string; mod_revision: string },
): EtcdRecord {
  return {
    key: kv.key.toString(),
    value: kv.value.toString(),
    lease: kv.lease,
    modRevision: kv.mod_revision,
  };
}

function toEvent({ type, kv }: { type: string; kv: Parameters<typeof toRecord>[0] }): EtcdEvent {
  return type === "Delete"
    ? { kind: "delete", key: kv.key.toString() }
    : { kind: "put", record: toRecord(kv) };
}

function failure(deed: string, object: string, cause: unknown, kernel?: string): OpError {
  // gRPC puts a number and a name before the words, the library the name of its class.
  const words = kernel ?? messageOf(cause).replace(/^(\w+: )?\d+ [A-Z_]+: /, "");
  return new OpError(deed, object, { code: ErrorCode.store, kernel: words, cause });
}
