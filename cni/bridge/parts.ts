/**
 * What the parts of ADD share: random names, and the words of failures.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { localMac, type Mac } from "../../engine/mac.ts";
import type { Request } from "../plugin.ts";

/** A MAC address of our own. */
export function randomMac(): Mac {
  return localMac(crypto.getRandomValues(new Uint8Array(6)));
}

/** A name for an end of a pair on the node: `veth` and eight hexadecimal digits. */
export function randomName(): string {
  const digits = crypto.getRandomValues(new Uint8Array(4));
  return `veth${Array.from(digits, (b) => b.toString(16).padStart(2, "0")).join("")}`;
}

/** The pod cannot be attached. */
export function failed(request: Request, words: string, cause?: OpError): OpError {
  return new OpError("attach", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: cause === undefined ? words : `${words}: ${cause.message}`,
    errno: cause?.errno,
    cause,
  });
}

/** Something else has the bridge's name. */
export function notABridge(request: Request, name: string): OpError {
  return failed(request, `"${name}" already exists but is not a bridge`);
}
