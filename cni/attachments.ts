/**
 * The attachments that a runtime still knows, as GC gets them (CNI specification, "GC").
 *
 * @module
 */

import type { Fields } from "../engine/json.ts";

/** One living attachment. */
export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
}

/** Where the list stands, first choice first: the second is an older name for the same. */
export const ATTACHMENT_KEYS = ["cni.dev/valid-attachments", "cni.dev/attachments"] as const;

/**
 * The attachments that are valid. A list that is `null` is empty, because that is how Go writes an
 * empty one: everything is stale. No list at all means that the runtime told nothing, so nothing
 * may be removed: undefined.
 *
 * @throws {SyntaxError} when the list is malformed.
 */
export function validAttachments(config: Fields): readonly Attachment[] | undefined {
  const key = ATTACHMENT_KEYS.find((one) => config.has(one));
  if (key === undefined) return undefined;
  return (config.objects(key) ?? []).map((item) => ({
    containerId: text(item, "containerID"),
    ifname: text(item, "ifname"),
  }));
}

function text(item: Fields, name: string): string {
  const value = item.string(name);
  if (value === undefined || value === "") {
    throw new SyntaxError(`${item.pathOf(name)}: want a name, got nothing`);
  }
  return value;
}
