/**
 * The namespaces in which there are policies, written down for whoever adds a pod while nobody
 * knows them: a daemon that has just started, a plugin without its daemon.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { parseNamespaces } from "../../engine/policy/namespaces.ts";
import type { Log } from "../log.ts";
import { replaceFile } from "../replace_file.ts";

/** See the module. */
export class NamespacesFile {
  readonly #path: string;
  #written: string | undefined;
  #names: ReadonlySet<string> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Whether the namespace had policies when this was written. */
  has(namespace: string): boolean {
    this.#names ??= new Set(this.#read());
    return this.#names.has(namespace);
  }

  /** Writes it when it is other than before. What cannot be written is logged. */
  write(names: readonly string[], log: Log): void {
    const text = `${JSON.stringify(names)}\n`;
    if (text === this.#written) return;
    try {
      replaceFile(this.#path, text);
      this.#names = new Set(names);
      this.#written = text;
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      log.warn(e.message);
    }
  }

  #read(): string[] {
    try {
      return parseNamespaces(Deno.readTextFileSync(this.#path));
    } catch {
      return [];
    }
  }
}

/** Deletes the file: nothing is enforced any more. @throws {OpError} when it cannot be deleted */
export function forgetNamespaces(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return;
    throw new OpError("delete", path, { code: ErrorCode.io, cause });
  }
}
