import assert from "node:assert/strict";
import fc from "fast-check";
import { derivedVtepMac } from "../../engine/backend/vxlan_mac.ts";
import { cidrOf, ipFromNumber, overlaps, parseCidr, parseIp } from "../../engine/ip.ts";
import { parseJson, stringifyJson } from "../../engine/json.ts";
import { findOwnLease, type LeaseFile, readLeaseFile } from "../../engine/lease_file.ts";
import { assertSoon } from "../soon.ts";

const CONFIG = { Network: "10.244.0.0/16", Backend: { Type: "vxlan" } };
const DUAL = { ...CONFIG, EnableIPv6: true, IPv6Network: "fd00::/56" };
const ONE = { name: "one", publicIP: "192.168.0.1", subnet: "10.244.1.0/24" };
const TWO = { name: "two", publicIP: "192.168.0.2", subnet: "10.244.2.0/24" };
const SIX = { ...ONE, publicIPv6: "fc00::1", ipv6Subnet: "fd00:0:0:1::/64" };

function read(document: unknown): LeaseFile {
  return readLeaseFile(parseJson(JSON.stringify(document)));
}

Deno.test("readLeaseFile: the smallest useful file", () => {
  const { conf, leases } = read({ config: CONFIG, nodes: [ONE, TWO] });
  assert.equal(conf.families[4].network, "10.244.0.0/16");
  assert.deepEqual(
    leases.map(({ node, subnet, publicIp, backendType }) => [
      node,
      subnet,
      publicIp,
      backendType,
    ]),
    [
      ["one", "10.244.1.0/24", "192.168.0.1", "vxlan"],
      ["two", "10.244.2.0/24", "192.168.0.2", "vxlan"],
    ],
  );
  const mac = derivedVtepMac(parseCidr("10.244.1.0/24"));
  assert.equal(stringifyJson(leases[0]!.backendData!), `{"VNI":1,"VtepMAC":"${mac}"}`);
});

Deno.test("readLeaseFile: dual stack, each family with its own MAC address", () => {
  const [lease] = read({ config: DUAL, nodes: [SIX] }).leases;
  assert.equal(lease?.subnet6, "fd00:0:0:1::/64");
  assert.equal(lease?.publicIp6, "fc00::1");
  const [mac, mac6] = [ONE.subnet, SIX.ipv6Subnet].map((s) => derivedVtepMac(parseCidr(s)));
  assert.equal(stringifyJson(lease!.backendData!), `{"VNI":1,"VtepMAC":"${mac}"}`);
  assert.equal(stringifyJson(lease!.backendV6Data!), `{"VNI":1,"VtepMAC":"${mac6}"}`);
  assert.notEqual(mac, mac6);
});

const MAC = derivedVtepMac(parseCidr("10.244.1.0/24"));
const DATA: readonly (readonly [backend: unknown, given: unknown, want: string | undefined])[] = [
  [{ Type: "vxlan", VNI: 7 }, undefined, `{"VNI":7,"VtepMAC":"${MAC}"}`],
  [{ Type: "VXLAN", vni: 7 }, null, `{"VNI":7,"VtepMAC":"${MAC}"}`],
  [{ Type: "vxlan" }, {}, `{"VNI":1,"VtepMAC":"${MAC}"}`],
  [
    { Type: "vxlan" },
    { vtepmac: "0e:00:00:00:00:01" },
    '{"VNI":1,"vtepmac":"0e:00:00:00:00:01"}',
  ],
  [{ Type: "vxlan" }, { VNI: 9, x: 1 }, `{"VNI":9,"x":1,"VtepMAC":"${MAC}"}`],
  [{ Type: "host-gw" }, undefined, undefined],
  [{ Type: "wireguard" }, { PublicKey: "k" }, '{"PublicKey":"k"}'],
];
for (const [Backend, backendData, want] of DATA) {
  Deno.test(`readLeaseFile: ${JSON.stringify([Backend, backendData])} publishes ${want}`, () => {
    const [lease] =
      read({ config: { ...CONFIG, Backend }, nodes: [{ ...ONE, backendData }] }).leases;
    const data = lease!.backendData;
    assert.equal(data === undefined ? undefined : stringifyJson(data), want);
  });
}

