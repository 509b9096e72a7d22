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
import {
  Etcd3,
  EtcdAuthenticationFailedError,
  EtcdPermissionDeniedError,
  GRPCUnauthenticatedError,
  type IOptions,
  isRecoverableError,
} from "etcd3";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { unless } from "../wait.ts";
import type {
  EtcdEvent,
  EtcdLease,
  EtcdRecord,
  EtcdWatcher,
  PutCondition,
  WatchEnd,
} from "./etcd_api.ts";
import { type ChannelSettings, channelSettings, withHeaders } from "./etcd_channel.ts";
import { type EtcdEndpoint, parseEndpoint, wordsOf } from "./etcd_endpoint.ts";
import type { EtcdTls } from "./etcd_tls.ts";

/** How to reach etcd. */
export interface EtcdOptions {
  /** `http://host:port` or `https://host:port`; without a scheme `tls` decides. */
  readonly endpoints: readonly string[];
  /** For `https` endpoints, asked for each new connection; absent: the system's authorities. */
  readonly tls?: () => EtcdTls;
  readonly auth?: { readonly username: string; readonly password: string };
  /** Milliseconds for one request, all endpoints together; 5,000 unless set. */
  readonly deadline?: number;
  /**
   * Milliseconds after which a silent connection is asked whether it is alive; half of that later it
   * is given up. 6,000 unless set: etcd allows no less than 5,000.
   */
  readonly silence?: number;
}

/** The requests a store makes; what tests replace. */
export type EtcdApi = Omit<EtcdClient, never>;

/** One member, and the library's client for it. */
interface Member {
  readonly endpoint: EtcdEndpoint;
  readonly client: Etcd3;
}

/** A connection to etcd. */
export class EtcdClient implements Disposable {
  readonly #members: readonly Member[];
  readonly #auth: EtcdOptions["auth"];
  /** Milliseconds that one member has for one request. */
  readonly #share: number;
  readonly #deadline: number;
  /** Index of the member that answered last. */
  #current = 0;
  /** Shown with each call once etcd knows who we are; all members take it. */
  #token: string | undefined;
  #login: Promise<string> | undefined;

  /**
   * Does not connect yet.
   *
   * @throws {SyntaxError} for what is no endpoint.
   * @throws {TypeError} when there is none.
   */
  constructor({ endpoints, tls, auth, deadline = 5_000, silence = 6_000 }: EtcdOptions) {
    if (endpoints.length === 0) throw new TypeError("etcd needs at least one endpoint");
    this.#auth = auth;
    this.#deadline = deadline;
    // One request may have to ask every member within the deadline.
    this.#share = Math.max(500, Math.floor(deadline / endpoints.length));
    this.#members = endpoints.map((text) => {
      const endpoint = parseEndpoint(text, tls !== undefined);
      const settings = channelSettings(endpoint, tls ?? (() => ({})), silence);
      return { endpoint, client: new Etcd3(this.#optionsFor(endpoint, settings)) };
    });
  }

