/**
 * The part of resolv.conf(5) that a result can carry.
 *
 * @module
 */

import type { Dns } from "../result.ts";

/**
 * Reads name servers, the domain, search domains and options; anything else is skipped. The last
 * `domain` wins, the rest adds up.
 */
export function parseResolvConf(text: string): Dns {
  const nameservers: string[] = [];
  const search: string[] = [];
  const options: string[] = [];
  let domain = "";
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (/^[#;]/.test(line)) continue;
    const [keyword, first, ...more] = line.split(/\s+/);
    if (first === undefined) continue;
    switch (keyword) {
      case "nameserver":
        nameservers.push(first);
        break;
      case "domain":
        domain = first;
        break;
      case "search":
        search.push(first, ...more);
        break;
      case "options":
        options.push(first, ...more);
        break;
    }
  }
  return { nameservers, domain, search, options };
}
