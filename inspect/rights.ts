/**
 * Who may run what: said at once, with the name of the right that is missing.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import type { Capability, InspectContext } from "./context.ts";

/**
 * Refuses a command that could only fail later.
 *
 * @param deed what it would do, in the imperative: `capture packets`.
 * @throws {OpError} naming the capability.
 */
export function need(context: InspectContext, deed: string, capability: Capability): void {
  if (context.has(capability)) return;
  const [verb = "", ...object] = deed.split(" ");
  throw new OpError(verb, object.join(" "), {
    code: ErrorCode.denied,
    kernel: `this needs root, or ${capability}`,
    advice: "Run the same command as root (sudo)",
  });
}
