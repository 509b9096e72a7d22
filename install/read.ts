/**
 * Reading files of a node below a root, where a missing one is an answer.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { below, RECEIPT } from "./layout.ts";
import { failure } from "./place.ts";
import { parseReceipt, type Receipt } from "./receipt.ts";

/** A file's text; undefined when there is no such file. @throws {OpError} */
export function readText(root: string, path: string): string | undefined {
  return orMissing("read", below(root, path), Deno.readTextFileSync);
}

/** The names in a directory, sorted; undefined when there is no such directory. @throws {OpError} */
export function readNames(root: string, dir: string): string[] | undefined {
  return orMissing(
    "list",
    below(root, dir),
    (path) => [...Deno.readDirSync(path)].map(({ name }) => name).sort(),
  );
}

/** What there is under a name, links not followed; undefined when nothing is. @throws {OpError} */
export function readInfo(root: string, path: string): Deno.FileInfo | undefined {
  return orMissing("look at", below(root, path), Deno.lstatSync);
}

/** Refuses a root that is no directory: everything below it would look absent. @throws {OpError} */
export function checkRoot(root: string): void {
  const names = readNames(root, "/");
  if (names !== undefined) return;
  throw new OpError("use", `--root=${root}`, { code: ErrorCode.io, kernel: "no such directory" });
}

function orMissing<T>(deed: string, path: string, read: (path: string) => T): T | undefined {
  try {
    return read(path);
  } catch (e) {
    if (e instanceof Deno.errors.NotFound || e instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw failure(deed, path, e);
  }
}

/** The receipt; undefined when there is none that can be read. */
export function readReceipt(root: string, warn: (line: string) => void): Receipt | undefined {
  const text = readText(root, RECEIPT);
  if (text === undefined) return undefined;
  try {
    return parseReceipt(text);
  } catch (e) {
    warn(`${RECEIPT} cannot be used: ${messageOf(e)}`);
    return undefined;
  }
}
