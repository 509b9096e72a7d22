/**
 * A VTEP's MAC address where nobody publishes one. A static lease file names the nodes and their
 * subnets; the addresses of their VTEPs follow from those, so that every node computes the same.
 *
 * @module
 */

import { type Cidr, familyOf } from "../ip.ts";
import { type Mac, macFromBytes } from "../mac.ts";

/** First byte of a derived address: unicast, locally administered, and telling the family. */
const FIRST_BYTE = { 4: 0x0a, 6: 0x0e } as const;

/**
 * The MAC address of the VTEP of the node that has this subnet: `0a` or `0e`, then 40 bits of the
 * 64-bit FNV-1a hash of the subnet's text. Two subnets of one network share an address with a
 * chance of about one in a million at 1,000 nodes.
 */
export function derivedVtepMac(subnet: Cidr): Mac {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < subnet.length; i++) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(subnet.charCodeAt(i))) * 0x100000001b3n);
  }
  const tail = [32n, 24n, 16n, 8n, 0n].map((shift) => Number((hash >> shift) & 0xffn));
  return macFromBytes(Uint8Array.of(FIRST_BYTE[familyOf(subnet)], ...tail));
}
