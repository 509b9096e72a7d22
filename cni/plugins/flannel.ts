/**
 * flannel: gives pods addresses out of this node's subnet. It makes nothing itself. It reads what
 * the daemon wrote into the subnet file, makes a configuration for another plugin of it (normally
 * bridge, which calls host-local), and delegates. That configuration is kept, because DEL must take
 * away what ADD made, even when the subnet file or the network's configuration has changed since.
 * Host ports and bandwidth it serves itself where its configuration has these capabilities.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import { Fields, JsonObject, parseJson, stringifyJson } from "../../engine/json.ts";
import { parseSubnetEnv, type SubnetEnv } from "../../engine/subnet_env.ts";
import { ATTACHMENT_KEYS, validAttachments } from "../attachments.ts";
import { delegate, delegateAdd } from "../delegate.ts";
import { CniError, readConfig, toCniError } from "../errors.ts";
import { Chained, collectChained } from "../flannel/chained.ts";
import { DEFAULT_DELEGATE, delegateDocument } from "../flannel/document.ts";
import { DEFAULT_DATA_DIR, Records, syncNow } from "../flannel/records.ts";
import { syncSoon } from "../flannel/sync.ts";
import type { Plugin, Request } from "../plugin.ts";
import { quietlyAsync } from "../quietly.ts";
import type { Result } from "../result.ts";
import { VERSIONS } from "../versions.ts";

/** Where the daemon writes this node's subnet unless `subnetFile` says otherwise. */
const DEFAULT_SUBNET_FILE = "/run/flannel/subnet.env";

/** The plugin `flannel`. */
export const flannel: Plugin = {
  name: "flannel",
  about: "CNI flannel plugin: gives pods addresses of this node's subnet, through another plugin",
  versions: VERSIONS,
  attaches: true,

  async add(request: Request): Promise<Result> {
    const document = makeDocument(request);
    const chained = new Chained(request);
    await chained.examine();
    const sync = request.call.mayBlock ? syncNow : syncSoon;
    recordsOf(request).put(request, stringifyJson(document), sync);
    let result: Result;
    try {
      result = await delegateAdd(request, typeOf(document), document);
    } catch (error) {
      // The record stays: the runtime calls DEL next.
      throw toCniError(error).prefixed("failed to delegate add");
    }
    await using undo = new AsyncDisposableStack();
    undo.defer(() =>
      quietlyAsync(request, () => delegate(request, "DEL", typeOf(document), document))
    );
    result = await chained.add(result);
    undo.move();
    return result;
  },

  async check(request: Request): Promise<void> {
    const record = recordsOf(request).find(request);
    const document = record === undefined ? undefined : parseRecord(record.text);
    if (document === undefined) return;
    const asked = withVersion(document, request);
    const previous = request.config.raw("prevResult");
    await delegate(
      request,
      "CHECK",
      typeOf(asked),
      previous === undefined ? asked : asked.with("prevResult", previous),
    );
    await new Chained(request).check();
  },

  async del(request: Request): Promise<void> {
    const records = recordsOf(request);
    const record = records.find(request);
    const document = record === undefined ? undefined : parseRecord(record.text);
    if (record !== undefined && document === undefined) {
      request.log(`twill: ${record.paths[0]} is no delegate's configuration, nothing to delete`);
      return;
    }
    // The record stays when something fails: the runtime calls DEL again.
    await new Chained(request, document).del();
    if (document !== undefined) await delegate(request, "DEL", typeOf(document), document);
    records.remove(request, record);
  },

  async gc(request: Request): Promise<void> {
    const valid = readConfig("failed to load netconf", () => validAttachments(request.config));
    const records = recordsOf(request);
    const failures: unknown[] = [];
    try {
      const document = gcDocument(request, records);
      if (document !== undefined) await delegate(request, "GC", typeOf(document), document);
    } catch (error) {
      failures.push(error);
    }
    try {
      await collectChained(request);
    } catch (error) {
      failures.push(error);
    }
    const isOurs = (text: string): boolean => networkOfRecord(text) === request.network;
    if (valid !== undefined) records.retain(valid, isOurs);
    if (failures.length > 0) throw failures[0];
  },

  async status(request: Request): Promise<void> {
    let env: SubnetEnv;
    try {
      env = readSubnetFile(request);
    } catch (error) {
      if (!(error instanceof OpError) || error.code === ErrorCode.badConfig) throw error;
      throw new CniError(ErrorCode.notAvailable, error.message, error.advice, error);
    }
    // The file outlives its daemon; what holds that one back is not in it.
    const [reason, ...more] = request.call.notReady?.() ?? [];
    if (reason !== undefined) {
      throw new CniError(
        ErrorCode.notAvailable,
        `the node's network is not ready: ${[reason, ...more].join("; ")}`,
        "The daemon's /readyz and log say the same",
      );
    }
    const document = makeDocument(request, env);
    await delegate(request, "STATUS", typeOf(document), document);
  },
};

