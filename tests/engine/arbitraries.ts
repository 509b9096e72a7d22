/**
 * Random addresses, networks and MAC addresses for property tests. Zero groups are made common,
 * because that is where IPv6 text is hard.
 *
 * @module
 */

import fc from "fast-check";
import {
  type Cidr,
  cidrOf,
  FAMILIES,
  type Family,
  type Ip,
  ipFromNumber,
} from "../../engine/ip.ts";
import { localMac, type Mac } from "../../engine/mac.ts";

/** 4 or 6. */
export const family: fc.Arbitrary<Family> = fc.constantFrom(4, 6);

/** The number of an address of the family, with many zero groups. */
export function ipValue(of: Family): fc.Arbitrary<bigint> {
  if (of === 4) return fc.bigInt({ min: 0n, max: (1n << 32n) - 1n });
  const group = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff));
  return fc.tuple(group, group, group, group, group, group, group, group).map((groups) =>
    groups.reduce((value, g) => (value << 16n) | BigInt(g), 0n)
  );
}

/** An address of the family. */
export function ip(of: Family): fc.Arbitrary<Ip> {
  return ipValue(of).map((value) => ipFromNumber(of, value));
}

/** A network of the family, its length within the given limits. */
export function cidr(of: Family, limits?: { min?: number; max?: number }): fc.Arbitrary<Cidr> {
  const length = fc.integer({ min: limits?.min ?? 0, max: limits?.max ?? FAMILIES[of].bits });
  return fc.tuple(ip(of), length).map(([base, bits]) => cidrOf(base, bits));
}

/** A unicast, locally administered MAC address. */
export const mac: fc.Arbitrary<Mac> = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(localMac);
