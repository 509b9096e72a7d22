/**
 * Kernel settings below `/proc/sys`. Those of `net/` belong to the network namespace of the
 * calling thread, so reads and writes are synchronous (see `netns.ts`).
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";

/** Reads a setting, without the newline; undefined when this kernel has none of that name. */
export function readSysctl(key: string): string | undefined {
  try {
    return Deno.readTextFileSync(`/proc/sys/${key}`).trim();
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return undefined;
    throw failure("read", key, e);
  }
}

/** Writes a setting. @throws {OpError} when the kernel has none of that name or refuses. */
export function writeSysctl(key: string, value: string): void {
  try {
    Deno.writeTextFileSync(`/proc/sys/${key}`, value, { create: false });
  } catch (e) {
    throw failure("write", key, e);
  }
}

/** Deno appends the number and its own call to the kernel's words. */
const OS_ERROR = /^(?<words>.*) \(os error (?<errno>\d+)\)/;

function failure(deed: string, key: string, cause: unknown): OpError {
  const message = messageOf(cause);
  const { words = message, errno } = OS_ERROR.exec(message)?.groups ?? {};
  return new OpError(`${deed} sysctl`, key.replaceAll("/", "."), {
    code: ErrorCode.kernel,
    errno: errno === undefined ? undefined : Number(errno),
    kernel: words,
    cause,
  });
}
