/**
 * Reading an answer while it arrives, with a watchdog.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Deed } from "./errors.ts";

/**
 * The pieces of a body. Leaving the loop ends the answer.
 *
 * @param silence milliseconds without a byte after which the other end counts as gone.
 * @throws {OpError} when the connection breaks or is silent.
 * @throws the signal's reason.
 */
export async function* chunksOf(
  response: Response,
  { verb, resource }: Deed,
  silence: number,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const failed = (kernel: string, cause?: unknown): OpError =>
    new OpError(verb, resource, { code: ErrorCode.store, kernel, cause });
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  try {
    for (;;) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<never>((_, reject) => {
        const words = `nothing was heard for ${Math.round(silence / 1000)} s`;
        timer = setTimeout(() => reject(failed(words)), silence);
      });
      try {
        const { done, value } = await Promise.race([reader.read(), late]);
        if (done) return;
        yield value;
      } finally {
        clearTimeout(timer);
      }
    }
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof OpError) throw cause;
    throw failed(`the connection broke: ${messageOf(cause)}`, cause);
  } finally {
    // Not awaited: the other end may be gone.
    reader.cancel().catch(() => {});
  }
}
