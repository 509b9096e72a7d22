/**
 * The plugin `bridge`: joins a pod to a bridge of the node by a veth pair, with addresses from an
 * IPAM plugin. What flannel delegates to.
 *
 * @module
 */

import { attach } from "../bridge/attach.ts";
import { check } from "../bridge/check.ts";
import { ipamType } from "../bridge/config.ts";
import { detach } from "../bridge/detach.ts";
import { delegate } from "../delegate.ts";
import type { Plugin, Request } from "../plugin.ts";
import { VERSIONS } from "../versions.ts";

/** See the module. */
export const bridge: Plugin = {
  name: "bridge",
  about: "twill as CNI plugin bridge: joins a pod to a bridge of the node",
  versions: VERSIONS,
  add: attach,
  check,
  del: detach,
  gc: (request) => forward(request, "GC"),
  status: (request) => forward(request, "STATUS"),
};

/** Only addresses outlive a pod; they are the IPAM's. */
async function forward(request: Request, command: "GC" | "STATUS"): Promise<void> {
  const ipam = ipamType(request);
  if (ipam !== "") await delegate(request, command, ipam);
}
