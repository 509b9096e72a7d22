/**
 * Files that appear as a whole or not at all, and several of them that do so together.
 *
 * Everything is written beside its place first; what can fail for lack of room or rights has failed
 * by then. The renames come after that, and each can be taken back until all are done.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { below, dirOf, nameOf, SAVED, withParents } from "./layout.ts";

/** What a file is to be. */
export type Content =
  | { readonly kind: "text"; readonly text: string; readonly mode: number }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array<ArrayBuffer>; readonly mode: number }
  /** A copy of another file; `from` is a path of this process, whatever the root is. */
  | { readonly kind: "copy"; readonly from: string; readonly mode: number }
  | { readonly kind: "link"; readonly target: string };

/** How a place is, compared to what it is to be. */
export type Found = "absent" | "same" | "different";

/** Stands in the hidden names of files that are not in their place yet, or no more. */
export const DRAFT_MARK = ".twill-";

const CHUNK = 1 << 20;

/** Looks at a place. @throws {OpError} when there is something that is no file */
export function look(path: string, content: Content): Found {
  try {
    const info = Deno.lstatSync(path);
    if (info.isDirectory) {
      throw new OpError("write", path, { code: ErrorCode.io, kernel: "there is a directory" });
    }
    return isSame(path, info, content) ? "same" : "different";
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return "absent";
    throw e instanceof OpError ? e : failure("look at", path, e);
  }
}

function isSame(path: string, info: Deno.FileInfo, content: Content): boolean {
  if (content.kind === "link") return info.isSymlink && Deno.readLinkSync(path) === content.target;
  if (!info.isFile) return false;
  // An operator may have taken rights away from a text; a program must stay one.
  if (content.kind === "text") return Deno.readTextFileSync(path) === content.text;
  if ((info.mode ?? 0) % 0o1000 !== content.mode) return false;
  if (content.kind === "bytes") {
    const { bytes } = content;
    return info.size === bytes.length && Deno.readFileSync(path).every((b, at) => b === bytes[at]);
  }
  const from = Deno.statSync(content.from);
  if (from.dev === info.dev && from.ino === info.ino) return true;
  return from.size === info.size && sameBytes(path, content.from);
}

function sameBytes(one: string, other: string): boolean {
  using a = Deno.openSync(one);
  using b = Deno.openSync(other);
  const [x, y] = [new Uint8Array(CHUNK), new Uint8Array(CHUNK)];
  for (;;) {
    const [n, m] = [fill(a, x), fill(b, y)];
    if (n !== m) return false;
    if (n === 0) return true;
    for (let i = 0; i < n; i++) if (x[i] !== y[i]) return false;
  }
}

/** Reads until the buffer is full or the file ends. */
function fill(file: Deno.FsFile, buffer: Uint8Array): number {
  let at = 0;
  while (at < buffer.length) {
    const n = file.readSync(buffer.subarray(at));
    if (n === null || n === 0) break;
    at += n;
  }
  return at;
}

/** Places files below a root; whatever {@link Placer.keep} was not called for is taken back. */
export class Placer implements Disposable {
  readonly #root: string;
  readonly #undo = new DisposableStack();
  readonly #done: (() => void)[] = [];
  readonly #dirs = new Set<string>();

  constructor(root: string) {
    this.#root = root;
  }

