import assert from "node:assert/strict";
import { parseIp4, parseIp6 } from "../../engine/ip.ts";
import { parseJson, stringifyJson } from "../../engine/json.ts";
import type { LeaseRecord } from "../../engine/lease.ts";
import {
  allKeys,
  annotationKeys,
  annotationPatch,
  nodeLease,
  type NodeRecord,
  nodeSubnets,
  wantedAddresses,
} from "../../engine/lease_annotations.ts";
import { type NetConf, parseNetConf } from "../../engine/net_conf.ts";

const P = "flannel.alpha.coreos.com/";
const KEYS = annotationKeys("flannel.alpha.coreos.com");
const V4 = parseNetConf('{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}');
const DUAL = parseNetConf(
  '{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48", ' +
    '"Backend": {"Type": "vxlan"}}',
);
const VTEP = '{"VNI":1,"VtepMAC":"12:c6:65:89:b4:e3"}';

/** A node with annotations below the usual prefix. */
function node(podCidrs: readonly string[], annotations: Record<string, string>): NodeRecord {
  const full = Object.entries(annotations).map(([key, value]) => [P + key, value]);
  return { name: "n", podCidrs, annotations: Object.fromEntries(full) };
}

const PREFIXES: readonly (readonly [prefix: string, key: string | RegExp])[] = [
  ["flannel.alpha.coreos.com", "flannel.alpha.coreos.com/backend-type"],
  ["flannel.alpha.coreos.com/", "flannel.alpha.coreos.com/backend-type"],
  ["flannel.alpha.coreos.com/prefix", "flannel.alpha.coreos.com/prefix-backend-type"],
  ["flannel.alpha.coreos.com/prefix-", "flannel.alpha.coreos.com/prefix-backend-type"],
  ["org.com", "org.com/backend-type"],
  ["org.com/9", "org.com/9-backend-type"],
  ["org", /fqdn/],
  ["org/", /fqdn/],
  ["org/prefix", /fqdn/],
  ["org.COM", /fqdn/],
  ["org.com/PREFIX", /fqdn/],
  ["org.com/a/b", /single slash/],
  ["", /fqdn/],
];
for (const [prefix, want] of PREFIXES) {
  Deno.test(`annotationKeys: ${JSON.stringify(prefix)}`, () => {
    if (typeof want === "string") assert.equal(annotationKeys(prefix).backendType, want);
    else assert.throws(() => annotationKeys(prefix), { name: "SyntaxError", message: want });
  });
}

Deno.test("allKeys: flannel's ten names", () => {
  assert.deepEqual(allKeys(KEYS).map((key) => key.replace(P, "")), [
    "kube-subnet-manager",
    "backend-type",
    "backend-data",
    "backend-v6-data",
    "public-ip",
    "public-ipv6",
    "public-ip-overwrite",
    "public-ipv6-overwrite",
    "node-public-ip",
    "node-public-ipv6",
  ]);
});

const VXLAN4: LeaseRecord = {
  publicIp: parseIp4("10.0.0.11"),
  backendType: "vxlan",
  backendData: parseJson(VTEP),
};
const VXLAN6: LeaseRecord = {
  publicIp6: parseIp6("fd00:1::b"),
  backendType: "vxlan",
  backendV6Data: parseJson(VTEP),
};

/** Published, on a node that has nothing yet; as flannel 0.28 writes it. */
const PUBLISHED: readonly (readonly [string, LeaseRecord, Record<string, string>])[] = [
  ["vxlan, IPv4", VXLAN4, {
    "backend-data": VTEP,
    "backend-type": "vxlan",
    "kube-subnet-manager": "true",
    "public-ip": "10.0.0.11",
  }],
  ["vxlan, IPv6", VXLAN6, {
    "backend-v6-data": VTEP,
    "backend-type": "vxlan",
    "kube-subnet-manager": "true",
    "public-ipv6": "fd00:1::b",
  }],
  ["vxlan, an IPv6 address without an IPv6 device", {
    ...VXLAN4,
    publicIp6: parseIp6("fd00:1::b"),
  }, {
    "backend-data": VTEP,
    "backend-type": "vxlan",
    "kube-subnet-manager": "true",
    "public-ip": "10.0.0.11",
  }],
  ["host-gw, IPv4", { publicIp: parseIp4("10.0.0.11"), backendType: "host-gw" }, {
    "backend-data": "null",
    "backend-type": "host-gw",
    "kube-subnet-manager": "true",
    "public-ip": "10.0.0.11",
  }],
  ["host-gw, IPv6", { publicIp6: parseIp6("fd00:1::b"), backendType: "host-gw" }, {
    "backend-data": "null",
    "backend-v6-data": "null",
    "backend-type": "host-gw",
    "kube-subnet-manager": "true",
    "public-ip": "0.0.0.0",
    "public-ipv6": "fd00:1::b",
  }],
  ["alloc", { publicIp: parseIp4("10.0.0.11"), backendType: "" }, {
    "backend-data": "null",
    "backend-type": "",
    "kube-subnet-manager": "true",
    "public-ip": "10.0.0.11",
  }],
];
for (const [name, record, want] of PUBLISHED) {
  Deno.test(`annotationPatch: ${name}`, () => {
    const patch = annotationPatch(record, node([], {}), KEYS);
    const full = Object.entries(want).map(([key, value]) => [P + key, value]);
    assert.deepEqual(patch, Object.fromEntries(full));
    const same = { name: "n", podCidrs: [], annotations: Object.fromEntries(full) };
    assert.deepEqual(annotationPatch(record, same, KEYS), {});
  });
}

