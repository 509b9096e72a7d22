/**
 * The last known good snapshot as a file (see `engine/memory.ts`). With it a node keeps its data
 * plane when it starts while the store cannot be reached.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { formatMemory, type Memory, parseMemory } from "../../engine/memory.ts";
import { replaceFile } from "../replace_file.ts";

/** Keeps a {@link Memory} in a file, 0600 in a directory 0700. */
export class MemoryFile {
  readonly #path: string;
  #written: string | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** The memory, or undefined when there is none. @throws {OpError} when the file is damaged */
  read(): Memory | undefined {
    try {
      return parseMemory(Deno.readTextFileSync(this.#path));
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return undefined;
      throw new OpError("use", this.#path, {
        code: ErrorCode.io,
        kernel: messageOf(cause),
        advice: "The file is only a memory: delete it, it is written again",
        cause,
      });
    }
  }

  /** Replaces the file in one step, unless it says the same. @throws {OpError} */
  write(memory: Memory): void {
    const same = formatMemory({ ...memory, at: 0 });
    if (this.#written === same) return;
    replaceFile(this.#path, formatMemory(memory));
    this.#written = same;
  }
}
