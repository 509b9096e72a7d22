/**
 * The store that needs no server: a file, YAML or JSON, with the leases of all nodes. Nothing is
 * ever written to it. It is read again when it changes; content that cannot be used changes
 * nothing and counts as a bad record until the file is right again.
 *
 * @module
 */

import { load } from "js-yaml";
import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { Ip } from "../../engine/ip.ts";
import { parseJson, stringifyJson } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { findOwnLease, type LeaseFile, readLeaseFile } from "../../engine/lease_file.ts";
import type { NetConf } from "../../engine/net_conf.ts";
import type { Log } from "../log.ts";
import { FileNews } from "./file_news.ts";
import type { BadRecord, KnownSelf, LeaseRequest, Snapshot, Store, StoreStatus } from "./store.ts";

/** What a {@link FileStore} needs to know. */
export interface FileStoreOptions {
  /** Path of the lease file. */
  readonly path: string;
  /** This node's name in the file; without it the node finds itself by its address. */
  readonly node?: string | undefined;
  readonly log: Log;
  /** Milliseconds between two looks at a file that does not change; 5,000 unless set. */
  readonly every?: number;
}

/**
 * Reads the text of a lease file: YAML, of which JSON is a part.
 *
 * @param path named in the error.
 * @throws {OpError} with the reason, when the text is no lease file.
 */
export function parseLeaseFile(text: string, path: string): LeaseFile {
  try {
    const document = load(text, { filename: path });
    // To our own JSON and not from object to object: a key like `__proto__` stays a key.
    return readLeaseFile(parseJson(JSON.stringify(document ?? null)));
  } catch (cause) {
    throw new OpError("use lease file", path, {
      code: ErrorCode.badConfig,
      // The YAML parser adds a picture of the place; its first line says it all.
      kernel: messageOf(cause).split("\n", 1)[0],
      advice: "The file has two keys, config and nodes; see the README for an example",
      cause,
    });
  }
}

/** Static leases from a file. */
export class FileStore implements Store {
  readonly name: string;
  readonly #path: string;
  readonly #node: string | undefined;
  readonly #log: Log;
  readonly #news: FileNews;
  #text: string;
  #file: LeaseFile;
  /** Absent until {@link FileStore.acquire}; the addresses by which this node finds itself. */
  #addresses: readonly Ip[] | undefined;
  #bad: BadRecord | undefined;
  /** Grows whenever a snapshot would be another one. */
  #version = 0;

  private constructor(options: FileStoreOptions, text: string) {
    this.name = `file ${options.path}`;
    this.#path = options.path;
    this.#node = options.node;
    this.#log = options.log.with({ store: "file" });
    this.#text = text;
    this.#file = parseLeaseFile(text, options.path);
    this.#news = new FileNews(options.path, options.every ?? 5_000, this.#log);
  }

  /**
   * Reads the file.
   *
   * @throws {OpError} when it cannot be read or used.
   */
  static async open(options: FileStoreOptions): Promise<FileStore> {
    return new FileStore(options, await readText(options.path));
  }

  self(): Promise<KnownSelf> {
    const lease = this.#own([]);
    if (lease === undefined) return Promise.resolve({});
    const { publicIp, publicIp6 } = lease;
    return Promise.resolve({
      ...(publicIp && { publicIp }),
      ...(publicIp6 && { publicIp6 }),
      lease,
    });
  }

  config(): Promise<NetConf> {
    return Promise.resolve(this.#file.conf);
  }

  async acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease> {
    const { publicIp, publicIp6 } = request.record;
    this.#addresses = [publicIp, publicIp6].filter((ip) => ip !== undefined);
    let seen = this.#news.count;
    for (let told = false;; told = true) {
      const lease = this.#own(this.#addresses);
      if (lease !== undefined) {
        if (publicIp !== undefined && lease.publicIp !== publicIp) {
          this.#log.warn("The lease file names another address for this node; it counts", {
            file: lease.publicIp,
            interface: publicIp,
          });
        }
        return lease;
      }
      if (!told) this.#log.error(this.#missing(this.#addresses), { file: this.#path });
      seen = await this.#news.next(seen, signal);
      await this.#look();
    }
  }

  async *snapshots(signal: AbortSignal): AsyncGenerator<Snapshot, void, undefined> {
    // Of before the file was read: that may be long ago.
    let seen = -1;
    while (!signal.aborted) {
      const version = this.#version;
      yield this.#snapshot();
      try {
        while (version === this.#version) {
          seen = await this.#news.next(seen, signal);
          await this.#look();
        }
      } catch (e) {
        if (!signal.aborted) throw e;
      }
    }
  }

  status(): StoreStatus {
    const missing = this.#addresses !== undefined && this.#own(this.#addresses) === undefined
      ? this.#missing(this.#addresses)
      : undefined;
    const problem = this.#bad?.reason ?? missing;
    return {
      connected: true,
      ...(problem !== undefined && { problem }),
      bad: this.#bad === undefined ? 0 : 1,
      gaps: 0,
    };
  }

  async close(): Promise<void> {
    await this.#news[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #own(addresses: readonly Ip[]): Lease | undefined {
    return findOwnLease(this.#file, { node: this.#node, addresses });
  }

  #missing(addresses: readonly Ip[]): string {
    const self = this.#node === undefined
      ? `no node has the address ${addresses.join(" or ") || "of this node"}`
      : `no node is called ${this.#node}`;
    return `This node is not in the lease file: ${self}`;
  }

  #snapshot(): Snapshot {
    const own = this.#addresses === undefined ? undefined : this.#own(this.#addresses);
    return {
      leases: this.#file.leases,
      ...(own && { own }),
      bad: this.#bad === undefined ? [] : [this.#bad],
    };
  }

  /** Reads the file again. */
  async #look(): Promise<void> {
    const badBefore = this.#bad?.reason;
    try {
      const text = await readText(this.#path);
      if (text === this.#text && badBefore === undefined) return;
      const file = parseLeaseFile(text, this.#path);
      if (text !== this.#text) {
        if (stringifyConf(file) !== stringifyConf(this.#file)) {
          this.#log.warn("The config of the lease file has changed; restart to use it", {
            file: this.#path,
          });
        }
        this.#file = { conf: this.#file.conf, leases: keepSame(this.#file.leases, file.leases) };
        this.#text = text;
        this.#log.info("Lease file read again", { file: this.#path, nodes: file.leases.length });
      }
      this.#bad = undefined;
    } catch (e) {
      const reason = messageOf(e);
      if (reason === badBefore) return;
      this.#bad = { key: this.#path, reason };
      this.#log.error(`${reason}; the leases of before stay in force`);
    }
    this.#version++;
  }
}

function stringifyConf({ conf }: LeaseFile): string {
  const { backend, ...rest } = conf;
  return `${JSON.stringify(rest)} ${stringifyJson(backend.raw)}`;
}

/** The new leases; those that say the same as before are the objects of before. */
function keepSame(before: readonly Lease[], now: readonly Lease[]): readonly Lease[] {
  const known = new Map(before.map((lease) => [JSON.stringify(lease), lease]));
  return now.map((lease) => known.get(JSON.stringify(lease)) ?? lease);
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new OpError("read lease file", path, { code: ErrorCode.store, cause });
  }
}