Deno.test("readLeaseFile: an enabled family may be missing from a node, but not both", () => {
  const [lease] = read({ config: DUAL, nodes: [ONE] }).leases;
  assert.equal(lease?.subnet6, undefined);
  assert.throws(
    () => read({ config: DUAL, nodes: [{ name: "one", publicIP: "192.168.0.1" }] }),
    { name: "SyntaxError", message: "nodes[0].subnet is missing: node one has no subnet" },
  );
});

Deno.test("readLeaseFile: no nodes is a file nobody is in", () => {
  assert.deepEqual(read({ config: CONFIG }).leases, []);
});

const nodes = (...nodes: unknown[]): unknown => ({ config: CONFIG, nodes });
const dual = (...nodes: unknown[]): unknown => ({ config: DUAL, nodes });
const BAD: readonly (readonly [document: unknown, message: string])[] = [
  [{}, "config is missing: want a network configuration"],
  [null, "config is missing: want a network configuration"],
  [[], "document: want an object, got a list"],
  [{ config: [] }, "config: want an object, got a list"],
  [{ config: {} }, 'Backend is missing: want an object, for example {"Type": "vxlan"}'],
  [
    { config: { Backend: { Type: "vxlan" } } },
    "config.Network is missing, but EnableIPv4 is true",
  ],
  [
    { config: { ...CONFIG, EnableIPv6: true } },
    "config.IPv6Network is missing, but EnableIPv6 is true",
  ],
  [
    { config: { ...CONFIG, EnableIPv4: false } },
    "config: neither EnableIPv4 nor EnableIPv6 is true",
  ],
  [{ config: CONFIG, node: [] }, "unknown key node; known are config, nodes"],
  [{ config: CONFIG, Nodes: [] }, "unknown key Nodes; did you mean nodes"],
  [
    nodes({ ...ONE, publicIp: "x" }),
    "unknown key nodes[0].publicIp; did you mean publicIP",
  ],
  [
    nodes({ ...ONE, mac: "x" }),
    "unknown key nodes[0].mac; known are name, subnet, publicIP, backendData, ipv6Subnet, publicIPv6, backendV6Data",
  ],
  [nodes(null), "nodes[0]: want an object, got null"],
  [nodes({ ...ONE, name: undefined }), "nodes[0].name is missing"],
  [nodes({ ...ONE, name: "" }), "nodes[0].name is missing"],
  [nodes({ ...ONE, name: 1 }), "nodes[0].name: want a string, got 1"],
  [
    nodes({ ...ONE, publicIP: undefined }),
    "nodes[0].publicIP is missing, but needed for 10.244.1.0/24",
  ],
  [nodes({ ...ONE, publicIP: "one" }), 'nodes[0].publicIP: invalid IPv4 address "one"'],
  [
    nodes({ ...ONE, subnet: "10.244.1.1/24" }),
    'nodes[0].subnet: network "10.244.1.1/24" has host bits set; did you mean 10.244.1.0/24',
  ],
  [
    nodes({ ...ONE, subnet: "10.245.1.0/24" }),
    "nodes[0].subnet: 10.245.1.0/24 is not in Network 10.244.0.0/16",
  ],
  [
    nodes({ ...ONE, subnet: "10.0.0.0/8" }),
    "nodes[0].subnet: 10.0.0.0/8 is not in Network 10.244.0.0/16",
  ],
  [
    {
      config: { ...CONFIG, Network: "10.255.0.0/16" },
      nodes: [{ ...ONE, subnet: "10.128.0.0/9" }],
    },
    "nodes[0].subnet: 10.128.0.0/9 is not in Network 10.255.0.0/16",
  ],
  [
    { config: { ...CONFIG, Network: "10.0.0.0/16" }, nodes: [{ ...ONE, subnet: "10.0.0.0/8" }] },
    "nodes[0].subnet: 10.0.0.0/8 is not in Network 10.0.0.0/16",
  ],
  [nodes(SIX), "nodes[0].ipv6Subnet is set, but config.EnableIPv6 is not true"],
  [
    nodes({ ...ONE, backendData: "x" }),
    `nodes[0].backendData: want an object like {"VtepMAC": "${MAC}"}`,
  ],
  [nodes(ONE, { ...TWO, name: "one" }), "two nodes have the name one"],
  [
    nodes(ONE, { ...TWO, publicIP: ONE.publicIP }),
    "nodes one and two have the same publicIP 192.168.0.1",
  ],
  [
    nodes(ONE, TWO, { ...ONE, name: "three", publicIP: "192.168.0.3", subnet: "10.244.2.128/25" }),
    "nodes two and three have overlapping subnets 10.244.2.0/24 and 10.244.2.128/25",
  ],
  [
    nodes(ONE, { ...TWO, backendData: { VtepMAC: MAC.toUpperCase() } }),
    `nodes one and two have the same VtepMAC ${MAC}; set backendData.VtepMAC of one of them`,
  ],
  [
    dual(SIX, { ...TWO, publicIPv6: "fc00::2", ipv6Subnet: "fd00:0:0:1:8000::/65" }),
    "nodes one and two have overlapping subnets fd00:0:0:1::/64 and fd00:0:0:1:8000::/65",
  ],
  [
    dual(SIX, { ...TWO, publicIPv6: "fc00::1" }),
    "nodes one and two have the same publicIPv6 fc00::1",
  ],
];
for (const [document, message] of BAD) {
  Deno.test(`readLeaseFile: ${message}`, () => {
    assert.throws(() => read(document), { name: "SyntaxError", message });
  });
}

