/**
 * Standard input and output of a one-shot process: whole documents, synchronously.
 *
 * @module
 */

/** The part of `Deno.stdin` that is used here. */
export interface SyncReader {
  readSync(into: Uint8Array<ArrayBuffer>): number | null;
}

/** The part of `Deno.stdout` that is used here. */
export interface SyncWriter {
  writeSync(from: Uint8Array<ArrayBuffer>): number;
}

/** How long to sleep when a descriptor that the caller made non-blocking is not ready, ms. */
const NAP = 1;

/**
 * Reads to the end.
 *
 * @throws what the reader throws, unless it would only have had to wait.
 */
export function readWhole(reader: SyncReader): Uint8Array<ArrayBuffer> {
  let buffer = new Uint8Array(16 << 10);
  let length = 0;
  for (;;) {
    if (length === buffer.length) {
      const larger = new Uint8Array(2 * length);
      larger.set(buffer);
      buffer = larger;
    }
    const count = patiently(() => reader.readSync(buffer.subarray(length)));
    if (count === null || count === 0) return buffer.subarray(0, length);
    length += count;
  }
}

/**
 * Writes all of a text, however little is taken at a time.
 *
 * @throws what the writer throws, unless it would only have had to wait.
 */
export function writeWhole(writer: SyncWriter, text: string): void {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(patiently(() => writer.writeSync(rest)));
}

function patiently<T>(attempt: () => T): T {
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof Deno.errors.WouldBlock || error instanceof Deno.errors.Interrupted)) {
        throw error;
      }
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, NAP);
  }
}
