/**
 * The record of an ADD that another process may have to finish: what the daemon was about to make
 * when it went away, so that the full program, which then serves the same call, takes exactly that
 * back before it adds. What was there before the call is never in it.
 *
 * One file for each attachment below /run/twill/op: the call's name, then what was begun, a line
 * each, written before it is done. Whoever works on the attachment holds the file's flock, which is
 * gone with the process however that ends. The file goes when the caller has its answer.
 *
 * @module
 */

import { ErrorCode } from "../engine/errors.ts";
import type { Attachment } from "./attachments.ts";
import { CniError } from "./errors.ts";

const DIRECTORY = "/run/twill/op";
/** How long another process may work on the attachment, and how often we look, ms. */
const PATIENCE = 10_000;
const PAUSE = 20;

/** What an ADD makes: see {@link Operation.note}. */
export type Made = "address" | "link";

/** One call's ADD. Released when disposed; the record stays unless {@link Operation.done} was called. */
export class Operation implements Disposable {
  readonly #call: string;
  #file: Deno.FsFile | undefined;
  #path = "";

  /** @param call a name that no other call has: `call=` of the client, or its `TWILL_RESUME`. */
  constructor(call: string) {
    this.#call = call;
  }

  /**
   * Takes the attachment's lock; does nothing when this call has it already.
   *
   * @returns True when this very call was begun before by somebody who is gone now: what ADD makes
   * must be taken away first.
   * @throws {CniError} code 11 when another process works on the attachment, 5 for the file.
   */
  async open(attachment: Attachment): Promise<boolean> {
    if (this.#file !== undefined) return false;
    this.#path = pathOf(attachment);
    const deadline = performance.now() + PATIENCE;
    let file: Deno.FsFile | undefined;
    while ((file = tryHold(this.#path)) === undefined) {
      if (performance.now() > deadline) throw busy(attachment);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    this.#file = file;
    const isNew = file.statSync().size === 0;
    const [call, ...begun] = isNew ? [] : Deno.readTextFileSync(this.#path).trimEnd().split("\n");
    if (!isNew) file.truncateSync(0);
    file.writeSync(new TextEncoder().encode(`${this.#call}\n`));
    return call === this.#call && begun.length > 0;
  }

  /** Writes down what is made next. Call it only after a look that there is none yet. */
  note(made: Made): void {
    this.#file?.writeSync(new TextEncoder().encode(`${made}\n`));
  }

  /** The caller has its answer: nobody will take this call over. */
  done(): void {
    if (this.#file !== undefined) remove(this.#path);
  }

  [Symbol.dispose](): void {
    this.#file?.close();
    this.#file = undefined;
  }
}

/** After a DEL: no call that made the attachment will be taken over any more. */
export function forgetOperation(attachment: Attachment): void {
  const path = pathOf(attachment);
  try {
    using file = Deno.openSync(path, { read: true });
    if (file.tryLockSync(true)) remove(path);
  } catch {
    // As a rule there is no record; one that cannot be removed says nothing about another call.
  }
}

/**
 * Takes away what is left of calls that nobody can finish any more: a daemon that was killed behind
 * its answer leaves the record. One that somebody works on stays.
 *
 * @param age ms since the record was last written.
 */
export function forgetOperations(age: number): void {
  for (const path of recordPaths()) {
    try {
      using file = Deno.openSync(path, { read: true });
      const written = file.statSync().mtime?.getTime() ?? 0;
      if (Date.now() - written > age && file.tryLockSync(true)) remove(path);
    } catch {
      // Somebody else has just removed it; or it stays, which harms nobody.
    }
  }
}

function recordPaths(): string[] {
  try {
    return Array.from(Deno.readDirSync(DIRECTORY), ({ name }) => `${DIRECTORY}/${name}`);
  } catch {
    return [];
  }
}

function pathOf({ containerId, ifname }: Attachment): string {
  return `${DIRECTORY}/${containerId}@${ifname}`;
}

/** Opens and locks the file; undefined while another process has it, or has just removed it. */
function tryHold(path: string): Deno.FsFile | undefined {
  try {
    const file = openRecord(path);
    using undo = new DisposableStack();
    undo.use(file);
    if (!file.tryLockSync(true)) return undefined;
    if (inodeOf(path) !== file.statSync().ino) return undefined;
    undo.move();
    return file;
  } catch (cause) {
    const words = `cannot write the record of the operation ${path}`;
    throw new CniError(ErrorCode.io, words, String(cause), cause);
  }
}

/** The directory is there for all calls but the first. */
function openRecord(path: string): Deno.FsFile {
  const open = (): Deno.FsFile =>
    Deno.openSync(path, { read: true, append: true, create: true, mode: 0o600 });
  try {
    return open();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.mkdirSync(DIRECTORY, { recursive: true, mode: 0o700 });
  return open();
}

function inodeOf(path: string): number | null | undefined {
  try {
    return Deno.statSync(path).ino;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function busy({ containerId, ifname }: Attachment): CniError {
  return new CniError(
    ErrorCode.tryAgain,
    `another process still works on ${ifname} of ${containerId}`,
    `Waited ${PATIENCE / 1000} s; the runtime may try again`,
  );
}
