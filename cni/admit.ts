/**
 * A pod that is added while no daemon serves: where its namespace has policies, nothing is allowed
 * for it until a daemon knows them.
 *
 * @module
 */

import { NAMESPACES_FILE, parseNamespaces } from "../engine/policy/namespaces.ts";
import type { AddedPod } from "./plugin.ts";

/** See the module. @throws {OpError} when the kernel refuses: then the pod must not start. */
export async function holdUnknown({ namespace, ips }: AddedPod): Promise<void> {
  let text: string;
  try {
    text = Deno.readTextFileSync(NAMESPACES_FILE);
  } catch {
    return; // no daemon of this node has ever enforced policies
  }
  if (!parseNamespaces(text).includes(namespace)) return;
  // Loaded only here: nearly every call does without.
  const [{ holdAddresses }, { policyTable }] = await Promise.all([
    import("../ffi/policy_hold.ts"),
    import("../engine/policy/table.ts"),
  ]);
  holdAddresses(policyTable(""), ips);
}
