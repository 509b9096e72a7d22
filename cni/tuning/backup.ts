/**
 * What the interface was like before `tuning` changed it: one file for each attachment, in the form
 * of the reference plugin, so that either restores what the other changed. The member `network` is
 * ours; GC goes by it, since the directory serves all networks.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { Fields, jsonObject, parseJson, stringifyJson } from "../../engine/json.ts";
import { parseMac } from "../../engine/mac.ts";
import type { LinkSettings } from "../../ffi/link_settings.ts";
import type { Attachment } from "../attachments.ts";

/** The kept settings in one directory. */
export class Backups {
  readonly #dir: string;

  constructor(dir: string) {
    this.#dir = dir;
  }

  /**
   * Keeps settings, at once and whole. Those that are kept already stay: they are from before the
   * first change.
   *
   * @throws {OpError} code 5.
   */
  put(owner: Attachment, network: string, settings: LinkSettings): void {
    const path = this.#path(owner);
    const draft = `${this.#dir}/.${owner.containerId}_${owner.ifname}.tmp`;
    const kept = { ...settings, ...this.#tryRead(path) };
    const { mac, promisc, mtu, allmulti, txQueueLength: txQLen } = kept;
    const text = stringifyJson(jsonObject({ mac, promisc, mtu, allmulti, txQLen, network }));
    try {
      Deno.mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
      removeFile(draft);
      {
        using file = Deno.openSync(draft, { write: true, createNew: true, mode: 0o600 });
        let rest = new TextEncoder().encode(text);
        while (rest.length > 0) rest = rest.subarray(file.writeSync(rest));
        file.syncSync();
      }
      Deno.renameSync(draft, path);
    } catch (cause) {
      throw new OpError("keep the settings of the interface in", path, {
        code: ErrorCode.io,
        cause,
      });
    }
  }

  #tryRead(path: string): LinkSettings | undefined {
    try {
      return read(path);
    } catch {
      return undefined;
    }
  }

  /** What was kept; undefined when nothing was. @throws {OpError} code 5 for an unreadable file */
  find(owner: Attachment): LinkSettings | undefined {
    const path = this.#path(owner);
    try {
      return read(path);
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return undefined;
      throw new OpError("use the kept settings in", path, { code: ErrorCode.io, cause });
    }
  }

  /** Forgets an attachment. @throws {OpError} code 5 */
  remove(owner: Attachment): void {
    remove(this.#path(owner));
  }

  /**
   * Forgets the attachments of a network that are not among these.
   *
   * @throws {OpError} code 5.
   */
  retain(network: string, valid: readonly Attachment[]): void {
    const keep = new Set(valid.map((owner) => this.#path(owner)));
    for (const { name, isFile } of this.#entries()) {
      const path = `${this.#dir}/${name}`;
      if (isFile && name.endsWith(".json") && !keep.has(path) && networkOf(path) === network) {
        remove(path);
      }
    }
  }

  #entries(): Deno.DirEntry[] {
    try {
      return [...Deno.readDirSync(this.#dir)];
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return [];
      throw new OpError("list", this.#dir, { code: ErrorCode.io, cause });
    }
  }

  #path({ containerId, ifname }: Attachment): string {
    return `${this.#dir}/${containerId}_${ifname}.json`;
  }
}

/** @throws when there is no such file, or it holds anything else. */
function read(path: string): LinkSettings {
  const fields = Fields.document(parseJson(Deno.readTextFileSync(path)));
  const [mac, promisc] = [fields.string("mac"), fields.boolean("promisc")];
  const [mtu, allmulti] = [fields.unsigned("mtu"), fields.boolean("allmulti")];
  const txQueueLength = fields.unsigned("txQLen");
  return {
    ...(mac ? { mac: parseMac(mac) } : {}),
    ...(promisc === undefined ? {} : { promisc }),
    ...(mtu ? { mtu } : {}),
    ...(allmulti === undefined ? {} : { allmulti }),
    ...(txQueueLength === undefined ? {} : { txQueueLength }),
  };
}

/** The network that a file says it belongs to. */
function networkOf(path: string): string | undefined {
  try {
    return Fields.document(parseJson(Deno.readTextFileSync(path))).string("network");
  } catch {
    return undefined;
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
