/**
 * One daemon a host, unless each has a name of its own: two that share device, table and files
 * would undo each other's work for ever.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Flock } from "../ffi/flock.ts";

/** Sockets and locks of the daemons; root only. */
const RUN_DIRECTORY = "/run/twill";

/**
 * Holds the place of the one daemon of this name, until disposed or the process ends.
 *
 * @param instance `--instance`; empty for the one without a name.
 * @throws {OpError} when another daemon holds it, or the directory cannot be made.
 */
export function holdInstance(instance: string): Disposable {
  try {
    Deno.mkdirSync(RUN_DIRECTORY, { recursive: true, mode: 0o700 });
    // A kubelet that made it for our container let everybody in.
    Deno.chmodSync(RUN_DIRECTORY, 0o700);
  } catch (cause) {
    throw new OpError("make", RUN_DIRECTORY, { code: ErrorCode.io, cause });
  }
  const path = `${RUN_DIRECTORY}/daemon${instance === "" ? "" : `-${instance}`}.lock`;
  const lock = Flock.tryAcquire(path);
  if (lock !== undefined) return lock;
  throw new OpError("start", "a second daemon", {
    code: ErrorCode.badConfig,
    kernel: `another one holds ${path}`,
    advice: "Stop it, or give each its own --instance NAME, --subnet-file, network and VNI",
  });
}
