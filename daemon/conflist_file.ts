/**
 * The CNI configuration list: a runtime that finds it says that the node can take pods, so it is
 * written last, when they would really get a network.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { conflistText } from "../install/conflist.ts";
import { replaceFile } from "./replace_file.ts";

/** See the module. */
export class ConflistFile {
  /** Where it is written. */
  readonly path: string;
  readonly #source: string;

  /** @param source path of a file that says what to write; empty for our own list. */
  constructor(path: string, source: string) {
    this.path = path;
    this.#source = source;
  }

  /**
   * Writes the list in one step. A file that says the same already stays; one that was taken away
   * comes back.
   *
   * @returns true when it was written.
   * @throws {OpError} when it cannot be, or the source is no list.
   */
  publish(): boolean {
    const text = this.#source === "" ? conflistText() : readList(this.#source);
    if (textAt(this.path) === text) return false;
    replaceFile(this.path, text, "everybody");
    return true;
  }
}

function textAt(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    // Not there, or not to be read: it is written anew.
    return undefined;
  }
}

function readList(path: string): string {
  try {
    const text = Deno.readTextFileSync(path);
    if (!Array.isArray(JSON.parse(text)?.plugins)) throw new Error("it has no list of plugins");
    return text;
  } catch (cause) {
    throw new OpError("use CNI configuration", path, {
      code: ErrorCode.badConfig,
      kernel: messageOf(cause),
      advice: "Correct it, or leave --conflist-source away",
      cause,
    });
  }
}
