import assert from "node:assert/strict";
import fc from "fast-check";
import { freeBlocks, rangeOf } from "../../../engine/allocate.ts";
import { derivedVtepMac } from "../../../engine/backend/vxlan_mac.ts";
import { parseCidr } from "../../../engine/ip.ts";
import { macBytes, parseMac } from "../../../engine/mac.ts";
import * as any from "../arbitraries.ts";

/** Fixed for ever: nodes of different versions must agree. Computed with an FNV-1a of its own. */
const VECTORS: readonly (readonly [subnet: string, mac: string])[] = [
  ["10.244.1.0/24", "0a:7a:cd:01:5f:22"],
  ["fd00:10:244:1::/64", "0e:79:2c:8d:0e:26"],
];
for (const [subnet, mac] of VECTORS) {
  Deno.test(`derivedVtepMac: ${subnet} is ${mac}, for ever`, () => {
    assert.equal(derivedVtepMac(parseCidr(subnet)), mac);
  });
}

Deno.test("property: a derived address is canonical, unicast and locally administered", () => {
  fc.assert(fc.property(any.family.chain((f) => any.cidr(f)), (subnet) => {
    const mac = derivedVtepMac(subnet);
    assert.equal(parseMac(mac), mac);
    assert.equal((macBytes(mac)[0] ?? 0) & 3, 2);
    assert.equal(derivedVtepMac(subnet), mac);
  }));
});

Deno.test("derivedVtepMac: the subnets of a /16 and of a /56 all differ", () => {
  for (const [network, length] of [["10.244.0.0/16", 26], ["fd00:10:244::/56", 64]] as const) {
    const subnets = [...freeBlocks([rangeOf(parseCidr(network), length)], () => false)];
    assert.equal(new Set(subnets.map(derivedVtepMac)).size, subnets.length);
  }
});
