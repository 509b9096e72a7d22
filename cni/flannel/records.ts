/**
 * What DEL needs: the document that ADD gave to its delegate, kept in a file.
 *
 * The reference plugin keeps one file for each container, named by the container's ID, and we read
 * and write the same file, so that either can delete what the other added. But a container may
 * have a second interface, whose ADD would overwrite the record of the first. So the first one owns
 * the plain name, which its hidden second name (`.<id>@<ifname>`, a hard link) tells; a record for
 * another interface gets the name `<id>-<ifname>`.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Attachment } from "../attachments.ts";

/** Where records are kept unless `dataDir` says otherwise. */
export const DEFAULT_DATA_DIR = "/var/lib/cni/flannel";

/** The record of one attachment. */
export interface DelegateRecord {
  /** Names of the file, the one that was read first. */
  readonly paths: readonly string[];
  readonly text: string;
}

/** The paths that a record has, or may have. */
type Names = Readonly<Record<"plain" | "mark" | "second" | "draft", string>>;

/** The records in one directory. */
export class Records {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Keeps the document of an attachment, synced to the disk: 0600, in a directory of 0700.
   *
   * @param sync brings the file to the disk, now or soon, and closes it.
   * @throws {OpError} code 5.
   */
  put(owner: Attachment, text: string, sync: (file: Deno.FsFile) => void): void {
    const names = this.#names(owner);
    try {
      Deno.mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
      sync(this.#write(names, text));
      if (linkNew(names.draft, names.plain)) {
        Deno.renameSync(names.draft, names.mark);
      } else if (sameFile(names.plain, names.mark)) {
        // An older record of ours goes; until the new one stands its second name still tells it.
        removeFile(names.plain);
        Deno.linkSync(names.draft, names.plain);
        Deno.renameSync(names.draft, names.mark);
      } else {
        Deno.renameSync(names.draft, names.second);
      }
    } catch (cause) {
      throw new OpError("keep the delegate's configuration in", names.plain, {
        code: ErrorCode.io,
        cause,
      });
    }
  }

  /**
   * The record of an attachment. A plain file that nobody marked was written by the reference
   * plugin, and counts for every interface.
   *
   * @throws {OpError} code 5 when there is a file that cannot be read.
   */
  find(owner: Attachment): DelegateRecord | undefined {
    const { plain, mark, second } = this.#names(owner);
    const [own, inode] = [read(second), inodeOf(plain)];
    if (own !== undefined) return { paths: [second], text: own };
    // An ADD was killed as it replaced an older record: that one is still there by its second name.
    const older = inode === undefined ? read(mark) : undefined;
    if (older !== undefined) return { paths: [mark], text: older };
    if (inode === undefined || !sameFile(plain, mark) && this.#isMarked(owner, inode)) {
      return undefined;
    }
    const text = read(plain);
    return text === undefined ? undefined : { paths: [plain, mark], text };
  }

  /** Forgets an attachment. @throws {OpError} code 5 */
  remove(owner: Attachment, record: DelegateRecord | undefined): void {
    const { draft, plain, mark } = this.#names(owner);
    const rest = inodeOf(plain) === undefined ? [mark, draft] : [draft];
    for (const path of [...record?.paths ?? [], ...rest]) remove(path);
  }

  /** Every record, with the names that each would have for these attachments. */
  *all(): Generator<{ readonly path: string; readonly name: string; readonly text: string }> {
    for (const { name, isFile } of this.#entries()) {
      const path = `${this.#dir}/${name}`;
      const text = isFile ? read(path) : undefined;
      if (text !== undefined) yield { path, name, text };
    }
  }

  /**
   * Removes the records that `isOurs` accepts and that belong to none of the attachments.
   *
   * @throws {OpError} code 5.
   */
  retain(valid: readonly Attachment[], isOurs: (text: string) => boolean): void {
    const keep = new Set(valid.flatMap((owner) => Object.values(this.#names(owner))));
    const stale = [...this.all()].filter(({ path, text }) => !keep.has(path) && isOurs(text));
    for (const { path } of stale) remove(path);
  }

  /** Writes the draft of a record. */
  #write({ draft, plain, mark }: Names, text: string): Deno.FsFile {
    let file = create(draft);
    if (file === undefined) {
      // An ADD that was killed between its two names: its second name is completed.
      if (sameFile(plain, draft)) Deno.renameSync(draft, mark);
      else removeFile(draft);
      file = create(draft);
    }
    if (file === undefined) throw new Deno.errors.AlreadyExists(draft);
    using undo = new DisposableStack();
    undo.use(file);
    let rest = new TextEncoder().encode(text);
    while (rest.length > 0) rest = rest.subarray(file.writeSync(rest));
    undo.move();
    return file;
  }

  #names(
    { containerId, ifname }: Attachment,
  ): Names {
    const dir = this.#dir;
    return {
      plain: `${dir}/${containerId}`,
      second: `${dir}/${containerId}-${ifname}`,
      mark: `${dir}/.${containerId}@${ifname}`,
      draft: `${dir}/..${containerId}@${ifname}`,
    };
  }

  /** True when the file belongs to some interface of the container. */
  #isMarked({ containerId }: Attachment, inode: number): boolean {
    return this.#entries().some(({ name }) =>
      name.startsWith(`.${containerId}@`) && inodeOf(`${this.#dir}/${name}`) === inode
    );
  }

  #entries(): Deno.DirEntry[] {
    try {
      return [...Deno.readDirSync(this.#dir)];
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return [];
      throw new OpError("list", this.#dir, { code: ErrorCode.io, cause });
    }
  }
}

function create(path: string): Deno.FsFile | undefined {
  try {
    return Deno.openSync(path, { write: true, createNew: true, mode: 0o600 });
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) return undefined;
    throw cause;
  }
}

/** Brings a record to the disk at once. */
export function syncNow(file: Deno.FsFile): void {
  using _closed = file;
  file.syncSync();
}

/** Gives a file a second name; false when there is such a file already. */
function linkNew(from: string, to: string): boolean {
  try {
    Deno.linkSync(from, to);
    return true;
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) return false;
    throw cause;
  }
}

function sameFile(a: string, b: string): boolean {
  const inode = inodeOf(a);
  return inode !== undefined && inode === inodeOf(b);
}

function inodeOf(path: string): number | undefined {
  try {
    return Deno.lstatSync(path).ino ?? undefined;
  } catch {
    return undefined;
  }
}

function read(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new OpError("read", path, { code: ErrorCode.io, cause });
  }
}

function remove(path: string): void {
  try {
    removeFile(path);
  } catch (cause) {
    throw new OpError("remove", path, { code: ErrorCode.io, cause });
  }
}

function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
  }
}
