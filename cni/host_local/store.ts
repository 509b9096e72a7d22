/**
 * The address store: one directory for each network, one file for each address.
 *
 * The format is that of the reference plugin, which may work on the same directory before, after
 * and at the same time: a file is named like its address and holds container ID, CR LF and
 * interface name; `last_reserved_ip.<n>` holds the address that set `n` gave out last; whoever
 * reads or writes holds the flock on `lock`.
 *
 * A reservation appears whole or not at all: it is written under another name, which becomes its
 * own. (Created and then written, it could stay behind empty, belong to nobody, and never be
 * given back.)
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { type Ip, parseIp } from "../../engine/ip.ts";
import { Flock, openLockFile } from "../../ffi/flock.ts";
import type { Attachment } from "../attachments.ts";
import { recall, remember } from "./owners.ts";

const LOCK = "lock";
/** Where a reservation is written first. The lock makes one name enough. */
const DRAFT = ".reservation.tmp";

/** The store of one network, locked for as long as this object lives. */
export class Store implements Disposable {
  readonly #dir: string;
  readonly #lock: Flock;
  /** What is in the directory; while we have the lock only we change it. */
  #listed: Map<Ip, { readonly isFile: boolean }> | undefined;
  /** What the files hold, by address; undefined until it was asked for. */
  #texts: Map<Ip, string> | undefined;

  private constructor(dir: string, lock: Flock) {
    this.#dir = dir;
    this.#lock = lock;
  }

  /**
   * Makes the directory if need be, and waits for the lock.
   *
   * @param mayBlock see `Flock.acquire`.
   * @throws {OpError} code 5.
   */
  static async open(dir: string, mayBlock: boolean): Promise<Store> {
    makeDir(dir);
    return new Store(dir, await Flock.acquire(`${dir}/${LOCK}`, mayBlock));
  }

  /** As {@link Store.open}; undefined, and nothing is made, when there is no directory. */
  static async openExisting(dir: string, mayBlock: boolean): Promise<Store | undefined> {
    try {
      Deno.statSync(dir);
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return undefined;
      throw failed("look at", dir, cause);
    }
    return await Store.open(dir, mayBlock);
  }

  /**
   * Makes sure that the store can be used, without waiting for anybody.
   *
   * @throws {OpError} code 5.
   */
  static probe(dir: string): void {
    makeDir(dir);
    openLockFile(`${dir}/${LOCK}`).close();
  }

