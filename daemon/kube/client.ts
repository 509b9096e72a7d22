/**
 * A client of the Kubernetes API on fetch. It knows addresses, credentials and errors; what to do
 * after an error is the caller's (see `list_watch.ts` for lists that are kept up to date).
 *
 * Each request has a connection of its own (HTTP/1.1): with HTTP/2 all would share one, and when its
 * other end vanishes without a word, all would hang until the kernel gives it up.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { version } from "../../version.ts";
import type { KubeAccess } from "./access.ts";
import { Credentials, type TlsTexts } from "./credentials.ts";
import { type Deed, errorOf } from "./errors.ts";

/** How the body of a PATCH is meant. */
export const PATCH_TYPE = {
  /** Lists are replaced whole; `null` deletes a member. */
  merge: "application/merge-patch+json",
  /** Lists are merged by their key: one condition can be sent alone. Built-in types only. */
  strategic: "application/strategic-merge-patch+json",
} as const;

/** One request. */
export interface KubeRequest extends Deed {
  readonly method?: "GET" | "POST" | "PATCH";
  /** `/api/v1/nodes`, not encoded further: names of objects need no encoding. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly accept?: string;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Of the body; `application/json` unless set. */
  readonly contentType?: string;
  readonly signal: AbortSignal;
  /** Milliseconds until the answer must have begun; 30,000 unless set. */
  readonly patience?: number;
}

/** Why an answer ends that {@link KubeClient.renew} gave up: it can be asked for again at once. */
export class Renewed extends Error {
  override readonly name = "Renewed";
}

/** See the module. */
export class KubeClient implements Disposable {
  readonly #access: KubeAccess;
  readonly #credentials: Credentials;
  readonly #agent = `twill/${version().version}`;
  #texts: TlsTexts | undefined;
  /** Aborted when all connections are given up. */
  #era = new AbortController();
  #http: Deno.HttpClient | undefined;
  /** Index of the address that answered last. */
  #server = 0;
  /** When the first address is tried again, as `performance.now()` counts. */
  #returnAt = 0;

  constructor(access: KubeAccess, credentials: Credentials = new Credentials(access)) {
    this.#access = access;
    this.#credentials = credentials;
  }

  /** The address that is in use. */
  get server(): string {
    return this.#access.servers[this.#server] ?? "";
  }

  /**
   * Sends a request and gives the answer as parsed JSON.
   *
   * @throws {KubeError} for an answer that is not 2xx.
   * @throws {OpError} with {@link ErrorCode.store} when no server answers.
   * @throws the signal's reason.
   */
  async json(request: KubeRequest): Promise<unknown> {
    const late = AbortSignal.any([
      request.signal,
      AbortSignal.timeout(2 * (request.patience ?? PATIENCE)),
    ]);
    const response = await this.open({ ...request, signal: late });
    try {
      return await response.json();
    } catch (cause) {
      request.signal.throwIfAborted();
      throw broken(request, this.server, cause);
    }
  }

  /**
   * Sends a request and gives the answer when it has begun. The caller reads or cancels its body;
   * aborting the signal ends it.
   *
   * A credential that is not taken is read again once. When the address does not answer, the next
   * one is tried.
   *
   * @throws as {@link KubeClient.json}
   */
  async open(request: KubeRequest): Promise<Response> {
    const response = await this.#anywhere(request);
    if (response.ok) return response;
    if (response.status !== 401) throw await errorOf(request, response);
    await response.body?.cancel();
    this.#credentials.doubt();
    const again = await this.#anywhere(request);
    if (again.ok) return again;
    throw await errorOf(request, again);
  }

