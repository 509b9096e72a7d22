import assert from "node:assert/strict";
import fc from "fast-check";
import { freeBlocks } from "../../engine/allocate.ts";
import { OpError } from "../../engine/errors.ts";
import { addressOf, bounds, FAMILIES, ipNumber, lengthOf } from "../../engine/ip.ts";
import { stringifyJson } from "../../engine/json.ts";
import {
  checkBackend,
  enabledFamilies,
  FLANNEL_BACKENDS,
  parseNetConf,
  validateForLeases,
} from "../../engine/net_conf.ts";
import * as any from "./arbitraries.ts";

const VXLAN = '"Backend":{"Type":"vxlan"}';

/** A configuration with this Network (by family) and these other members. */
function conf(network: string, more = ""): string {
  const names = network.includes(":")
    ? `"EnableIPv4":false,"EnableIPv6":true,"IPv6Network"`
    : `"Network"`;
  return `{${names}:"${network}",${more === "" ? "" : `${more},`}${VXLAN}}`;
}

Deno.test("parseNetConf: the stock configuration", () => {
  const stock = parseNetConf(
    '{"Network": "10.244.0.0/16", "EnableNFTables": false, "Backend": {"Type": "vxlan"}}',
  );
  assert.deepEqual(stock.families, {
    4: { enabled: true, network: "10.244.0.0/16" },
    6: { enabled: false },
  });
  assert.equal(stock.nftables, false);
  assert.equal(stock.backend.type, "vxlan");
  assert.equal(stringifyJson(stock.backend.raw), '{"Type":"vxlan"}');
  assert.deepEqual(enabledFamilies(stock), [4]);
});

Deno.test("parseNetConf: every member, in any case", () => {
  const all = parseNetConf(`{
    "enableipv4": true, "ENABLEIPV6": true, "enableNFTables": true,
    "network": "10.3.0.0/16", "SUBNETLEN": 26, "subnetMin": "10.3.1.0", "subnetmax": "10.3.2.0",
    "ipv6network": "fc00::/48", "IPV6SubnetLen": 66, "ipv6subnetmin": "fc00:0:0:5::",
    "ipv6subnetmax": "fc00:0:0:6::", "unknown": [1],
    "BACKEND": {"type": "VXLAN", "VNI": 7, "Port": 8472.0}
  }`);
  assert.deepEqual(all.families, {
    4: {
      enabled: true,
      network: "10.3.0.0/16",
      subnetLen: 26,
      subnetMin: "10.3.1.0",
      subnetMax: "10.3.2.0",
    },
    6: {
      enabled: true,
      network: "fc00::/48",
      subnetLen: 66,
      subnetMin: "fc00:0:0:5::",
      subnetMax: "fc00:0:0:6::",
    },
  });
  assert.equal(all.nftables, true);
  assert.equal(all.backend.type, "vxlan");
  assert.equal(stringifyJson(all.backend.raw), '{"type":"VXLAN","VNI":7,"Port":8472.0}');
  assert.deepEqual(enabledFamilies(all), [4, 6]);
});

const NETWORKS: readonly (readonly [
  json: string,
  network4?: string | undefined,
  network6?: string,
])[] = [
  ['"Network":"10.244.7.9/16"', "10.244.0.0/16"],
  ['"Network":"0.0.0.0/0"'],
  ['"Network":null'],
  ['"Network":"10.1.0.0/16","Network":"10.2.0.0/16"', "10.2.0.0/16"],
  ['"Network":"10.1.0.0/16","IPv6Network":"::/0"', "10.1.0.0/16"],
  ['"IPv6Network":"FD00:10:244::9/56"', undefined, "fd00:10:244::/56"],
  ['"Network":"0.0.0.0/8"', "0.0.0.0/8"],
  ['"IPv6Network":"::/8"', undefined, "::/8"],
];
for (const [json, network4, network6] of NETWORKS) {
  Deno.test(`parseNetConf: ${json} gives ${network4} and ${network6}`, () => {
    const { families } = parseNetConf(`{${json},${VXLAN}}`);
    assert.equal(families[4].network, network4);
    assert.equal(families[6].network, network6);
  });
}

