/**
 * Ranges of addresses and of numbers, as nft and iptables write them. Pure.
 *
 * @module
 */

import { bounds, familyOf, type Ip, ipNumber, parseCidr, parseIp } from "../ip.ts";
import type { IpRange, NumberRange } from "./rules.ts";

/** Reads `10.0.0.1`, `10.0.0.0/8` or `10.0.0.1-10.0.0.9`. @throws {SyntaxError} */
export function readIpRange(text: string): IpRange {
  const dash = text.indexOf("-");
  if (dash > 0) {
    const [first, last] = [parseIp(text.slice(0, dash)), parseIp(text.slice(dash + 1))];
    return { family: familyOf(first), first: ipNumber(first), last: ipNumber(last) };
  }
  if (!text.includes("/")) {
    const ip = parseIp(text);
    return { family: familyOf(ip), first: ipNumber(ip), last: ipNumber(ip) };
  }
  const cidr = parseCidr(text);
  return { family: familyOf(cidr), ...bounds(cidr) };
}

/** True when the address lies in one of them. */
export function inRanges(ip: Ip, ranges: readonly IpRange[]): boolean {
  const [family, number] = [familyOf(ip), ipNumber(ip)];
  return ranges.some((range) =>
    range.family === family && range.first <= number && number <= range.last
  );
}

/** Reads `80` or `30000-32767` (iptables: `30000:32767`). @throws {SyntaxError} */
export function readNumberRange(text: string): NumberRange {
  const match = /^(\d+)(?:[-:](\d+))?$/.exec(text);
  if (match === null) throw new SyntaxError(`no range of numbers: ${text}`);
  const first = Number(match[1]);
  return { first, last: match[2] === undefined ? first : Number(match[2]) };
}