  /** Every address that has an entry, of whatever kind: all of these count as taken. */
  taken(): ReadonlySet<Ip> {
    return new Set(this.#entries().keys());
  }

  /**
   * The addresses of an attachment. Very old entries hold the container ID alone; they count for
   * every interface, and only if there is no other.
   */
  ownedBy(owner: Attachment): readonly Ip[] {
    const [exact, old] = [fileText(owner), owner.containerId];
    const find = (texts: ReadonlyMap<Ip, string>): readonly Ip[] => {
      const matching = (text: string): Ip[] =>
        [...texts].filter(([, found]) => found === text).map(([ip]) => ip);
      const found = matching(exact);
      return found.length > 0 ? found : matching(old);
    };
    return find(this.#contents());
  }

  /**
   * As {@link Store.ownedBy}, but what was remembered is not trusted: for giving back.
   */
  surelyOwnedBy(owner: Attachment): readonly Ip[] {
    const likely = this.ownedBy(owner);
    const text = fileText(owner);
    if (likely.length > 0 && likely.every((ip) => this.#read(ip) === text)) return likely;
    this.#texts = this.#readAll(new Map());
    return this.ownedBy(owner);
  }

  /**
   * Takes an address for an attachment.
   *
   * @returns false when it has an entry already.
   * @throws {OpError} code 5, and nothing is reserved.
   */
  reserve(ip: Ip, owner: Attachment): boolean {
    const draft = `${this.#dir}/${DRAFT}`;
    try {
      if (this.#entries().has(ip)) return false;
      writeNew(draft, fileText(owner));
      Deno.renameSync(draft, this.#path(ip));
      this.#listed?.set(ip, { isFile: true });
      this.#texts?.set(ip, fileText(owner));
      return true;
    } catch (cause) {
      this.tidy();
      throw failed("reserve an address in", this.#path(ip), cause);
    }
  }

  /** Gives an address back; one that has no entry is no error. @throws {OpError} code 5 */
  release(ip: Ip): void {
    try {
      removeFile(this.#path(ip));
      this.#listed?.delete(ip);
      this.#texts?.delete(ip);
    } catch (cause) {
      throw failed("release the address in", this.#path(ip), cause);
    }
  }

  /** Removes what a reservation left that was killed half way; it belongs to nobody. */
  tidy(): void {
    try {
      removeFile(`${this.#dir}/${DRAFT}`);
    } catch {
      // The next reservation removes it, or says why it cannot.
    }
  }

  /** Gives back every address that belongs to none of the attachments. @throws {OpError} code 5 */
  retain(valid: readonly Attachment[]): void {
    const keep = new Set(valid.flatMap((owner) => [fileText(owner), owner.containerId]));
    for (const [ip, text] of this.#readAll(new Map())) if (!keep.has(text)) this.release(ip);
  }

  /** The address that a set gave out last; undefined when the file holds anything else. */
  lastReserved(set: number): Ip | undefined {
    try {
      return parseIp(Deno.readTextFileSync(this.#lastPath(set)));
    } catch {
      return undefined;
    }
  }

  /** Remembers the address that a set gave out last. @throws {OpError} code 5 */
  setLastReserved(set: number, ip: Ip): void {
    try {
      writeOver(this.#lastPath(set), ip);
    } catch (cause) {
      throw failed("write", this.#lastPath(set), cause);
    }
  }

  /** Gives the lock back. */
  [Symbol.dispose](): void {
    if (this.#texts !== undefined) remember(this.#dir, this.#texts);
    this.#lock[Symbol.dispose]();
  }

  #entries(): ReadonlyMap<Ip, { readonly isFile: boolean }> {
    if (this.#listed !== undefined) return this.#listed;
    const out = new Map<Ip, { readonly isFile: boolean }>();
    try {
      for (const { name, isFile } of Deno.readDirSync(this.#dir)) {
        const ip = fileIp(name);
        if (ip !== undefined) out.set(ip, { isFile });
      }
    } catch (cause) {
      throw failed("list", this.#dir, cause);
    }
    return this.#listed = out;
  }

  #contents(): ReadonlyMap<Ip, string> {
    return this.#texts ??= this.#readAll(recall(this.#dir));
  }

  /** @param known texts that need not be read again. */
  #readAll(known: ReadonlyMap<string, string>): Map<Ip, string> {
    const files = [...this.#entries()].filter(([, { isFile }]) => isFile);
    return new Map(files.map(([ip]) => [ip, known.get(ip) ?? this.#read(ip)]));
  }

  /** The trimmed content of an entry; empty when it cannot be read. */
  #read(ip: Ip): string {
    try {
      return Deno.readTextFileSync(this.#path(ip)).trim();
    } catch {
      return "";
    }
  }

  #path(ip: Ip): string {
    return `${this.#dir}/${ip}`;
  }

  #lastPath(set: number): string {
    return `${this.#dir}/last_reserved_ip.${set}`;
  }
}

/** File names that were looked at, and how many at most. */
const names = new Map<string, Ip | undefined>();
const MOST_NAMES = 4096;

/** The address that a file name is; only the canonical spelling is one. */
function fileIp(name: string): Ip | undefined {
  if (!/^[0-9a-f]/.test(name) && !name.startsWith("::")) return undefined;
  if (names.has(name)) return names.get(name);
  if (names.size >= MOST_NAMES) names.clear();
  const ip = asIp(name);
  names.set(name, ip);
  return ip;
}

function asIp(name: string): Ip | undefined {
  try {
    const ip = parseIp(name);
    return ip === name ? ip : undefined;
  } catch {
    return undefined;
  }
}

function fileText({ containerId, ifname }: Attachment): string {
  return `${containerId}\r\n${ifname}`;
}

function makeDir(dir: string): void {
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o755 });
  } catch (cause) {
    throw failed("create the address store", dir, cause);
  }
}

/** Never written over: what an older version left may be one file with a reservation. */
function writeNew(path: string, text: string): void {
  const write = (): void => Deno.writeTextFileSync(path, text, { createNew: true, mode: 0o600 });
  try {
    return write();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) throw cause;
  }
  removeFile(path);
  write();
}

/**
 * Writes a short file in its place: a file that is emptied first makes ext4 allocate anew, and
 * wait for its journal. Torn by a kill, it may name another address, or none: only the place where
 * the next search begins.
 */
function writeOver(path: string, text: string): void {
  const bytes = new TextEncoder().encode(text);
  using file = Deno.openSync(path, { write: true, create: true, mode: 0o600 });
  file.writeSync(bytes);
  if (file.statSync().size > bytes.length) file.truncateSync(bytes.length);
}

function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
  }
}

function failed(deed: string, object: string, cause: unknown): OpError {
  return new OpError(deed, object, { code: ErrorCode.io, cause });
}
