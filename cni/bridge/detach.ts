/**
 * DEL of the bridge plugin: the pod's interface first, its address after that, so that no address
 * is given to another pod while this one still has it. The bridge stays.
 *
 * @module
 */

import { OpError } from "../../engine/errors.ts";
import { Errno } from "../../ffi/errno.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { delegate } from "../delegate.ts";
import type { Request } from "../plugin.ts";
import { ipamType } from "./config.ts";

/** Serves DEL; what is already gone is no error. @throws {OpError} when something stays behind */
export async function detach(request: Request): Promise<void> {
  const ipam = ipamType(request);
  removeInterface(request);
  if (ipam !== "") await delegate(request, "DEL", ipam);
}

function removeInterface(request: Request): void {
  using kernel = openIfThere(request);
  if (kernel === undefined) return;
  const [outcome] = kernel.apply([{
    op: "delete",
    fact: {
      kind: "link",
      where: "pod",
      name: request.ifname,
      driver: { kind: "veth" },
    },
  }]);
  if (outcome?.error !== undefined) throw outcome.error;
}

/** A namespace that is gone, or a file that is none (any more), took the interface with it. */
function openIfThere(request: Request): Kernel | undefined {
  if (request.netns === "") return undefined;
  try {
    return Kernel.open({ pod: request.netns });
  } catch (e) {
    const gone = e instanceof OpError && e.object === request.netns &&
      (e.errno === Errno.ENOENT || e.errno === Errno.EINVAL);
    if (!gone) throw e;
    request.log(`twill: ${e.message}; taken as gone`);
    return undefined;
  }
}
