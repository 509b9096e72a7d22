/**
 * The last known good snapshot as text: configuration, own lease and all leases. The daemon keeps it
 * as a file; inspect reads it, so that wanted and found can be compared without daemon or store.
 *
 * @module
 */

import { Fields, isJsonList, type Json, jsonObject, parseJson, stringifyJson } from "./json.ts";
import { type Lease, leaseKey, leaseValue, parseLeaseKey, parseLeaseValue } from "./lease.ts";
import { formatNetConf, type NetConf, parseNetConf, withoutSecrets } from "./net_conf.ts";

/** What is remembered. */
export interface Memory {
  /** When it was written, as `Date.now()` counts. */
  readonly at: number;
  readonly conf: NetConf;
  readonly own: Lease;
  /** When the own lease ends unless it is renewed, as `Date.now()` counts; absent: it has no end. */
  readonly ends?: number;
  readonly leases: readonly Lease[];
}

/** The memory as text. */
export function formatMemory(memory: Memory): string {
  return stringifyJson(memoryJson(memory), 1);
}

/** The memory as a document, without secrets. Leases are written as in etcd, so that people can compare. */
export function memoryJson({ at, conf, own, ends, leases }: Memory): Json {
  return jsonObject({
    schema: 1,
    at: new Date(at).toISOString(),
    config: parseJson(formatNetConf(withoutSecrets(conf))),
    own: leaseJson(own),
    ends: ends === undefined ? undefined : new Date(ends).toISOString(),
    leases: leases.map(leaseJson),
  });
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
  return readMemory(Fields.document(parseJson(text)));
}

/** Reads {@link memoryJson}'s document. @throws {SyntaxError} */
export function readMemory(fields: Fields): Memory {
  if (fields.integer("schema") !== 1) throw new SyntaxError("schema: want 1");
  const at = Date.parse(fields.string("at") ?? "");
  const config = fields.object("config");
  const own = fields.fields("own");
  const leases = fields.raw("leases");
  if (Number.isNaN(at) || config === undefined || own === undefined || !isJsonList(leases)) {
    throw new SyntaxError("want the members at, config, own and leases");
  }
  const ends = Date.parse(fields.string("ends") ?? "");
  return {
    at,
    conf: parseNetConf(stringifyJson(config)),
    own: readLease(own),
    ...(Number.isNaN(ends) ? {} : { ends }),
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
