/**
 * Calls of plugins inside the test's process, for what needs no kernel.
 *
 * @module
 */

import { Fields, type Json, jsonObject, parseJson, stringifyJson } from "../../engine/json.ts";
import { readEnvironment } from "../../cni/environment.ts";
import type { PluginName } from "../../cni/names.ts";
import { type Call, Request } from "../../cni/plugin.ts";
import type { Version } from "../../cni/versions.ts";

/** A complete environment for an ADD. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/nonexistent",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/nonexistent",
};

/** A call with what it logged. */
export interface TestCall extends Call {
  readonly lines: string[];
}

/** A call of a plugin. */
export function callOf(
  type: PluginName,
  env: Readonly<Record<string, string>>,
  stdin: string | Uint8Array<ArrayBuffer>,
): TestCall {
  const lines: string[] = [];
  const bytes = typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin;
  return {
    type,
    env: (name) => env[name],
    stdin: () => bytes,
    log: (line) => lines.push(line),
    mayBlock: false,
    lines,
  };
}

/** A decoded request with this configuration, as a plugin gets it. */
export function requestOf(
  config: Readonly<Record<string, Json | undefined>>,
  options: { readonly env?: Readonly<Record<string, string>>; readonly version?: Version } = {},
): Request {
  const text = stringifyJson(jsonObject(config));
  const env = { ...ENVIRONMENT, ...options.env };
  return new Request({
    call: callOf("portmap", env, text),
    command: env.CNI_COMMAND as Request["command"],
    environment: readEnvironment((name) => env[name]),
    bytes: new TextEncoder().encode(text),
    document: Fields.document(parseJson(text)),
    network: "dbnet",
    version: options.version ?? "1.0.0",
  });
}
