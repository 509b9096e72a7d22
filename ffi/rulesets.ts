/**
 * All packet rules of the calling thread's network namespace, as text.
 *
 * @module
 */

import { saveLegacy } from "./iptables_sync.ts";
import { nft } from "./nft.ts";

/** Tables of old iptables that exist; to ask for others would load their modules. */
const LEGACY = { ip: "ip_tables_names", ip6: "ip6_tables_names" } as const;

/** `nft -s list ruleset`. @throws {OpError} */
export function readNftRules(): string {
  return nft("list ruleset\n");
}

/** What `iptables-legacy-save` prints, by family; absent where there are no such tables. @throws {OpError} */
export function readLegacyRules(): Partial<Record<"ip" | "ip6", string>> {
  const found: Partial<Record<"ip" | "ip6", string>> = {};
  for (const family of ["ip", "ip6"] as const) {
    if (hasLegacy(LEGACY[family])) found[family] = saveLegacy(family === "ip" ? 4 : 6);
  }
  return found;
}

function hasLegacy(name: string): boolean {
  try {
    return Deno.readTextFileSync(`/proc/thread-self/net/${name}`).trim() !== "";
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return false;
    throw e;
  }
}
