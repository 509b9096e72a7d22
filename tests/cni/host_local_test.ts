import assert from "node:assert/strict";
import fc from "fast-check";
import { parseHostLocal } from "../../cni/host_local/config.ts";
import { checkSets, formatSet, parseRange, rangeOf } from "../../cni/host_local/ranges.ts";
import { parseResolvConf } from "../../cni/host_local/resolv_conf.ts";
import { OpError } from "../../engine/errors.ts";
import { parseIp } from "../../engine/ip.ts";
import { Fields, jsonObject, parseJson } from "../../engine/json.ts";
import { requestOf } from "./calls.ts";

function range(members: Readonly<Record<string, string>>): ReturnType<typeof parseRange> {
  return parseRange(new Fields(jsonObject(members)));
}

Deno.test("parseRange: bounds and gateway of each family when nothing is said", () => {
  assert.deepEqual(range({ subnet: "10.0.0.0/30" }), {
    subnet: "10.0.0.0/30",
    first: "10.0.0.1",
    last: "10.0.0.2",
    gateway: "10.0.0.1",
    length: 32,
  });
  assert.deepEqual(range({ subnet: "FD00::/126" }), {
    subnet: "fd00::/126",
    first: "fd00::1",
    last: "fd00::3",
    gateway: "fd00::1",
    length: 128,
  });
});

Deno.test("parseRange: bounds in any spelling", () => {
  const { first, last } = range({
    subnet: "10.0.0.0/24",
    rangeStart: "::ffff:10.0.0.7",
    rangeEnd: "10.0.0.255",
  });
  assert.deepEqual([first, last], ["10.0.0.7", "10.0.0.255"]);
});

Deno.test("checkSets: says which sets and ranges", () => {
  const a = range({ subnet: "10.0.0.0/24" });
  const b = range({ subnet: "10.0.0.0/24", rangeStart: "10.0.0.200" });
  assert.throws(() => checkSets([[range({ subnet: "10.1.0.0/24" })], [a], [b]]), {
    name: "SyntaxError",
    message: "range sets 1 and 2 overlap: 10.0.0.1-10.0.0.254 and 10.0.0.200-10.0.0.254",
  });
});

Deno.test("checkSets: halves of one subnet do not overlap", () => {
  const a = range({ subnet: "10.0.0.0/24", rangeEnd: "10.0.0.99" });
  const b = range({ subnet: "10.0.0.0/24", rangeStart: "10.0.0.100" });
  checkSets([[a, b]]);
  assert.equal(formatSet([a, b]), "10.0.0.1-10.0.0.99,10.0.0.100-10.0.0.254");
  assert.equal(rangeOf([a, b], parseIp("10.0.0.100")), b);
  assert.equal(rangeOf([a, b], parseIp("::1")), undefined);
});

Deno.test("parseHostLocal: any configuration is read, or refused with our error", () => {
  const ip = fc.constantFrom("10.0.0.0/24", "10.0.0.7", "fd00::/64", "x", "", null, 5);
  const one = fc.record({ subnet: ip, rangeStart: ip, rangeEnd: ip, gateway: ip }, {
    requiredKeys: [],
  });
  const ranges = fc.oneof(fc.array(fc.array(one)), fc.jsonValue());
  const ipam = fc.record({ ranges, subnet: ip, routes: fc.jsonValue(), resolvConf: ip }, {
    requiredKeys: [],
  });
  const args = fc.constantFrom("", "IP=10.0.0.7", "IP=x", "X=1", ";");
  fc.assert(
    fc.property(fc.oneof(ipam, fc.jsonValue()), fc.jsonValue(), args, (ipam, ips, CNI_ARGS) => {
      const config = {
        ipam: parseJson(JSON.stringify(ipam)),
        runtimeConfig: parseJson(JSON.stringify({ ips })),
      };
      try {
        assert.ok(parseHostLocal(requestOf(config, { env: { CNI_ARGS } })).sets.length > 0);
      } catch (error) {
        assert.ok(error instanceof OpError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("parseResolvConf: any text is read", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    parseResolvConf(`nameserver ${text}\n${text}`);
  }));
});