function makeDocument(request: Request, env: SubnetEnv = readSubnetFile(request)): JsonObject {
  return readConfig(
    "failed to load netconf",
    () => delegateDocument(request.config, request.network, env),
  );
}

function readSubnetFile(request: Request): SubnetEnv {
  const path = setting(request, "subnetFile", DEFAULT_SUBNET_FILE);
  try {
    return parseSubnetEnv(Deno.readTextFileSync(path), path);
  } catch (cause) {
    // The words of flannel's own plugin, which operators and their tools look for.
    const words = cause instanceof Deno.errors.NotFound
      ? `open ${path}: no such file or directory`
      : messageOf(cause);
    throw new OpError("use the subnet file", path, {
      code: ErrorCode.plugin,
      kernel: `failed to load flannel 'subnet.env' file: ${words}`,
      advice:
        "The daemon writes it when the node is ready: its log and /readyz say what it waits for",
      cause,
    });
  }
}

function recordsOf(request: Request): Records {
  return new Records(setting(request, "dataDir", DEFAULT_DATA_DIR));
}

function setting(request: Request, name: string, fallback: string): string {
  return readConfig("failed to load netconf", () => request.config.string(name) || fallback);
}

/** The document of a record; undefined when it cannot be one. */
function parseRecord(text: string): JsonObject | undefined {
  try {
    const value = parseJson(text);
    if (!(value instanceof JsonObject)) return undefined;
    return new Fields(value).string("type") ? value : undefined;
  } catch {
    return undefined;
  }
}

function typeOf(document: JsonObject): string {
  return new Fields(document).string("type") ?? DEFAULT_DELEGATE;
}

function networkOfRecord(text: string): string | undefined {
  const document = parseRecord(text);
  try {
    return document === undefined ? undefined : new Fields(document).string("name");
  } catch {
    return undefined;
  }
}

/** The record with the version of the request: the commands of now may be younger than the record. */
function withVersion(document: JsonObject, request: Request): JsonObject {
  return document.with("cniVersion", request.version);
}

/**
 * What the delegate's GC reads. Without a subnet file any record of this network will do: it names
 * the delegate and its stores all the same.
 */
function gcDocument(request: Request, records: Records): JsonObject | undefined {
  const key = ATTACHMENT_KEYS.find((one) => request.config.has(one));
  const list = key === undefined ? undefined : request.config.raw(key) ?? null;
  let document: JsonObject | undefined;
  try {
    document = makeDocument(request);
  } catch (error) {
    if (!(error instanceof OpError) || error.code === ErrorCode.badConfig) throw error;
    document = [...records.all()].filter(({ text }) => networkOfRecord(text) === request.network)
      .map(({ text }) => parseRecord(text)).find((one) => one !== undefined);
  }
  if (document === undefined) return undefined;
  document = withVersion(document, request);
  return list === undefined ? document : document.with(ATTACHMENT_KEYS[0], list);
}
