/**
 * Bytes that must not be seen: they are compared and handed to the kernel, and whoever prints, logs
 * or serialises the object that holds them gets a word instead.
 *
 * @module
 */

/** What is shown in a secret's place. */
const HIDDEN = "(secret)";

/** See the module. */
export class Secret {
  readonly #bytes: Uint8Array;

  /** @param bytes copied. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes.slice();
  }

  /** A copy of the bytes, for those who need them: the kernel and the key file. */
  reveal(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice();
  }

  /** True for the same bytes. */
  equals(other: unknown): boolean {
    return other instanceof Secret && other.#bytes.length === this.#bytes.length &&
      other.#bytes.every((byte, at) => byte === this.#bytes[at]);
  }

  toString(): string {
    return HIDDEN;
  }

  /** For `JSON.stringify`. */
  toJSON(): string {
    return HIDDEN;
  }
}