  /** Makes a directory, mode 0755, and those above it. @throws {OpError} */
  makeDirectory(dir: string, mode = 0o755): void {
    for (const one of withParents(dir)) {
      const path = below(this.#root, one);
      try {
        if (isDirectory(path)) continue;
        Deno.mkdirSync(path);
        this.#undo.defer(() => Deno.removeSync(path));
        // Whatever the umask.
        Deno.chmodSync(path, one === dir ? mode : 0o755);
      } catch (e) {
        throw failure("make directory", path, e);
      }
    }
  }

  /**
   * Writes a file beside its place, to the disk.
   *
   * @returns The last step: puts it there, and keeps what was there under {@link SAVED} if told so.
   * @throws {OpError} when it cannot be written; the step throws too.
   */
  stage(place: string, content: Content): (save: boolean) => void {
    const path = below(this.#root, place);
    const draft = this.#hidden(path, "new");
    this.#undo.defer(() => remove(draft));
    try {
      write(draft, content);
    } catch (e) {
      throw failure("write", path, e);
    }
    return (save) => this.#put(draft, path, save);
  }

  #put(draft: string, path: string, save: boolean): void {
    let old = this.#hidden(path, "old");
    try {
      // A second name, not another one: at no time is the place empty.
      const existed = linkIfThere(path, old);
      this.#undo.defer(() => existed ? move(old, path) : remove(path));
      if (existed && save) {
        move(old, `${path}${SAVED}`);
        old = `${path}${SAVED}`;
      } else this.#done.push(() => remove(old));
      Deno.renameSync(draft, path);
      this.#dirs.add(dirOf(path));
    } catch (e) {
      throw failure("write", path, e);
    }
  }

  /** Keeps what is in a place under {@link SAVED} too; it stays where it is. */
  saveCopy(place: string): void {
    const path = below(this.#root, place);
    const draft = this.#hidden(path, "old");
    try {
      if (!linkIfThere(path, draft)) return;
      this.#undo.defer(() => remove(draft));
      move(draft, `${path}${SAVED}`);
      this.#undo.defer(() => remove(`${path}${SAVED}`));
      this.#dirs.add(dirOf(path));
    } catch (e) {
      throw failure("keep", path, e);
    }
  }

  /** Waits until the disk has all that was placed. */
  sync(): void {
    for (const dir of this.#dirs) {
      using handle = Deno.openSync(dir);
      handle.syncSync();
    }
    this.#dirs.clear();
  }

  /** Something else that is to be taken back with the files. */
  defer(back: () => void): void {
    this.#undo.defer(back);
  }

  /** All is well: nothing is taken back any more. */
  keep(): void {
    this.sync();
    this.#undo.move();
    for (const step of this.#done) step();
  }

  #hidden(path: string, what: string): string {
    return `${dirOf(path)}/.${nameOf(path)}${DRAFT_MARK}${what}-${crypto.randomUUID().slice(0, 8)}`;
  }

  [Symbol.dispose](): void {
    this.#undo.dispose();
  }
}

function write(path: string, content: Content): void {
  switch (content.kind) {
    case "link":
      Deno.symlinkSync(content.target, path);
      return;
    case "text":
    case "bytes": {
      using file = Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
      let rest = content.kind === "text" ? new TextEncoder().encode(content.text) : content.bytes;
      while (rest.length > 0) rest = rest.subarray(file.writeSync(rest));
      Deno.chmodSync(path, content.mode);
      file.syncSync();
      return;
    }
    case "copy": {
      Deno.copyFileSync(content.from, path);
      Deno.chmodSync(path, content.mode);
      using file = Deno.openSync(path);
      file.syncSync();
    }
  }
}

/** Gives a file, or a symbolic link, a second name. False when there is nothing. */
function linkIfThere(path: string, name: string): boolean {
  try {
    Deno.linkSync(path, name);
    return true;
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return false;
    throw e;
  }
}

/** Renames, also where the two names are those of one file, which rename(2) leaves as they are. */
export function move(from: string, to: string): void {
  Deno.renameSync(from, to);
  remove(from);
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return false;
    throw e;
  }
}

/** Removes a file, if there is one. */
export function remove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
  }
}

/** What Deno's words mean for whoever runs this. */
const ADVICE: readonly (readonly [RegExp, string])[] = [
  [/os error 28\b/, "Make room on that file system; nothing was changed"],
  [
    /os error 30\b/,
    "The file system is read-only: choose another directory with --cni-bin-dir or --cni-conf-dir, and tell the runtime of it",
  ],
  [/os error (?:1|13)\b/, "Run it as root, and see whether the directory lets root write"],
];

/** An error of a file, with what to do. */
export function failure(deed: string, path: string, cause: unknown): OpError {
  if (cause instanceof OpError) return cause;
  // Deno puts the call and its paths behind the kernel's words; the path is ours already.
  const words = messageOf(cause).replace(/: \w+ '.*$/s, "");
  const advice = ADVICE.find(([pattern]) => pattern.test(words))?.[1];
  return new OpError(deed, path, { code: ErrorCode.io, kernel: words, advice, cause });
}
