/**
 * Values of conditions, as nft and iptables write them. Pure.
 *
 * @module
 */

import {
  type Cidr,
  cidrOf,
  FAMILIES,
  familyOf,
  networkOf,
  parseInet,
  parseIp,
} from "../../engine/ip.ts";

/** Networks; undefined when one of the words is none: a set, a range, a name. */
export function netsOf(words: readonly string[]): Cidr[] | undefined {
  const nets: Cidr[] = [];
  for (const word of words) {
    try {
      if (word.includes("/")) {
        nets.push(networkOf(parseInet(word)));
      } else {
        const ip = parseIp(word);
        nets.push(cidrOf(ip, FAMILIES[familyOf(ip)].bits));
      }
    } catch {
      return undefined;
    }
  }
  return nets.length === 0 ? undefined : nets;
}

/** Services that nft and iptables write by name. */
const NAMES: Readonly<Record<string, number>> = { ssh: 22, domain: 53, http: 80, https: 443 };

/** Ports and ranges (`80-90`, `80:90`); undefined when one of the words is neither. */
export function portsOf(words: readonly string[]): (readonly [number, number])[] | undefined {
  const ports: (readonly [number, number])[] = [];
  for (const word of words) {
    const [first = "", last = first] = word.split(/[-:]/);
    const [low, high] = [first, last].map((one) => NAMES[one] ?? (one === "" ? NaN : Number(one)));
    if (!Number.isInteger(low) || !Number.isInteger(high)) return undefined;
    ports.push([low!, high!]);
  }
  return ports.length === 0 ? undefined : ports;
}
