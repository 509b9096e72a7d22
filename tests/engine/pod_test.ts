import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, type Fact, slotOf } from "../../engine/fact.ts";
import { contains, familyOf, networkOf, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { plan, satisfies } from "../../engine/plan.ts";
import {
  forwardingKeys,
  gatewayConflicts,
  gatewayOf,
  type Pod,
  podFacts,
} from "../../engine/pod.ts";
import { FakeKernel } from "./fake_kernel.ts";
import * as any from "./arbitraries.ts";

/** What the stock flannel conflist asks for on a node that has 10.244.1.0/24. */
const STOCK: Pod = {
  bridge: {
    name: "cni0",
    mtu: 1450,
    promisc: false,
    hairpin: true,
    isolated: false,
    gateways: [parseInet("10.244.1.1/24")],
  },
  hostEnd: "veth12345678",
  name: "eth0",
  mtu: 1450,
  up: true,
  addresses: [{ inet: parseInet("10.244.1.2/24"), gateway: parseIp("10.244.1.1") }],
  routes: [{ dst: parseInet("10.244.0.0/16") }, { dst: parseInet("0.0.0.0/0") }],
  detectDuplicates: false,
};

const DUAL: Pod = {
  ...STOCK,
  bridge: {
    ...STOCK.bridge,
    gateways: [parseInet("10.244.1.1/24"), parseInet("fd00:10:244:1::1/64")],
  },
  addresses: [
    ...STOCK.addresses,
    { inet: parseInet("fd00:10:244:1::2/64"), gateway: parseIp("fd00:10:244:1::1") },
  ],
  routes: [...STOCK.routes, { dst: parseInet("::/0") }],
};

function words(facts: readonly Fact[]): string[] {
  return facts.map((fact) => `${fact.where} ${fact.kind} ${describe(fact)}`);
}

Deno.test("podFacts: a stock flannel pod", () => {
  assert.deepEqual(words(podFacts(STOCK)), [
    "host link cni0 type bridge mtu 1450",
    "host sysctl net.ipv6.conf.cni0.accept_ra=0",
    "host up cni0 up",
    "host address 10.244.1.1/24 dev cni0",
    "host sysctl net.ipv4.ip_forward=1",
    "host port veth12345678 master cni0",
    "host sysctl net.ipv6.conf.veth12345678.accept_ra=0",
    "host up veth12345678 up",
    "pod link eth0 type veth peer veth12345678 mtu 1450",
    "pod sysctl net.ipv6.conf.eth0.accept_dad=0",
    "pod sysctl net.ipv4.conf.eth0.arp_notify=1",
    "pod address 10.244.1.2/24 dev eth0",
    "pod up eth0 up",
    "pod route 10.244.0.0/16 via 10.244.1.1 dev eth0",
    "pod route 0.0.0.0/0 via 10.244.1.1 dev eth0",
  ]);
  const facts = podFacts(STOCK);
  const port = facts.find((fact) => fact.kind === "port");
  assert.ok(port?.kind === "port");
  assert.deepEqual([port.hairpin, port.isolated], [true, false]);
  const address = facts.find((fact) => fact.kind === "address" && fact.where === "pod");
  assert.ok(address?.kind === "address");
  assert.equal(address.broadcast, "10.244.1.255");
});

Deno.test("podFacts: a dual-stack pod", () => {
  const more = words(podFacts(DUAL)).filter((line) => !words(podFacts(STOCK)).includes(line));
  assert.deepEqual(more, [
    "host address fd00:10:244:1::1/64 dev cni0",
    "host sysctl net.ipv6.conf.all.forwarding=1",
    "pod sysctl net.ipv6.conf.lo.disable_ipv6=0",
    "pod sysctl net.ipv6.conf.eth0.disable_ipv6=0",
    "pod sysctl net.ipv6.conf.eth0.keep_addr_on_down=1",
    "pod address fd00:10:244:1::2/64 dev eth0",
    "pod route ::/0 via fd00:10:244:1::1 dev eth0",
  ]);
});

Deno.test("podFacts: the settings that a configuration may change", () => {
  const pod: Pod = {
    ...STOCK,
    bridge: { ...STOCK.bridge, promisc: true, mac: parseMac("02:00:00:00:00:01") },
    mac: parseMac("02:00:00:00:00:02"),
    up: false,
    detectDuplicates: true,
    routes: [
      { dst: parseInet("10.9.1.2/16"), gw: parseIp("10.244.1.9"), priority: 7, table: 100 },
      { dst: parseInet("fd00::/8"), mtu: 1400, advmss: 1300, scope: 0 },
    ],
  };
  const facts = podFacts(pod);
  const lines = words(facts);
  assert.equal(lines[0], "host link cni0 type bridge mtu 1450 address 02:00:00:00:00:01");
  assert.ok(facts[0]?.kind === "link" && facts[0].promisc === true);
  assert.ok(lines.includes("pod sysctl net.ipv6.conf.eth0.enhanced_dad=1"));
  assert.ok(lines.includes("pod sysctl net.ipv6.conf.eth0.accept_dad=1"));
  assert.ok(!lines.includes("pod up eth0 up"));
  assert.deepEqual(facts.filter((fact) => fact.kind === "route"), [
    {
      kind: "route",
      where: "pod",
      dst: "10.9.0.0/16",
      dev: "eth0",
      via: "10.244.1.9",
      metric: 7,
      table: 100,
    },
    // Without a gateway of its family among the addresses it leads straight to the link.
    {
      kind: "route",
      where: "pod",
      dst: "fd00::/8",
      dev: "eth0",
      mtu: 1400,
      advmss: 1300,
      scope: 0,
    },
  ]);
});

const BROADCASTS: readonly (readonly [inet: string, broadcast: string | undefined])[] = [
  ["10.0.0.2/8", "10.255.255.255"],
  ["10.0.0.2/30", "10.0.0.3"],
  ["10.0.0.2/31", undefined],
  ["10.0.0.2/32", undefined],
  ["fd00::2/64", undefined],
];
for (const [inet, broadcast] of BROADCASTS) {
  Deno.test(`podFacts: the broadcast address of ${inet} is ${broadcast}`, () => {
    const facts = podFacts({ ...STOCK, addresses: [{ inet: parseInet(inet) }] });
    const address = facts.find((fact) => fact.kind === "address" && fact.where === "pod");
    assert.ok(address?.kind === "address");
    assert.equal(address.broadcast, broadcast);
  });
}

Deno.test("a kernel takes a pod's facts in the planner's order, and the second pod adds its own", () => {
  const kernel = new FakeKernel();
  for (const pod of [DUAL, { ...DUAL, hostEnd: "veth2", name: "eth1" }]) {
    kernel.nextPod();
    const want = podFacts(pod);
    const { changes } = plan(want, kernel.read(), () => false);
    assert.deepEqual(kernel.apply(changes).filter((refusal) => refusal !== undefined), []);
    const have = new Map(kernel.read().map((fact) => [slotOf(fact), fact]));
    for (const fact of want) {
      const found = have.get(slotOf(fact));
      assert.ok(found !== undefined && satisfies(found, fact), `${describe(fact)} in\n${kernel}`);
    }
    assert.deepEqual(plan(want, kernel.read(), () => false).changes, []);
    // Routes need the link up, and addresses come before that, so that the kernel announces them.
    const order = changes.filter(({ fact }) => fact.where === "pod").map(({ fact }) => fact.kind);
    assert.ok(order.lastIndexOf("address") < order.indexOf("up"));
    assert.ok(order.indexOf("up") < order.indexOf("route"));
  }
});

Deno.test("forwardingKeys: one for each family, once", () => {
  assert.deepEqual(forwardingKeys([]), []);
  const gateways = ["10.0.0.1/8", "fd00::1/64", "10.1.0.1/16"].map(parseInet);
  assert.deepEqual(forwardingKeys(gateways), [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
  ]);
});

Deno.test("gatewayOf is the first address behind the network's own", () => {
  assert.equal(gatewayOf(parseInet("10.244.1.77/24")), "10.244.1.1");
  assert.equal(gatewayOf(parseInet("fd00:10:244:1::77/64")), "fd00:10:244:1::1");
  const inet = any.family.chain((family) => any.cidr(family, { max: family === 4 ? 30 : 126 }));
  fc.assert(fc.property(inet, (network) => {
    const gateway = gatewayOf(parseInet(network));
    assert.equal(familyOf(gateway), familyOf(network));
    assert.ok(contains(networkOf(parseInet(network)), gateway));
  }));
});

const CONFLICTS: readonly (readonly [gateway: string, have: string[], inWay: string[]])[] = [
  ["10.1.0.1/24", [], []],
  ["10.1.0.1/24", ["10.1.0.1/24", "10.9.0.1/24"], []],
  ["10.1.0.1/24", ["10.9.0.1/24"], ["10.9.0.1/24"]],
  ["10.1.0.1/24", ["10.1.0.1/16", "fd00::1/64"], ["10.1.0.1/16"]],
  ["fd00::1/64", ["10.1.0.1/24", "fd01::1/64", "fe80::1/64"], []],
  ["fd00::1/64", ["fd00::9/64", "fd00::1/48", "fd01::1/64"], ["fd00::9/64", "fd00::1/48"]],
];
for (const [gateway, have, inWay] of CONFLICTS) {
  Deno.test(`gatewayConflicts: ${gateway} beside ${have.join(", ") || "nothing"}`, () => {
    assert.deepEqual(gatewayConflicts(have.map(parseInet), parseInet(gateway)), inWay);
  });
}
