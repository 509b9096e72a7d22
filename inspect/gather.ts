/**
 * The impure half: reads the subnet file and the kernel, judges nothing.
 *
 * @module
 */

import { messageOf } from "../engine/errors.ts";
import type { Fact } from "../engine/fact.ts";
import { parseSubnetEnv } from "../engine/subnet_env.ts";
import type { InspectContext, Reader } from "./context.ts";
import { type Overlay, overlayOf, type SubnetFile, vtepsOf } from "./overlay.ts";
import { tunnelsOf } from "../engine/tunnel.ts";

/** What a command needs beside links and routes. */
export interface Wanted {
  /** Path of the subnet file. */
  readonly subnetFile: string;
  /** Addresses of all links. */
  readonly addresses?: boolean;
  /**
   * Neighbours, forwarding entries and addresses of the VTEPs; the peers of WireGuard links, which
   * the kernel tells to root.
   */
  readonly peers?: boolean;
}

/** Reads what is wanted. @throws {OpError} when the kernel cannot be read */
export async function gather(context: InspectContext, wanted: Wanted): Promise<Overlay> {
  const file = readSubnetFile(context, wanted.subnetFile);
  using kernel = await context.open();
  const facts = kernel.read({
    links: "all",
    routes: true,
    ...(wanted.addresses ? { addresses: "all" } : {}),
  });
  const keysRead = wanted.peers === true && readKeys(context, kernel, facts);
  if (wanted.peers) {
    const vteps = vtepsOf(facts);
    const devices = vteps.map(({ name }) => name);
    // They tell whose VTEP is whose, where a family has several.
    const several = new Set(vteps.map(({ family }) => family)).size < vteps.length;
    const addresses = wanted.addresses || !several ? [] : devices;
    facts.push(...kernel.read({ addresses, neighbours: devices, fdb: devices }));
  }
  return overlayOf(file, facts, keysRead);
}

/**
 * Adds the keys and peers of WireGuard links to facts with links.
 *
 * @returns false where the kernel does not tell them: we are not root.
 */
export function readKeys(context: InspectContext, kernel: Reader, facts: Fact[]): boolean {
  if (!context.has("CAP_NET_ADMIN")) return false;
  const links = tunnelsOf(facts).filter(({ kind }) => kind === "wireguard");
  if (links.length > 0) facts.push(...kernel.read({ wireguard: links.map(({ name }) => name) }));
  return true;
}

/** Reads and decodes the subnet file; what is wrong with it is part of the answer. */
export function readSubnetFile(context: InspectContext, path: string): SubnetFile {
  let text: string;
  try {
    text = context.readFile(path);
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return { kind: "missing", path };
    return { kind: "unreadable", path, reason: messageOf(e) };
  }
  try {
    return { kind: "read", path, env: parseSubnetEnv(text, path) };
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    return { kind: "damaged", path, reason: e.message };
  }
}
