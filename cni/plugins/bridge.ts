/**
 * The plugin `bridge`: joins a pod to a bridge of the node by a veth pair, with addresses from an
 * IPAM plugin. What flannel delegates to.
 *
 * Each command loads its own part, and the packet rules only where they are asked for.
 *
 * @module
 */

import { ipamType } from "../bridge/config.ts";
import { delegate } from "../delegate.ts";
import type { Plugin, Request } from "../plugin.ts";
import { VERSIONS } from "../versions.ts";

/** See the module. */
export const bridge: Plugin = {
  name: "bridge",
  about: "twill as CNI plugin bridge: joins a pod to a bridge of the node",
  versions: VERSIONS,
  attaches: true,
  add: async (request) => (await import("../bridge/attach.ts")).attach(request),
  check: async (request) => (await import("../bridge/check.ts")).check(request),
  del: async (request) => (await import("../bridge/detach.ts")).detach(request),
  gc: async (request) => (await import("../bridge/collect.ts")).collect(request),
  status,
};

async function status(request: Request): Promise<void> {
  const ipam = ipamType(request);
  if (ipam !== "") await delegate(request, "STATUS", ipam);
}