  /** Tries the addresses in turn, from the one that answered last. */
  async #anywhere(request: KubeRequest): Promise<Response> {
    const { servers } = this.#access;
    if (this.#server !== 0 && performance.now() > this.#returnAt) this.#server = 0;
    for (let tries = 1;; tries++) {
      const era = this.#era.signal;
      try {
        return await this.#send(request, this.server, era);
      } catch (e) {
        request.signal.throwIfAborted();
        if (era.aborted) continue;
        this.#server = (this.#server + 1) % servers.length;
        this.#returnAt = performance.now() + RETURN;
        if (tries >= servers.length || !(e instanceof OpError)) throw e;
      }
    }
  }

  async #send(request: KubeRequest, server: string, era: AbortSignal): Promise<Response> {
    const { body, query, signal } = request;
    const url = `${server}${request.path}${query ? `?${new URLSearchParams(query)}` : ""}`;
    const late = new AbortController();
    const words = "the server does not answer";
    const timer = setTimeout(() => late.abort(new Error(words)), request.patience ?? PATIENCE);
    try {
      const client = this.#client();
      const authorization = this.#credentials.authorization();
      const headers = new Headers({
        accept: request.accept ?? "application/json",
        "user-agent": this.#agent,
        ...(authorization && { authorization }),
        ...(this.#access.compress ? {} : { "accept-encoding": "identity" }),
        ...(body !== undefined && { "content-type": request.contentType ?? "application/json" }),
      });
      return await fetch(url, {
        client,
        method: request.method ?? "GET",
        headers,
        redirect: "manual",
        signal: AbortSignal.any([signal, late.signal, era]),
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch (cause) {
      if (cause instanceof OpError) throw cause;
      throw broken(request, server, late.signal.aborted ? late.signal.reason : cause);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The HTTP client for the certificates of now. */
  #client(): Deno.HttpClient {
    const texts = this.#credentials.tls();
    const before = this.#texts;
    const same = before !== undefined && before.ca === texts.ca && before.cert === texts.cert &&
      before.key === texts.key;
    if (this.#http !== undefined && same) return this.#http;
    let http: Deno.HttpClient;
    try {
      http = Deno.createHttpClient({
        http2: false,
        poolMaxIdlePerHost: 1,
        poolIdleTimeout: 30_000,
        ...(texts.ca !== undefined && { caCerts: [texts.ca] }),
        ...(this.#access.proxy !== undefined && { proxy: { url: this.#access.proxy } }),
        ...(texts.cert !== undefined && texts.key !== undefined &&
          { cert: texts.cert, key: texts.key }),
      });
    } catch (cause) {
      throw new OpError("use the certificates of", this.#access.from, {
        code: ErrorCode.badConfig,
        cause,
      });
    }
    // Requests that are under way keep the old one alive.
    this.#http?.close();
    this.#http = http;
    this.#texts = texts;
    return http;
  }

  /**
   * Gives up all connections, open answers too: those that come from an address that this host has no
   * more would be silent for ever.
   */
  renew(): void {
    this.#era.abort(new Renewed("this host's address has changed"));
    this.#era = new AbortController();
    this[Symbol.dispose]();
  }

  /** Ends idle connections. Open answers are ended by their signals. */
  [Symbol.dispose](): void {
    this.#http?.close();
    this.#http = undefined;
  }
}

const PATIENCE = 30_000;
/** Another address than the first is used for so long before that one is tried again, ms. */
const RETURN = 300_000;

function broken({ verb, resource, name }: Deed, server: string, cause: unknown): OpError {
  const object = name === undefined ? resource : `${resource} ${name}`;
  return new OpError(verb, object, {
    code: ErrorCode.store,
    kernel: `${server}: ${plainReason(cause)}`,
    advice: "Check that the API server runs and that this node reaches that address",
    cause,
  });
}

/** fetch puts the reason behind its own words and the address, which we name ourselves. */
function plainReason(thrown: unknown): string {
  const inner = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown;
  const message = messageOf(inner);
  const client = /client error \((?:\w+)\): (.*)$/s.exec(message)?.[1];
  return (client ?? message).replace(/ \(os error \d+\)/, "").replace(/^tcp connect error: /, "");
}
