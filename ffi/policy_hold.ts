/**
 * Holds addresses whose pods' policies are not known: nothing is allowed to or from them until
 * somebody who knows writes the table anew.
 *
 * @module
 */

import { familyOf, type Ip } from "../engine/ip.ts";
import { UNKNOWN_CHAIN } from "../engine/policy/compile.ts";
import { holdCommands, readMaps } from "../engine/policy/held.ts";
import { wholeText } from "../engine/policy/render.ts";
import { MAP_NAMES, tableOf } from "../engine/policy/table.ts";
import { listings, nft } from "./nft.ts";

/**
 * Holds them in the table that stands; where there is none, in a new one that holds nothing else.
 *
 * @param table family and name.
 * @throws {OpError} nothing is held then.
 */
export function holdAddresses(table: string, ips: readonly Ip[]): void {
  const listing = listMaps(table);
  if (listing !== "") return void nft(holdCommands(table, ips, readMaps(listing).present));
  const held = (family: 4 | 6): Map<Ip, string> =>
    new Map(ips.filter((ip) => familyOf(ip) === family).map((ip) => [ip, UNKNOWN_CHAIN]));
  const maps = { from4: held(4), from6: held(6), to4: held(4), to6: held(6) };
  const options = { table, ping: false };
  nft(wholeText({ ...tableOf(maps, [], []), options, generation: 1 }));
}

/**
 * The maps alone: the sets may hold a million addresses. Empty when there is no table. nft 1.0.6 does
 * not list several in one go.
 */
function listMaps(table: string): string {
  return MAP_NAMES.map((name) => listings(`list map ${table} ${name}\n`)).join("");
}