Deno.test("parseNetConf: zero limits and null switches count as not given", () => {
  const { families, nftables } = parseNetConf(
    `{"SubnetLen":0,"SubnetMin":"0.0.0.0","SubnetMax":null,"IPv6SubnetMin":"::","EnableIPv4":null,
      "EnableIPv6":null,"EnableNFTables":null,${VXLAN}}`,
  );
  assert.deepEqual(families, { 4: { enabled: true }, 6: { enabled: false } });
  assert.equal(nftables, undefined);
});

const BAD_TEXT: readonly (readonly [text: string, message: RegExp])[] = [
  ["", /^JSON line 1/],
  ["{not json", /^JSON line 1/],
  ["[]", /want an object/],
  [`{"Network":"10.0.0.0/16"}`, /^Backend is missing: want an object/],
  ["null", /^Backend is missing/],
  ["{}", /^Backend is missing/],
  [`{"Backend":null}`, /^Backend is missing/],
  [`{"Backend":"vxlan"}`, /^error decoding Backend property of config: Backend: want an object/],
  [`{"Backend":{"Type":1}}`, /^error decoding Backend property of config: Backend.Type: want a st/],
  [conf("10.244.0.0"), /^Network: invalid CIDR address: 10\.244\.0\.0$/],
  [conf("", `"x":1`), /^Network: invalid CIDR address: $/],
  [`{"Network":"fd00::/64",${VXLAN}}`, /^Network: invalid IPv4 CIDR format: fd00::\/64$/],
  [`{"IPv6Network":"10.0.0.0/8",${VXLAN}}`, /^IPv6Network: invalid IPv6 CIDR format: 10/],
  [`{"Network":16,${VXLAN}}`, /^Network: want a string, got 16$/],
  [conf("10.3.0.0/16", `"SubnetLen":"24"`), /^SubnetLen: want an integer, got "24"$/],
  [conf("10.3.0.0/16", `"SubnetLen":-1`), /^SubnetLen: want 0 to /],
  [conf("10.3.0.0/16", `"SubnetLen":24.5`), /^SubnetLen: want an integer/],
  [conf("10.3.0.0/16", `"SubnetMin":"10.3.1"`), /^SubnetMin: invalid IP address format: 10\.3\.1$/],
  [conf("10.3.0.0/16", `"SubnetMax":"::1"`), /^SubnetMax: invalid IPv4 address format: ::1$/],
  [conf("fc00::/48", `"IPv6SubnetMax":"10.3.0.0"`), /^IPv6SubnetMax: invalid IPv6 address format/],
  [conf("10.3.0.0/16", `"EnableIPv6":"true"`), /^EnableIPv6: want true or false/],
];
for (const [text, message] of BAD_TEXT) {
  Deno.test(`parseNetConf: refuses ${text || "an empty text"}`, () => {
    assert.throws(() => parseNetConf(text), { name: "SyntaxError", message });
  });
}

