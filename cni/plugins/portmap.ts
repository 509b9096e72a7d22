/**
 * portmap: forwards ports of the node to a pod. A chained plugin.
 *
 * This version passes attachments without port mappings, and refuses the others: a pod that seems
 * to run while nobody can reach it would be worse.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Fields } from "../../engine/json.ts";
import { readConfig } from "../errors.ts";
import type { Plugin, Request } from "../plugin.ts";
import type { Result } from "../result.ts";
import { VERSIONS } from "../versions.ts";

/** The plugin `portmap`. */
export const portmap: Plugin = {
  name: "portmap",
  about: "CNI portmap plugin: forwards ports of the node to a pod (none yet in this version)",
  versions: VERSIONS,

  add(request: Request): Result {
    refuseMappings(request);
    const result = request.prevResult();
    if (result !== undefined) return result;
    throw new OpError("serve", `${request.containerId} ${request.ifname}`, {
      code: ErrorCode.badConfig,
      kernel: "must be called as chained plugin",
      advice: "List portmap behind the plugin that makes the interface",
    });
  },

  check(request: Request): void {
    refuseMappings(request);
    request.requirePrevResult();
  },

  del(): void {},

  gc(): void {},

  status(): void {},
};

/** @throws {OpError} code 2 when the runtime asks for port mappings. */
function refuseMappings(request: Request): void {
  const asked = readConfig(
    "failed to parse config",
    () => request.config.fields("runtimeConfig")?.objects("portMappings")?.map(mappingText) ?? [],
  );
  if (asked.length === 0) return;
  throw new OpError("map", `host port ${asked.join(", ")}`, {
    code: ErrorCode.unsupportedField,
    kernel: "port mappings come with a later version of twill",
    advice: "Remove hostPort from the pod, or use the reference portmap plugin until then",
  });
}

function mappingText(mapping: Fields): string {
  const hostIp = mapping.string("hostIP");
  const host = `${hostIp ? `${hostIp}:` : ""}${mapping.integer("hostPort") ?? 0}`;
  return `${host}->${mapping.integer("containerPort") ?? 0}/${mapping.string("protocol") ?? "tcp"}`;
}
