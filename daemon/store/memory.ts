/**
 * The last known good snapshot: configuration, own lease and all leases, as a file. With it a node
 * keeps its data plane when it starts while the store cannot be reached.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import {
  Fields,
  isJsonList,
  type Json,
  jsonObject,
  parseJson,
  stringifyJson,
} from "../../engine/json.ts";
import {
  type Lease,
  leaseKey,
  leaseValue,
  parseLeaseKey,
  parseLeaseValue,
} from "../../engine/lease.ts";
import { formatNetConf, type NetConf, parseNetConf } from "../../engine/net_conf.ts";
import { replaceFile } from "../replace_file.ts";

/** What is remembered. */
export interface Memory {
  /** When it was written, as `Date.now()` counts. */
  readonly at: number;
  readonly conf: NetConf;
  readonly own: Lease;
  readonly leases: readonly Lease[];
}

/** The memory as text. Leases are written as in etcd, so that people can compare. */
export function formatMemory({ at, conf, own, leases }: Memory): string {
  return stringifyJson(
    jsonObject({
      schema: 1,
      at: new Date(at).toISOString(),
      config: parseJson(formatNetConf(conf)),
      own: leaseJson(own),
      leases: leases.map(leaseJson),
    }),
    1,
  );
}

function leaseJson(lease: Lease): Json {
  return jsonObject({
    key: leaseKey(lease),
    node: lease.node,
    value: parseJson(leaseValue(lease)),
  });
}

/**
 * Reads {@link formatMemory}'s text.
 *
 * @throws {SyntaxError} when it is anything else.
 */
export function parseMemory(text: string): Memory {
  const fields = Fields.document(parseJson(text));
  if (fields.integer("schema") !== 1) throw new SyntaxError("schema: want 1");
  const at = Date.parse(fields.string("at") ?? "");
  const config = fields.object("config");
  const own = fields.fields("own");
  const leases = fields.raw("leases");
  if (Number.isNaN(at) || config === undefined || own === undefined || !isJsonList(leases)) {
    throw new SyntaxError("want the members at, config, own and leases");
  }
  return {
    at,
    conf: parseNetConf(stringifyJson(config)),
    own: readLease(own),
    leases: (fields.objects("leases") ?? []).map(readLease),
  };
}

function readLease(fields: Fields): Lease {
  const node = fields.string("node");
  return {
    ...parseLeaseKey(fields.string("key") ?? ""),
    ...parseLeaseValue(stringifyJson(fields.raw("value") ?? null)),
    ...(node === undefined ? {} : { node }),
  };
}

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