/** Network, other members, and the range that flannel computes from them. */
const RANGES: readonly (readonly [
  network: string,
  more: string,
  length: number,
  first: string,
  last: string,
])[] = [
  ["10.3.0.0/16", "", 24, "10.3.1.0", "10.3.255.0"],
  ["10.3.0.0/22", "", 24, "10.3.1.0", "10.3.3.0"],
  ["10.3.0.0/23", "", 25, "10.3.0.128", "10.3.1.128"],
  ["10.3.0.0/28", "", 30, "10.3.0.4", "10.3.0.12"],
  ["10.0.0.0/8", "", 24, "10.0.1.0", "10.255.255.0"],
  ["10.3.0.0/16", `"SubnetLen":28`, 28, "10.3.0.16", "10.3.255.240"],
  ["10.3.0.0/16", `"SubnetLen":18`, 18, "10.3.64.0", "10.3.192.0"],
  ["10.3.0.0/28", `"SubnetLen":30`, 30, "10.3.0.4", "10.3.0.12"],
  [
    "10.3.0.0/16",
    `"SubnetLen":28,"SubnetMin":"10.3.5.0","SubnetMax":"10.3.8.0"`,
    28,
    "10.3.5.0",
    "10.3.8.0",
  ],
  ["10.3.0.0/16", `"SubnetMin":"10.3.0.0"`, 24, "10.3.0.0", "10.3.255.0"],
  ["10.3.0.0/16", `"SubnetMin":"10.3.9.0","SubnetMax":"10.3.9.0"`, 24, "10.3.9.0", "10.3.9.0"],
  ["224.0.0.0/3", "", 24, "224.0.1.0", "255.255.255.0"],
  ["fc00::/48", "", 64, "fc00:0:0:1::", "fc00:0:0:ffff::"],
  ["fc00::/62", "", 64, "fc00:0:0:1::", "fc00:0:0:3::"],
  ["fc00::/63", "", 65, "fc00::8000:0:0:0", "fc00:0:0:1:8000::"],
  ["fc00::/124", "", 126, "fc00::4", "fc00::c"],
  [
    "fc00::/48",
    `"IPv6SubnetLen":56,"IPv6SubnetMax":"fc00:0:0:a00::"`,
    56,
    "fc00:0:0:100::",
    "fc00:0:0:a00::",
  ],
];
for (const [network, more, length, first, last] of RANGES) {
  Deno.test(`validateForLeases: ${network} ${more} leases /${length} from ${first} to ${last}`, () => {
    const family = network.includes(":") ? 6 : 4;
    assert.deepEqual(validateForLeases(parseNetConf(conf(network, more))), {
      [family]: { first, last, length },
    });
  });
}

Deno.test("validateForLeases: dual stack gives a range for each family", () => {
  const dual = `{"Network":"10.3.0.0/16","EnableIPv6":true,"IPv6Network":"fc00::/48",${VXLAN}}`;
  assert.deepEqual(Object.keys(validateForLeases(parseNetConf(dual))), ["4", "6"]);
});

const UNUSABLE: readonly (readonly [text: string, reason: string])[] = [
  [`{${VXLAN}}`, "please define a correct Network parameter in the flannel config"],
  [conf("0.0.0.0/0"), "please define a correct Network parameter in the flannel config"],
  [conf("::/0"), "please define a correct IPv6Network parameter in the flannel config"],
  [conf("10.3.0.0/29"), "network is too small. Minimum useful network prefix is /28"],
  [conf("fc00::/125"), "IPv6Network is too small. Minimum useful network prefix is /124"],
  [conf("10.3.0.0/16", `"SubnetLen":31`), "SubnetLen must be less than /31"],
  [conf("10.3.0.0/16", `"SubnetLen":4294967320`), "SubnetLen must be less than /31"],
  [conf("fc00::/48", `"IPv6SubnetLen":127`), "SubnetLen must be less than /127"],
  [
    conf("10.3.0.0/16", `"SubnetLen":17`),
    "network must be able to accommodate at least four subnets",
  ],
  [
    conf("fc00::/48", `"IPv6SubnetLen":49`),
    "network must be able to accommodate at least four subnets",
  ],
  [
    conf("10.3.0.0/16", `"SubnetMin":"10.4.1.0"`),
    "SubnetMin is not in the range of the Network",
  ],
  [
    conf("10.3.0.0/16", `"SubnetMax":"10.2.1.0"`),
    "SubnetMax is not in the range of the Network",
  ],
  [
    conf("fc00::/48", `"IPv6SubnetMin":"fc01::"`),
    "IPv6SubnetMin is not in the range of the IPv6Network",
  ],
  [
    conf("10.3.0.0/16", `"SubnetMin":"10.3.1.1"`),
    "SubnetMin is not on a SubnetLen boundary: 10.3.1.1",
  ],
  [
    conf("10.3.0.0/16", `"SubnetMax":"10.3.255.255"`),
    "SubnetMax is not on a SubnetLen boundary: 10.3.255.255",
  ],
  [
    conf("fc00::/48", `"IPv6SubnetMax":"fc00::1"`),
    "IPv6SubnetMax is not on a SubnetLen boundary: fc00::1",
  ],
  [
    conf("10.3.0.0/16", `"SubnetMin":"10.3.9.0","SubnetMax":"10.3.8.0"`),
    "SubnetMin 10.3.9.0 lies behind SubnetMax 10.3.8.0",
  ],
  [`{"EnableIPv4":false,${VXLAN}}`, "neither IPv4 nor IPv6 is enabled"],
];
for (const [text, reason] of UNUSABLE) {
  Deno.test(`validateForLeases: ${text}: ${reason}`, () => {
    const message = `Cannot use network configuration: ${reason}`;
    assert.throws(() => validateForLeases(parseNetConf(text)), { name: "OpError", message });
  });
}

