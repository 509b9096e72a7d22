/**
 * Certificates and tokens as they are now. Both are renewed while we run: a bound token lives for
 * an hour, a client certificate for some weeks.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { KubeAccess, Source } from "./access.ts";

/** PEM texts for one connection. */
export interface TlsTexts {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** A file is read again when what we have of it is older than so many milliseconds. */
const FRESH = 60_000;

/** A {@link Source} with its newest content. */
class Content {
  readonly #what: string;
  readonly #source: Source;
  readonly #now: () => number;
  #text: string | undefined;
  #readAt = 0;

  constructor(what: string, source: Source, now: () => number) {
    this.#what = what;
    this.#source = source;
    this.#now = now;
  }

  /**
   * The text. When the file cannot be read now, the one of before.
   *
   * @throws {OpError} when it was never readable, or is empty.
   */
  get(): string {
    if (this.#source.kind === "text") return this.#source.text;
    const { path } = this.#source;
    if (this.#text !== undefined && this.#now() - this.#readAt < FRESH) return this.#text;
    this.#readAt = this.#now();
    try {
      const text = Deno.readTextFileSync(path).trim();
      if (text === "") throw new Error("the file is empty");
      return this.#text = text;
    } catch (cause) {
      if (this.#text !== undefined) return this.#text;
      throw new OpError(`read ${this.#what}`, path, { code: ErrorCode.badConfig, cause });
    }
  }

  /** The server did not take it: looks at the file when asked next. */
  doubt(): void {
    this.#readAt = -Infinity;
  }
}

/** What an access proves itself with. */
export class Credentials {
  readonly #ca: Content | undefined;
  readonly #cert: Content | undefined;
  readonly #key: Content | undefined;
  readonly #token: Content | undefined;
  readonly #basic: KubeAccess["basic"];

  /** @param now milliseconds; a clock that only goes forward. */
  constructor(access: KubeAccess, now: () => number = () => performance.now()) {
    const content = (what: string, source: Source | undefined): Content | undefined =>
      source && new Content(what, source, now);
    this.#ca = content("certificate authority", access.ca);
    this.#cert = content("client certificate", access.cert);
    this.#key = content("client key", access.key);
    this.#token = content("token", access.token);
    this.#basic = access.basic;
  }

  /** @throws {OpError} when a file cannot be read */
  tls(): TlsTexts {
    const [ca, cert, key] = [this.#ca?.get(), this.#cert?.get(), this.#key?.get()];
    return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
  }

  /** The value of `Authorization`, if there is to be one. @throws {OpError} */
  authorization(): string | undefined {
    const token = this.#token?.get();
    if (token !== undefined) return `Bearer ${token}`;
    if (this.#basic === undefined) return undefined;
    const { username, password } = this.#basic;
    const bytes = new TextEncoder().encode(`${username}:${password}`);
    return `Basic ${btoa(String.fromCharCode(...bytes))}`;
  }

  /** The server refused them: all files are read again. */
  doubt(): void {
    for (const content of [this.#ca, this.#cert, this.#key, this.#token]) content?.doubt();
  }
}
