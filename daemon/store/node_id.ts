/**
 * Who this node is, where its address does not tell: two machines behind the same kind of NAT may
 * have the same one. A random id is made once and kept on disk.
 *
 * @module
 */

import { messageOf } from "../../engine/errors.ts";
import type { Log } from "../log.ts";
import { replaceFile } from "../replace_file.ts";

/** A node, for other nodes of twill. */
export interface NodeIdentity {
  /** 128 random bits, in hex. */
  readonly id: string;
  /** What people call the node. */
  readonly name: string;
}

/**
 * The identity in the file, or a new one. A file that cannot be written costs a warning: the id is
 * another one after a restart then.
 *
 * @param path absolute.
 * @param name what people call the node.
 */
export function nodeIdentity(path: string, name: string, log: Log): NodeIdentity {
  try {
    const id = Deno.readTextFileSync(path).trim();
    if (/^[0-9a-f]{32}$/.test(id)) return { id, name };
    log.warn("The node's id is damaged, making a new one", { file: path });
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) log.warn(messageOf(e), { file: path });
  }
  const id = crypto.randomUUID().replaceAll("-", "");
  try {
    replaceFile(path, `${id}\n`);
  } catch (e) {
    log.warn(messageOf(e));
  }
  return { id, name };
}