Deno.test("annotationPatch: only what differs, and what is left of another family goes", () => {
  const before = node([], {
    "kube-subnet-manager": "true",
    "backend-type": "vxlan",
    "backend-data": VTEP,
    "backend-v6-data": VTEP,
    "public-ip": "10.0.0.12",
    "public-ipv6": "fd00:1::b",
    "public-ip-overwrite": "1.2.3.4",
  });
  assert.deepEqual(annotationPatch(VXLAN4, before, KEYS), {
    [`${P}public-ip`]: "10.0.0.11",
    [`${P}public-ipv6`]: null,
    [`${P}backend-v6-data`]: null,
  });
});

const GOOD4 = {
  "kube-subnet-manager": "true",
  "backend-type": "vxlan",
  "backend-data": VTEP,
  "public-ip": "10.0.0.11",
};
const GOOD6 = { "backend-v6-data": VTEP, "public-ipv6": "fd00:1::b" };
const BOTH = ["10.244.1.0/24", "fd00:0:0:1::/64"];

/** A node and what it is as a peer; subnets and problems. */
const PEERS: readonly (readonly [
  string,
  NetConf,
  NodeRecord,
  readonly string[] | undefined,
  readonly RegExp[],
])[] = [
  ["takes no part", V4, node(BOTH, { ...GOOD4, "kube-subnet-manager": "yes" }), undefined, []],
  ["IPv4", V4, node(["10.244.1.0/24"], GOOD4), ["10.244.1.0/24"], []],
  ["both families", DUAL, node(BOTH, { ...GOOD4, ...GOOD6 }), BOTH, []],
  ["the first of each family", V4, node(["10.244.1.0/24", "10.244.2.0/24"], GOOD4), [
    "10.244.1.0/24",
  ], []],
  ["without IPv6 among dual ones", DUAL, node(["10.244.1.0/24"], GOOD4), ["10.244.1.0/24"], []],
  ["without IPv6 annotations yet", DUAL, node(BOTH, GOOD4), ["10.244.1.0/24"], [
    /public-ipv6 is missing/,
  ]],
  [
    "a bad IPv4 address costs IPv4 only",
    DUAL,
    node(BOTH, {
      ...GOOD4,
      ...GOOD6,
      "public-ip": "x",
    }),
    ["fd00:0:0:1::/64"],
    [/public-ip: .*x/],
  ],
  ["bad data", V4, node(["10.244.1.0/24"], { ...GOOD4, "backend-data": "{" }), [], [
    /backend-data/,
  ]],
  ["no podCIDR", V4, node([], GOOD4), [], [/node "n" pod cidr not assigned/]],
  ["outside of the network", V4, node(["10.3.0.0/24"], GOOD4), [], [
    /subnet "10.244.0.0\/16" specified in the flannel net config doesn't contain "10.3.0.0\/24"/,
  ]],
  ["a zero address", V4, node(["10.244.1.0/24"], { ...GOOD4, "public-ip": "0.0.0.0" }), [], [
    /no node's address/,
  ]],
  ["host bits", V4, node(["10.244.1.1/24"], GOOD4), [], [/podCIDR/]],
];
for (const [name, conf, record, subnets, problems] of PEERS) {
  Deno.test(`nodeLease: ${name}`, () => {
    const found = nodeLease(record, conf, KEYS);
    if (subnets === undefined) return assert.equal(found, undefined);
    const { subnet, subnet6 } = found?.lease ?? {};
    assert.deepEqual([subnet, subnet6].filter((one) => one !== undefined), subnets);
    assert.equal(found?.problems.length, problems.length, found?.problems.join() ?? "");
    problems.forEach((want, i) => assert.match(found!.problems[i]!, want));
  });
}

Deno.test("nodeLease: the whole lease", () => {
  const { lease } = nodeLease(node(BOTH, { ...GOOD4, ...GOOD6 }), DUAL, KEYS)!;
  const { backendData, backendV6Data, ...rest } = lease!;
  assert.deepEqual(rest, {
    node: "n",
    subnet: "10.244.1.0/24",
    subnet6: "fd00:0:0:1::/64",
    publicIp: "10.0.0.11",
    publicIp6: "fd00:1::b",
    backendType: "vxlan",
  });
  assert.equal(stringifyJson(backendData!), VTEP);
  assert.equal(stringifyJson(backendV6Data!), VTEP);
});

Deno.test("nodeLease: a family that cannot be read keeps what it was, with the same subnet only", () => {
  const { lease } = nodeLease(node(BOTH, { ...GOOD4, ...GOOD6 }), DUAL, KEYS)!;
  const bad = { ...GOOD4, ...GOOD6, "backend-data": "{", "public-ipv6": "fd00:1::c" };
  const kept = nodeLease(node(BOTH, bad), DUAL, KEYS, lease)!;
  assert.equal(kept.lease?.publicIp, "10.0.0.11");
  assert.equal(kept.lease?.publicIp6, "fd00:1::c");
  assert.equal(kept.problems.length, 1);
  const moved = nodeLease(node(["10.244.2.0/24", BOTH[1]!], bad), DUAL, KEYS, lease)!;
  assert.equal(moved.lease?.subnet, undefined);
});

Deno.test("nodeSubnets: one family missing is that family's problem", () => {
  const { subnets, problems } = nodeSubnets(node(["10.244.1.0/24"], {}), DUAL);
  assert.deepEqual(subnets, { subnet: "10.244.1.0/24" });
  assert.match(problems[6] ?? "", /missing IPv6 address/);
});

Deno.test("wantedAddresses: what people wrote, bad ones named", () => {
  const record = node([], { "public-ip-overwrite": "1.2.3.4", "public-ipv6-overwrite": "x" });
  const { addresses, problems } = wantedAddresses(record, KEYS.overwrite);
  assert.deepEqual(addresses, { 4: "1.2.3.4" });
  assert.match(problems.join(), /public-ipv6-overwrite/);
});
