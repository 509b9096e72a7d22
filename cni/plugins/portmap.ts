/**
 * portmap: forwards ports of the node to a pod. A chained plugin.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { validAttachments } from "../attachments.ts";
import { readConfig } from "../errors.ts";
import type { Plugin, Request } from "../plugin.ts";
import { hasMappings, portmapConfig } from "../portmap/config.ts";
import type { Result } from "../result.ts";
import { VERSIONS } from "../versions.ts";

/** The plugin `portmap`. */
export const portmap: Plugin = {
  name: "portmap",
  about: "CNI portmap plugin: forwards ports of the node to a pod",
  versions: VERSIONS,

  async add(request: Request): Promise<Result> {
    const config = portmapConfig(request);
    const result = request.prevResult();
    if (result === undefined) throw notChained(request);
    if (config.mappings.length > 0) {
      await (await forwarding()).forward(request, config, result);
    }
    return result;
  },

  async check(request: Request): Promise<void> {
    const config = portmapConfig(request);
    const result = request.requirePrevResult();
    if (config.mappings.length > 0) {
      await (await forwarding()).confirm(request, config, result);
    }
  },

  /** Runtimes pass the mappings here too; what they say does not matter, only that there are any. */
  async del(request: Request): Promise<void> {
    if (hasMappings(request)) await (await forwarding()).unforward(request);
  },

  async gc(request: Request): Promise<void> {
    const words = "failed to parse config";
    const valid = readConfig(words, () => validAttachments(request.config));
    if (valid === undefined) return;
    const containers = new Set(valid.map(({ containerId }) => containerId));
    await (await forwarding()).collect(request, containers);
  },

  status(): void {},
};

/** Most pods have no host port: what makes rules is loaded for those that do. */
function forwarding(): Promise<typeof import("../portmap/forward.ts")> {
  return import("../portmap/forward.ts");
}

function notChained(request: Request): OpError {
  return new OpError("serve", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.badConfig,
    kernel: "must be called as chained plugin",
    advice: "List portmap behind the plugin that makes the interface",
  });
}
