/**
 * Files replaced in one step.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";

/** Who may read a file and the directory that is made for it, whatever the umask. */
const MODES = {
  root: { file: 0o600, directory: 0o700 },
  everybody: { file: 0o644, directory: 0o755 },
} as const;

/**
 * Replaces a file: a reader sees the old content or the new one, never a part, also after a crash.
 *
 * @param path absolute.
 * @param readers who may read it.
 * @throws {OpError}
 */
export function replaceFile(
  path: string,
  text: string,
  readers: keyof typeof MODES = "root",
): void {
  const mode = MODES[readers];
  const sibling = `${path}.${Deno.pid}.tmp`;
  try {
    Deno.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true, mode: mode.directory });
    using undo = new DisposableStack();
    using file = Deno.openSync(sibling, {
      write: true,
      create: true,
      truncate: true,
      mode: mode.file,
    });
    undo.defer(() => Deno.removeSync(sibling));
    Deno.chmodSync(sibling, mode.file);
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
    Deno.renameSync(sibling, path);
    undo.move();
  } catch (cause) {
    throw new OpError("write", path, { code: ErrorCode.io, kernel: messageOf(cause), cause });
  }
}