Deno.test("property: overlapping subnets are found wherever they stand", () => {
  const subnet = fc.tuple(fc.nat(15), fc.integer({ min: 28, max: 32 })).map(([host, length]) =>
    cidrOf(ipFromNumber(4, 0x0af40000n + BigInt(host)), length)
  );
  fc.assert(fc.property(fc.array(subnet, { maxLength: 5 }), (subnets) => {
    const all = subnets.map((s, i) => ({ name: `n${i}`, publicIP: `192.168.0.${i}`, subnet: s }));
    const clash = subnets.some((a, i) => subnets.slice(0, i).some((b) => overlaps(a, b)));
    if (clash) assert.throws(() => read(nodes(...all)), /have overlapping subnets/);
    else assert.equal(read(nodes(...all)).leases.length, all.length);
  }));
});

Deno.test("findOwnLease: by name if there is one, else by address", () => {
  const file = read({ config: DUAL, nodes: [SIX, TWO] });
  const find = (node: string | undefined, ...addresses: string[]): string | undefined =>
    findOwnLease(file, { node, addresses: addresses.map(parseIp) })?.node;
  assert.equal(find("two"), "two");
  assert.equal(find("two", "192.168.0.1"), "two");
  assert.equal(find("three", "192.168.0.1"), undefined);
  assert.equal(find(undefined, "10.9.9.9", "192.168.0.2"), "two");
  assert.equal(find(undefined, "fc00::1"), "one");
  assert.equal(find(undefined, "10.9.9.9"), undefined);
});

Deno.test("readLeaseFile: a thousand nodes are read in a moment", () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({
    name: `n${i}`,
    publicIP: `192.168.${i >> 8}.${i & 255}`,
    subnet: `10.244.${i >> 2}.${(i & 3) << 6}/26`,
  }));
  // 30 ms when quiet; comparing all pairs would take seconds.
  assertSoon(1000, () => {
    assert.equal(read({ config: CONFIG, nodes: many }).leases.length, 1000);
  });
});

Deno.test("property: any document is a lease file or a SyntaxError", () => {
  const value = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(ONE, TWO, SIX, DUAL, [ONE]),
  );
  const keys = fc.constantFrom("config", "nodes", "name", "subnet", "publicIP", "backendData");
  fc.assert(fc.property(fc.dictionary(keys, value), value, (document, nodes) => {
    for (
      const each of [document, { config: DUAL, nodes: [ONE, document] }, { config: DUAL, nodes }]
    ) {
      try {
        read(each);
      } catch (e) {
        assert.ok(e instanceof SyntaxError, String(e));
      }
    }
  }));
});
