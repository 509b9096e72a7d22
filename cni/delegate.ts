/**
 * Delegation: one plugin calls another (CNI specification, "Plugin Delegation").
 *
 * A delegate is an executable in `CNI_PATH`. Where that is this very program under another name,
 * or its client, the call stays inside the process: same environment, same document, same answer, without the
 * cost of a start. Anything else is executed.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { Fields, type JsonObject, parseJson, stringifyJson } from "../engine/json.ts";
import type { Command, GetVariable } from "./environment.ts";
import { CniError } from "./errors.ts";
import { isPluginName, type PluginName } from "./names.ts";
import { isOurs } from "./ours.ts";
import type { Request } from "./plugin.ts";
import { formatResult, parseResult, type Result } from "./result.ts";
import { perform } from "./skeleton.ts";

/** The commands that answer nothing. */
export type SilentCommand = Exclude<Command, "ADD" | "VERSION">;

/** How often, and after how many milliseconds, a file that is being written is tried again. */
const BUSY = { retries: 5, wait: 1000 } as const;

/**
 * Calls ADD of another plugin. What the delegate reports as failure is thrown as it is; its own
 * ADD has then cleaned up, so do not call its DEL for that.
 *
 * @param type the delegate's name, looked up in `CNI_PATH`.
 * @param document what the delegate reads instead of the document of this request.
 * @throws {OpError}
 */
export async function delegateAdd(
  request: Request,
  type: string,
  document?: JsonObject,
): Promise<Result> {
  const { target, inside } = findPlugin(request, type);
  const bytes = documentBytes(request, document);
  if (inside !== undefined) {
    const { result, version } = await perform(insideCall(request, inside, "ADD", bytes));
    return parseResult(result === undefined ? null : formatResult(result, version), version);
  }
  const stdout = await execute(request, target, "ADD", bytes);
  try {
    return parseResult(parseJson(stdout), request.version);
  } catch (cause) {
    throw new OpError("use the result of", target, {
      code: ErrorCode.plugin,
      kernel: `${messageOf(cause)} in ${JSON.stringify(stdout.slice(0, 200))}`,
      cause,
    });
  }
}

/**
 * Calls another plugin with a command that answers nothing: DEL, CHECK, GC or STATUS, whatever the
 * command of this request is.
 *
 * @param document what the delegate reads instead of the document of this request.
 * @throws {OpError} what the delegate reports, as it is.
 */
export async function delegate(
  request: Request,
  command: SilentCommand,
  type: string,
  document?: JsonObject,
): Promise<void> {
  const { target, inside } = findPlugin(request, type);
  const bytes = documentBytes(request, document);
  if (inside !== undefined) await perform(insideCall(request, inside, command, bytes));
  else await execute(request, target, command, bytes);
}

/** A plugin's file. */
interface Found {
  readonly target: string;
  /** Its name when the file is this program in some form; then the call needs no process. */
  readonly inside?: PluginName;
}

/**
 * Finds a plugin: the first regular file of its name in the directories of `CNI_PATH`.
 *
 * @throws {OpError} when there is none, or the name is not one of a file.
 */
function findPlugin(request: Request, type: string): Found {
  const dirs = request.path.split(":").filter((dir) => dir !== "");
  const fault = type === ""
    ? "no plugin name provided"
    : type.includes("/")
    ? `invalid plugin name ${JSON.stringify(type)}`
    : undefined;
  if (fault === undefined) {
    for (const dir of dirs) {
      const target = `${dir}/${type}`;
      const file = statOf(target);
      if (file?.isFile !== true) continue;
      return isPluginName(type) && isOurs(target, file) ? { target, inside: type } : { target };
    }
  }
  throw new OpError("call", `delegate ${JSON.stringify(type)}`, {
    code: ErrorCode.plugin,
    kernel: fault ?? `failed to find plugin ${JSON.stringify(type)} in path [${dirs.join(" ")}]`,
    advice: "Install the plugin in a directory of CNI_PATH",
  });
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch {
    return undefined;
  }
}

function documentBytes(request: Request, document?: JsonObject): Uint8Array<ArrayBuffer> {
  return document === undefined ? request.bytes : new TextEncoder().encode(stringifyJson(document));
}

function insideCall(
  request: Request,
  type: PluginName,
  command: Command,
  bytes: Uint8Array<ArrayBuffer>,
): Request["call"] {
  const env: GetVariable = (name) => name === "CNI_COMMAND" ? command : request.call.env(name);
  const { childEnv } = request.call;
  return {
    ...request.call,
    type,
    delegated: true,
    env,
    ...(childEnv && { childEnv: { ...childEnv, CNI_COMMAND: command } }),
    stdin: () => bytes,
  };
}

/** Runs a plugin to its end and returns its stdout; its stderr goes to the log. */
async function execute(
  request: Request,
  target: string,
  command: Command,
  bytes: Uint8Array<ArrayBuffer>,
): Promise<string> {
  const { childEnv, mayStart } = request.call;
  mayStart?.(target);
  const child = await spawn(target, {
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    clearEnv: childEnv !== undefined,
    env: { ...childEnv, CNI_COMMAND: command },
  });
  const [output] = await Promise.all([child.output(), feed(child, bytes)]);
  const [stdout, stderr] = [output.stdout, output.stderr].map((b) => new TextDecoder().decode(b));
  if (stderr) request.log(stderr.trimEnd());
  if (output.success) return stdout ?? "";
  throw failureOf(target, output, stdout ?? "", stderr ?? "");
}

async function spawn(target: string, options: Deno.CommandOptions): Promise<Deno.ChildProcess> {
  for (let attempt = 0;; attempt++) {
    try {
      return new Deno.Command(target, options).spawn();
    } catch (cause) {
      // Deno has no class and no code for ETXTBSY: somebody is writing the file, as an update does.
      const busy = /\(os error 26\)/.test(messageOf(cause));
      if (!busy || attempt >= BUSY.retries) {
        throw new OpError("run", target, { code: ErrorCode.program, cause });
      }
    }
    await new Promise((resolve) => setTimeout(resolve, BUSY.wait));
  }
}

/** Writes stdin. A plugin need not read it: one that has ended already is no error here. */
async function feed(child: Deno.ChildProcess, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const writer = child.stdin.getWriter();
  try {
    await writer.write(bytes);
    await writer.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** What a failed plugin says: its error object as it is, else its stderr or its exit status. */
function failureOf(
  target: string,
  output: Deno.CommandStatus,
  stdout: string,
  stderr: string,
): OpError {
  const object = errorFields(stdout);
  if (object !== undefined) return object;
  const end = output.signal === null ? `exit status ${output.code}` : `signal ${output.signal}`;
  const words = [stdout, stderr].map((text) => text.trim()).filter((text) => text !== "");
  return new OpError("run", target, {
    code: ErrorCode.program,
    kernel: [end, ...words].join(": ").slice(0, 4096),
  });
}

function errorFields(stdout: string): CniError | undefined {
  try {
    const fields = Fields.document(parseJson(stdout));
    const [code, message] = [fields.unsigned("code"), fields.string("msg")];
    if (code === undefined && message === undefined) return undefined;
    return new CniError(code || ErrorCode.plugin, message ?? "", fields.string("details"));
  } catch {
    return undefined;
  }
}
