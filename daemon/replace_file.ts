/**
 * Files that only root reads, replaced in one step.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";

/**
 * Replaces a file: a reader sees the old content or the new one, never a part, also after a crash.
 * The file is 0600, a directory that is made for it 0700.
 *
 * @param path absolute.
 * @throws {OpError}
 */
export function replaceFile(path: string, text: string): void {
  const sibling = `${path}.${Deno.pid}.tmp`;
  try {
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true, mode: 0o700 });
    using undo = new DisposableStack();
    using file = Deno.openSync(sibling, { write: true, create: true, truncate: true, mode: 0o600 });
    undo.defer(() => Deno.removeSync(sibling));
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
    Deno.renameSync(sibling, path);
    undo.move();
  } catch (cause) {
    throw new OpError("write", path, { code: ErrorCode.io, kernel: messageOf(cause), cause });
  }
}
