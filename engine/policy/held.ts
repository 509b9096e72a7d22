/**
 * Addresses whose pods are not known: what is put into a table that stands, by whoever has no model
 * of it (the plugin without its daemon, a daemon that has just started).
 *
 * @module
 */

import { familyOf, type Ip, parseIp } from "../ip.ts";
import { UNKNOWN_CHAIN } from "./compile.ts";
import { MAP_NAMES } from "./table.ts";

/** The commands that hold addresses, in place of what the maps have for them. */
export function holdCommands(
  table: string,
  ips: readonly Ip[],
  present: ReadonlySet<string>,
): string {
  return ips.flatMap((ip) =>
    mapsOf(ip).flatMap((map) => [
      ...(present.has(`${map} ${ip}`) ? [`delete element ${table} ${map} { ${ip} }\n`] : []),
      `add element ${table} ${map} { ${ip} : goto ${UNKNOWN_CHAIN} }\n`,
    ])
  ).join("");
}

/** What is in the maps of a table. */
export interface FoundMaps {
  /** `MAP ADDRESS` for each element. */
  readonly present: ReadonlySet<string>;
  readonly addresses: ReadonlySet<Ip>;
}

/** Reads a listed table. */
export function readMaps(listing: string): FoundMaps {
  const present = new Set<string>();
  const addresses = new Set<Ip>();
  let map: string | undefined;
  for (const line of listing.split("\n")) {
    const head = /^\tmap (\S+) \{/.exec(line)?.[1];
    if (head !== undefined) map = MAP_NAMES.find((name) => name === head);
    else if (line === "\t}") map = undefined;
    if (map === undefined) continue;
    for (const [, ip = ""] of line.matchAll(/([0-9a-f.:]+) : goto \S/g)) {
      present.add(`${map} ${parseIp(ip)}`);
      addresses.add(parseIp(ip));
    }
  }
  return { present, addresses };
}

function mapsOf(ip: Ip): string[] {
  const family = familyOf(ip);
  return [`from${family}`, `to${family}`];
}