  /** Closes all connections. */
  [Symbol.dispose](): void {
    for (const { client } of this.#members) client.close();
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
    { ifRevision, lease, also }: PutCondition,
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
        success: [
          { request_put: put },
          ...(also === undefined ? [] : [{ request_put: asBytes(also) }]),
        ],
        failure: [{ request_range: { key: bytes } }],
      }));
    if (answer.succeeded) return true;
    const now = answer.responses[0]?.response_range.kvs.map(toRecord)[0];
    return now !== undefined && now.value === value && (lease === undefined || now.lease === lease);
  }

  /** Removes a key, and another with it, if it still has this revision. @throws {OpError} */
  async remove(
    key: string,
    ifRevision: string,
    signal: AbortSignal,
    also?: string,
  ): Promise<boolean> {
    const bytes = Buffer.from(key);
    const keys = also === undefined ? [bytes] : [bytes, Buffer.from(also)];
    const answer = await this.#call("remove etcd key", key, signal, (c) =>
      c.kv.txn({
        compare: [{ key: bytes, target: "Mod", result: "Equal", mod_revision: ifRevision }],
        success: keys.map((key) => ({ request_delete_range: { key } })),
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
    const member = this.#members[index]!;
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
    const fail = (cause: unknown, words = this.#words(cause, member)): void => {
      const kernel = `${member.endpoint.url}: ${words}`;
      const error = new OpError("watch etcd keys", prefix, {
        code: ErrorCode.store,
        kernel,
        cause,
      });
      end({ kind: "failed", error });
    };
    const patience = setTimeout(() => {
      this.#next(index);
      fail(undefined, `no answer within ${this.#deadline} ms`);
    }, this.#deadline);
    member.client.watchClient.watch(this.#headers({ hasleader: "true" })).then((duplex) => {
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

  /** Asks the member that answered last, then each of the others once. */
  async #call<T>(
    deed: string,
    object: string,
    signal: AbortSignal,
    request: (client: Etcd3) => Promise<T>,
  ): Promise<T> {
    const failed = new Map<Member, string>();
    let cause: unknown;
    for (;;) {
      const index = this.#unasked(failed);
      const member = this.#members[index];
      if (member === undefined) break;
      try {
        return await unless(signal, this.#ask(member.client, request));
      } catch (e) {
        signal.throwIfAborted();
        const words = this.#words(e, member);
        if (!(e instanceof Error) || !isRecoverableError(e)) throw refused(deed, object, e, words);
        cause = e;
        failed.set(member, words);
        this.#next(index);
      }
    }
    // In the order of the flag: the same trouble has the same words, wherever asking began.
    const kernel = this.#members.map((member) => `${member.endpoint.url}: ${failed.get(member)}`)
      .join("; ");
    throw new OpError(deed, object, { code: ErrorCode.store, kernel, cause });
  }

  /** One request to one member, with a token where etcd wants one. */
  async #ask<T>(client: Etcd3, request: (client: Etcd3) => Promise<T>): Promise<T> {
    if (this.#auth === undefined) return await request(client);
    for (let again = false;; again = true) {
      const token = this.#token ??= await this.#logIn(client);
      try {
        return await request(client);
      } catch (e) {
        // Tokens run out, and a member that starts again knows none.
        if (again || !(e instanceof GRPCUnauthenticatedError)) throw e;
        if (this.#token === token) this.#token = undefined;
      }
    }
  }

  /** Fetches a token; empty when etcd wants none. One request for all calls that need it now. */
  #logIn({ auth }: Etcd3): Promise<string> {
    const { username: name, password } = this.#auth!;
    // Not by the library's own log-in: it knows neither our certificate checks nor our deadline.
    return this.#login ??= auth.authenticate({ name, password }).then(
      ({ token }) => token,
      (e) => {
        if (/authentication is not enabled/.test(messageOf(e))) return "";
        throw e;
      },
    ).finally(() => this.#login = undefined);
  }

  /** Index of the member to ask next: the current one, or the first one behind it. Else -1. */
  #unasked(asked: ReadonlyMap<Member, unknown>): number {
    const all = this.#members;
    const order = all.map((_, i) => (this.#current + i) % all.length);
    return order.find((i) => !asked.has(all[i]!)) ?? -1;
  }

  /** The member did not answer: asks another one from now on, unless that happened already. */
  #next(failed: number): void {
    if (this.#current === failed) this.#current = (failed + 1) % this.#members.length;
  }

  #words(cause: unknown, { endpoint }: Member): string {
    return wordsOf(messageOf(cause), endpoint, this.#share);
  }

  /** Call options: these headers, and the token as it is when the call starts. */
  #headers(headers: Readonly<Record<string, string>> = {}): CallOptions {
    const all = withHeaders(() => this.#token ? { ...headers, token: this.#token } : headers);
    return { interceptors: [all] } as CallOptions;
  }

  #optionsFor(endpoint: EtcdEndpoint, settings: ChannelSettings): IOptions {
    const headers = this.#headers();
    return {
      hosts: endpoint.target,
      defaultCallOptions: ({ isStream }) =>
        isStream ? headers : { ...headers, deadline: Date.now() + this.#share },
      faultHandling: { host: () => ONCE, global: ONCE },
      grpcOptions: settings as NonNullable<IOptions["grpcOptions"]>,
    };
  }
}

/** The library's policy for "try once". */
const ONCE = {
  execute: async (task: (context: { signal: AbortSignal }) => unknown) =>
    await task({ signal: new AbortController().signal }),
} as unknown as NonNullable<NonNullable<IOptions["faultHandling"]>["global"]>;

type CallOptions = NonNullable<Parameters<Etcd3["watchClient"]["watch"]>[0]>;

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

function asBytes({ key, value, lease }: NonNullable<PutCondition["also"]>): {
  key: Buffer;
  value: Buffer;
  lease: string;
} {
  return { key: Buffer.from(key), value: Buffer.from(value), lease };
}

/** etcd has answered, and the answer is no. */
function refused(deed: string, object: string, cause: unknown, kernel: string): OpError {
  const denied = cause instanceof EtcdPermissionDeniedError;
  const advice = denied
    ? "Grant the etcd user's role to read and write all keys below --etcd-prefix"
    : cause instanceof EtcdAuthenticationFailedError
    ? "Check --etcd-username and FLANNELD_ETCD_PASSWORD"
    : undefined;
  const code = denied ? ErrorCode.denied : ErrorCode.store;
  return new OpError(deed, object, { code, kernel, advice, cause });
}
