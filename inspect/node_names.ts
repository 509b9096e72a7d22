/**
 * Names of nodes by subnet, and nothing else: for commands that only decorate with them, and have
 * no time for all that a snapshot says.
 *
 * @module
 */

import type { Cidr } from "../engine/ip.ts";
import type { InspectContext } from "./context.ts";
import type { PlaceFlags } from "./flags.ts";
import { snapshotPath, statusSocket } from "./places.ts";
import type { Source } from "./report.ts";

/** The names, and who told them. */
export interface NodeNames {
  readonly of: (subnet: Cidr | undefined) => string | undefined;
  readonly from?: Source;
}

/** What we look for in the two documents; anything else is as good as nothing. */
interface Named {
  readonly leases?: readonly { readonly key?: string; readonly node?: string }[];
}

/** Asks the daemon; without it, looks into its snapshot. Never fails: it is decoration. */
export async function nodeNames(
  context: InspectContext,
  flags: PlaceFlags,
): Promise<NodeNames> {
  const told = await context.ask(statusSocket(flags), "/status");
  const names = namesIn(told === undefined ? undefined : parse(told)?.leases);
  if (names.size > 0) return { of: (subnet) => names.get(subnet), from: "status socket" };
  const kept = namesIn(parse(readIfThere(context, snapshotPath(flags))));
  return { of: (subnet) => kept.get(subnet), ...(kept.size > 0 ? { from: "snapshot" } : {}) };
}

function readIfThere({ readFile }: InspectContext, path: string): string {
  try {
    return readFile(path);
  } catch {
    return "";
  }
}

// deno-lint-ignore no-explicit-any -- foreign JSON; `namesIn` looks at two members of it
function parse(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Keys are as in etcd: `10.244.1.0-24&fd00:244:0:1::-64`. */
function namesIn(document: Named | undefined): Map<string | undefined, string> {
  const names = new Map<string | undefined, string>();
  for (const { key, node } of document?.leases ?? []) {
    if (typeof key !== "string" || typeof node !== "string") continue;
    for (const subnet of key.split("&")) names.set(subnet.replace("-", "/"), node);
  }
  return names;
}