Deno.test("property: a usable network gives aligned subnets inside it, at least three of them", () => {
  fc.assert(fc.property(any.family.chain((f) => any.cidr(f, { min: 1 })), (network) => {
    const family = network.includes(":") ? 6 : 4;
    try {
      const range = validateForLeases(parseNetConf(conf(network)))[family];
      assert.ok(range !== undefined);
      assert.equal(range.length, Math.max(family === 4 ? 24 : 64, lengthOf(network) + 2));
      const blocks = freeBlocks([range], () => false);
      const three = [blocks.next().value, blocks.next().value, blocks.next().value];
      assert.ok(three.every((block) => block !== undefined));
      const { first, last } = bounds(network);
      const size = 1n << BigInt(FAMILIES[family].bits - range.length);
      assert.equal(ipNumber(addressOf(three[0]!)), first + size);
      assert.equal(ipNumber(range.last) + size - 1n, last);
    } catch (e) {
      assert.ok(e instanceof OpError);
      assert.ok(lengthOf(network) > FAMILIES[family].bits - 4);
    }
  }));
});

Deno.test("property: any text is a value, a SyntaxError, or an OpError when it is judged", () => {
  const value = fc.oneof(
    fc.constantFrom('"10.3.0.0/16"', '"::/0"', "24", "-1", "true", "null", '"10.3.1.0"', "{}"),
    fc.json({ maxDepth: 1 }),
  );
  const name = fc.constantFrom(
    ...["EnableIPv4", "enableipv6", "Network", "IPv6Network", "SubnetLen", "IPv6SubnetLen"],
    ...["SubnetMin", "SubnetMax", "IPv6SubnetMin", "Backend", "__proto__"],
  );
  const member = fc.tuple(name, value).map(([n, v]) => `"${n}":${v}`);
  const text = fc.array(member, { maxLength: 6 }).map((m) => `{${[...m, VXLAN].join(",")}}`);
  fc.assert(
    fc.property(fc.oneof(text, fc.string()), (text) => {
      try {
        validateForLeases(parseNetConf(text));
      } catch (e) {
        assert.ok(e instanceof SyntaxError || e instanceof OpError, String(e));
      }
    }),
    { numRuns: 500 },
  );
});

const BACKENDS: readonly (readonly [type: string, message: RegExp | undefined])[] = [
  ["vxlan", undefined],
  ["VXLAN", undefined],
  ["wireguard", /: backend wireguard is not supported yet$/],
  ["Foo", /: unknown backend type: foo$/],
  ["", /: unknown backend type: "" \(Backend has no Type\)$/],
];
for (const [type, message] of BACKENDS) {
  Deno.test(`checkBackend: type ${JSON.stringify(type)}`, () => {
    const { backend } = parseNetConf(`{"Backend":{"Type":"${type}"}}`);
    if (message === undefined) return checkBackend(backend, ["vxlan"]);
    const advice = "Set Backend.Type to one of: vxlan";
    assert.throws(() => checkBackend(backend, ["vxlan"]), { name: "OpError", message, advice });
  });
}

Deno.test("checkBackend: what will not come names what to use instead", () => {
  const refused = { ipsec: /to wireguard/, "tencent-vpc": /to alloc/, "ali-vpc": /to alloc/ };
  for (const [type, advice] of Object.entries({ ...refused, "aws-vpc": /alloc/, gce: /alloc/ })) {
    const { backend } = parseNetConf(`{"Backend":{"Type":"${type}"}}`);
    const message = new RegExp(`: backend ${type} is not part of twill: `);
    assert.throws(() => checkBackend(backend, ["vxlan"]), { name: "OpError", message, advice });
  }
});

Deno.test("every backend name of flannel is lower case, as types are compared", () => {
  for (const type of FLANNEL_BACKENDS) assert.equal(type, type.toLowerCase());
});
