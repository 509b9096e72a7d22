/**
 * The subnet file: what tells the plugin that this node has a subnet and is ready for pods.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { formatSubnetEnv, parseSubnetEnv, type SubnetEnv } from "../engine/subnet_env.ts";

/**
 * The subnet file's content, or undefined when there is none that can be read: it is memory that
 * we can live without.
 */
export function readSubnetFile(path: string): SubnetEnv | undefined {
  try {
    return parseSubnetEnv(Deno.readTextFileSync(path), path);
  } catch {
    return undefined;
  }
}

/**
 * Replaces the file in one step: a reader sees the old content or the new one, never a part.
 * Directory 0755 and file 0644, whatever the umask.
 *
 * @throws {OpError} when it cannot be written.
 */
export function writeSubnetFile(path: string, env: SubnetEnv): void {
  const sibling = `${path}.${Deno.pid}.tmp`;
  try {
    const slash = path.lastIndexOf("/");
    if (slash > 0) Deno.mkdirSync(path.slice(0, slash), { recursive: true, mode: 0o755 });
    using undo = new DisposableStack();
    undo.defer(() => Deno.removeSync(sibling));
    using file = Deno.openSync(sibling, { write: true, create: true, truncate: true });
    Deno.chmodSync(sibling, 0o644);
    const bytes = new TextEncoder().encode(formatSubnetEnv(env));
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
    Deno.renameSync(sibling, path);
    undo.move();
  } catch (cause) {
    throw new OpError("write", path, {
      code: ErrorCode.io,
      kernel: messageOf(cause),
      advice: "Check the directory's owner and free space, or choose another --subnet-file",
      cause,
    });
  }
}

/** Takes the file away: pods must not be started in a subnet that is no longer ours. */
export function removeSubnetFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
  }
}
