/**
 * Reading an answer while it arrives, with a watchdog.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { Renewed } from "./client.ts";
import type { Deed } from "./errors.ts";

/** The other end has said nothing for too long. */
export class Silence extends OpError {}

/**
 * The pieces of a body. Leaving the loop ends the answer.
 *
 * @param silence milliseconds without a byte after which the other end counts as gone.
 * @throws {Silence}
 * @throws {OpError} when the connection breaks.
 * @throws {Renewed} when the client has given up its connections.
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
  let heardAt = performance.now();
  let silent = false;
  // One timer for all: a list comes in a thousand pieces.
  const watchdog = setInterval(() => {
    if (performance.now() - heardAt < silence) return;
    silent = true;
    reader.cancel().catch(() => {});
  }, silence / 4);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (silent) {
        const kernel = `nothing was heard for ${Math.round(silence / 1000)} s`;
        throw new Silence(verb, resource, { code: ErrorCode.store, kernel });
      }
      if (done) return;
      heardAt = performance.now();
      yield value;
    }
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof OpError || cause instanceof Renewed) throw cause;
    throw failed(`the connection broke: ${messageOf(cause)}`, cause);
  } finally {
    clearInterval(watchdog);
    // Not awaited: the other end may be gone.
    reader.cancel().catch(() => {});
  }
}
