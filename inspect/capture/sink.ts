/**
 * Where a capture's bytes go: a file or a stream, in large pieces. A reader that has gone, as `head`
 * does, is no error but an end.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";

/** Something that is written to and cannot wait. */
interface Target {
  writeSync(bytes: Uint8Array): number;
}

/** Bytes that are kept before they are written. */
const PIECE = 256 << 10;

/** Collects and writes. */
export class Sink {
  readonly #target: Target;
  readonly #name: string;
  readonly #gone: () => void;
  readonly #encoder = new TextEncoder();
  #waiting: Uint8Array[] = [];
  #size = 0;
  #closed = false;

  /**
   * @param name for errors: a path, or "stdout"
   * @param gone called once when nobody reads any more
   */
  constructor(target: Target, name: string, gone: () => void) {
    [this.#target, this.#name, this.#gone] = [target, name, gone];
  }

  /** Adds bytes, which must not change any more. */
  bytes(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#waiting.push(bytes);
    this.#size += bytes.length;
    if (this.#size >= PIECE) this.flush();
  }

  /** Adds a line. */
  line(text: string): void {
    this.bytes(this.#encoder.encode(`${text}\n`));
  }

  /** Writes all there is. @throws {OpError} when the disk is full and the like */
  flush(): void {
    if (this.#size === 0 || this.#closed) return;
    let bytes = new Uint8Array(this.#size);
    let at = 0;
    for (const piece of this.#waiting) {
      bytes.set(piece, at);
      at += piece.length;
    }
    [this.#waiting, this.#size] = [[], 0];
    try {
      while (bytes.length > 0) bytes = bytes.subarray(this.#target.writeSync(bytes));
    } catch (cause) {
      this.#closed = true;
      this.#gone();
      if (cause instanceof Deno.errors.BrokenPipe) return;
      throw new OpError("write to", this.#name, { code: ErrorCode.io, cause });
    }
  }
}
