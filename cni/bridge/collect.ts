/**
 * GC of the bridge plugin: what outlives a pod that nobody deleted are its addresses, which are the
 * IPAM's, and its masquerade. (Rules against foreign MAC addresses do not say their network.)
 *
 * @module
 */

import { validAttachments } from "../attachments.ts";
import { delegate } from "../delegate.ts";
import { readConfig } from "../errors.ts";
import { NatCleaner } from "../nat.ts";
import type { Request } from "../plugin.ts";
import { ipamType } from "./config.ts";
import { collectMasquerade } from "./masquerade.ts";

/** Serves GC. @throws {OpError} the first error, after everything was tried */
export async function collect(request: Request): Promise<void> {
  const words = "failed to load netconf";
  const valid = readConfig(words, () => validAttachments(request.config));
  const ipam = ipamType(request);
  using cleaner = new NatCleaner(request);
  if (ipam !== "") await cleaner.attempt(() => delegate(request, "GC", ipam));
  if (valid !== undefined) await collectMasquerade(cleaner, request.network, valid);
  cleaner.finish();
}
