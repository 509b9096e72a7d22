/**
 * The protocol around every plugin: what is checked, in which order, and how the answer looks.
 *
 * The order is that of the reference library, because runtimes and operators see it: variables,
 * then stdin, then the configuration's name, the command, the version; at last, and before the
 * plugin does anything, the pod's namespace, which must not be our own.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import { Fields, jsonObject, parseJson, stringifyJson } from "../engine/json.ts";
import { loadPlugin } from "./catalog.ts";
import {
  type Command,
  type Environment,
  isCommand,
  isIdentifier,
  readEnvironment,
} from "./environment.ts";
import { CniError, errorObject, toCniError } from "./errors.ts";
import { forgetOperation } from "./operation.ts";
import { type Call, type Plugin, Request } from "./plugin.ts";
import { addedPod } from "./pod_names.ts";
import { quietlyAsync } from "./quietly.ts";
import { formatResult, type Result } from "./result.ts";
import { gateVersion, isVersion, NEWEST, OLDEST, type Version } from "./versions.ts";

/** What a caller gets back. */
export interface Answer {
  /** 0 when the request was served, 1 when not. */
  readonly status: 0 | 1;
  /** One JSON document, or nothing. */
  readonly stdout: string;
}

/** What a plugin did: a result for ADD only. */
export interface Outcome {
  readonly version: Version;
  readonly result?: Result;
}

/** The configuration as far as every plugin reads it. */
interface Document {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly fields: Fields;
  readonly network: string;
  /** `cniVersion` as it is. */
  readonly version: string;
}

/** Serves a call and never throws: whatever goes wrong becomes an error object. */
export async function answer(call: Call): Promise<Answer> {
  let version: Version | undefined;
  try {
    const plugin = await loadPlugin(call.type);
    const environment = readEnvironment(call.env);
    if (environment.command === "") {
      call.log(aboutText(plugin));
      return { status: 0, stdout: "" };
    }
    if (environment.command === "VERSION") {
      const reply = jsonObject({ cniVersion: NEWEST, supportedVersions: plugin.versions });
      return { status: 0, stdout: `${stringifyJson(reply)}\n` };
    }
    const document = readDocument(call);
    if (isVersion(document.version)) version = document.version;
    const { result } = await run(call, plugin, environment, document);
    if (result === undefined) return { status: 0, stdout: "" };
    return {
      status: 0,
      stdout: stringifyJson(formatResult(result, document.version as Version), 4),
    };
  } catch (thrown) {
    if (!(thrown instanceof OpError || thrown instanceof SyntaxError)) {
      call.log(`twill: unexpected: ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
    }
    return { status: 1, stdout: stringifyJson(errorObject(toCniError(thrown), version), 4) };
  }
}

/**
 * Serves a call from inside, for another plugin that delegates to this one.
 *
 * @throws {OpError} what {@link answer} would have printed.
 */
export async function perform(call: Call): Promise<Outcome> {
  const plugin = await loadPlugin(call.type);
  const environment = readEnvironment(call.env);
  return await run(call, plugin, environment, readDocument(call));
}

async function run(
  call: Call,
  plugin: Plugin,
  environment: Environment,
  document: Document,
): Promise<Outcome> {
  const { command } = environment;
  if (!isCommand(command) || command === "VERSION") {
    throw new CniError(
      ErrorCode.badEnvironment,
      `unknown CNI_COMMAND: ${command}`,
      "Want ADD, CHECK, DEL, GC, STATUS or VERSION",
    );
  }
  const version = gateVersion(command, document.version, plugin.versions);
  if (call.delegated !== true) checkNetns(command, environment);
  const request = new Request({
    call,
    command,
    environment,
    bytes: document.bytes,
    document: document.fields,
    network: document.network,
    version,
  });
  switch (command) {
    case "ADD":
      if (plugin.attaches === true && await call.operation?.open(request)) {
        await perform(undoing(call, document.bytes));
      }
      return { version, result: await admitted(request, plugin, await plugin.add(request)) };
    case "CHECK":
      await plugin.check(request);
      break;
    case "DEL":
      await plugin.del(request);
      if (plugin.attaches === true) forgetOperation(request);
      break;
    case "GC":
      await plugin.gc(request);
      break;
    case "STATUS":
      await plugin.status(request);
      break;
  }
  return { version };
}

/** The result of an ADD, when whoever must know of the pod does; otherwise the pod is taken back. */
async function admitted(request: Request, { attaches }: Plugin, result: Result): Promise<Result> {
  const { call } = request;
  if (attaches !== true || call.admit === undefined || call.delegated === true) return result;
  const pod = addedPod(request.args, result);
  if (pod === undefined) return result;
  try {
    await call.admit(pod);
  } catch (error) {
    await quietlyAsync(request, async () => void await perform(undoing(call, request.bytes)));
    throw error;
  }
  return result;
}

/** The DEL of what the same call began to add. */
function undoing({ operation: _, ...call }: Call, bytes: Uint8Array<ArrayBuffer>): Call {
  const { env, childEnv } = call;
  return {
    ...call,
    env: (name) => name === "CNI_COMMAND" ? "DEL" : env(name),
    ...(childEnv && { childEnv: { ...childEnv, CNI_COMMAND: "DEL" } }),
    stdin: () => bytes,
  };
}

function aboutText(plugin: Plugin): string {
  return `${plugin.about}\nCNI protocol versions supported: ${plugin.versions.join(", ")}`;
}

/** @throws {CniError} 5 when stdin cannot be read, 6 when it is no configuration, 7 for its name. */
function readDocument(call: Call): Document {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = call.stdin();
  } catch (cause) {
    const words = "cannot read the network configuration from stdin";
    throw new CniError(ErrorCode.io, words, String(cause), cause);
  }
  let fields: Fields;
  let network: string | undefined;
  let version: string | undefined;
  try {
    // As in Go: bytes that are no UTF-8 become U+FFFD, a byte order mark is no white space.
    fields = Fields.document(
      parseJson(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes)),
    );
    network = fields.string("name");
    version = fields.string("cniVersion");
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const words = `cannot decode the network configuration: ${cause.message}`;
    throw new CniError(ErrorCode.decode, words, undefined, cause);
  }
  if (network === undefined || network === "") {
    throw new CniError(ErrorCode.badConfig, "missing network name", "The member name is empty");
  }
  if (!isIdentifier(network)) {
    throw new CniError(ErrorCode.badConfig, "invalid characters in network name", network);
  }
  return { bytes, fields, network, version: version || OLDEST };
}

/**
 * Refuses our own namespace as the pod's: ADD would take the node's interfaces for the pod's, and
 * DEL would delete them. A namespace that cannot be looked at is another one.
 */
function checkNetns(command: Command, { netns, allowOwnNetns }: Environment): void {
  if (allowOwnNetns || netns === "") return;
  if (command !== "ADD" && command !== "CHECK" && command !== "DEL") return;
  if (!sameFile(netns, "/proc/thread-self/ns/net")) return;
  throw new CniError(
    ErrorCode.ownNamespace,
    `CNI_NETNS ${JSON.stringify(netns)} is the plugin's own network namespace`,
    "Set CNI_NETNS_OVERRIDE=1 if this is meant",
  );
}

function sameFile(a: string, b: string): boolean {
  try {
    const [one, other] = [Deno.statSync(a), Deno.statSync(b)];
    return one.dev === other.dev && one.ino === other.ino;
  } catch {
    return false;
  }
}
