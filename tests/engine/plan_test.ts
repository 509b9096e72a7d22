import assert from "node:assert/strict";
import { describe, type Fact, type LinkFact, type RouteFact } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { type Change, type Ours, plan, satisfies } from "../../engine/plan.ts";

const where = "host";
const mac = parseMac("02:00:00:00:02:00");
const other = parseMac("02:00:00:00:03:00");

const BRIDGE: LinkFact = { kind: "link", where, name: "br0", driver: { kind: "bridge" } };

const VTEP: LinkFact = {
  kind: "link",
  where,
  name: "flannel.1",
  driver: { kind: "vxlan", vni: 1, port: 8472, learning: false },
  mtu: 1450,
  mac,
};

const NEIGHBOUR: Fact = {
  kind: "neighbour",
  where,
  dev: "flannel.1",
  ip: parseIp("10.1.2.0"),
  mac,
};
const FDB: Fact = { kind: "fdb", where, dev: "flannel.1", mac, remote: parseIp("192.0.2.2") };
const UP: Fact = { kind: "up", where, dev: "flannel.1", up: true };

const ROUTE: RouteFact = {
  kind: "route",
  where,
  dst: parseCidr("10.1.2.0/24"),
  via: parseIp("10.1.2.0"),
  dev: "flannel.1",
  onlink: true,
  protocol: 146,
};

const ADDRESS: Fact = { kind: "address", where, dev: "flannel.1", inet: parseInet("10.1.1.0/32") };

const OURS: Ours = (fact) => fact.kind !== "route" || fact.protocol === 146;

function words(changes: readonly Change[]): string[] {
  return changes.map(({ op, fact }) => `${op} ${fact.kind} ${describe(fact)}`);
}

Deno.test("plan: from nothing, in the order that the kernel wants", () => {
  const { changes } = plan([ROUTE, FDB, NEIGHBOUR, UP, ADDRESS, VTEP], [], OURS);
  assert.deepEqual(changes.map((c) => c.fact), [VTEP, ADDRESS, UP, NEIGHBOUR, FDB, ROUTE]);
  assert.ok(changes.every((c) => c.op === "put" && c.had === undefined));
});

Deno.test("plan: to nothing, in the opposite order", () => {
  const { changes } = plan([], [VTEP, ADDRESS, UP, NEIGHBOUR, FDB, ROUTE], OURS);
  // A link's being up is a setting: it goes with the link.
  assert.deepEqual(changes.map((c) => c.fact), [ROUTE, FDB, NEIGHBOUR, ADDRESS, VTEP]);
  assert.ok(changes.every((c) => c.op === "delete"));
});

Deno.test("plan: the first of two wanted facts of one slot counts", () => {
  const second: Fact = { ...ROUTE, via: parseIp("10.9.9.9") };
  assert.deepEqual(words(plan([ROUTE, second], [], OURS).changes), [
    `put route ${describe(ROUTE)}`,
  ]);
});

Deno.test("plan: an MTU is changed in place, nothing else is touched", () => {
  const had = { ...VTEP, mtu: 1500 };
  const { changes } = plan([VTEP, NEIGHBOUR, FDB], [had, NEIGHBOUR, FDB], OURS);
  assert.deepEqual(changes, [{ op: "put", fact: VTEP, had }]);
});

Deno.test("plan: with a link's MAC address its neighbours are put again, and only they", () => {
  const had = { ...VTEP, mac: other };
  const have = [had, UP, NEIGHBOUR, FDB, ROUTE];
  const { changes } = plan([VTEP, UP, NEIGHBOUR, FDB, ROUTE], have, OURS);
  assert.deepEqual(changes, [
    { op: "put", fact: VTEP, had },
    { op: "put", fact: NEIGHBOUR },
  ]);
});

Deno.test("plan: a link of another kind is made anew", () => {
  const had: Fact = { ...BRIDGE, name: "flannel.1" };
  const { changes } = plan([VTEP, UP, ADDRESS], [had, UP, ADDRESS], OURS);
  assert.deepEqual(changes, [
    { op: "delete", fact: had },
    { op: "put", fact: VTEP },
    { op: "put", fact: ADDRESS },
    { op: "put", fact: UP },
  ]);
});

Deno.test("plan: a foreign link of another kind is a conflict, and so is a foreign route", () => {
  const link: Fact = { ...BRIDGE, name: "flannel.1" };
  const route: Fact = { ...ROUTE, via: parseIp("192.0.2.9"), dev: "eth0", protocol: 3 };
  const { changes, conflicts } = plan([VTEP, ROUTE], [link, route], () => false);
  assert.deepEqual(changes, []);
  assert.deepEqual(conflicts, [{ want: VTEP, have: link }, { want: ROUTE, have: route }]);
});

Deno.test("plan: a route that differs in nothing but its maker is taken over", () => {
  const flannels: Fact = { ...ROUTE, protocol: 3, metric: 0, table: 254, scope: 0 };
  const { changes, conflicts } = plan([ROUTE], [flannels], () => false);
  assert.deepEqual(conflicts, []);
  assert.deepEqual(changes, [{ op: "put", fact: ROUTE, had: flannels }]);
});

Deno.test("plan: settings have no owner: they are written, never deleted", () => {
  const want: Fact = { kind: "sysctl", where, key: "net/ipv4/ip_forward", value: "1" };
  const have: Fact = { ...want, value: "0" };
  const foreign: Ours = () => false;
  assert.deepEqual(plan([want], [have], foreign).changes, [{ op: "put", fact: want, had: have }]);
  assert.deepEqual(plan([], [have, UP], () => true).changes, []);
});

const SATISFIED: readonly (readonly [why: string, have: Fact, want: Fact])[] = [
  ["what is not asked for does not matter", { ...BRIDGE, mtu: 1500, mac }, BRIDGE],
  ["absent is false", { kind: "port", where, dev: "v", bridge: "b" }, {
    kind: "port",
    where,
    dev: "v",
    bridge: "b",
    hairpin: false,
  }],
  ["a veth's other end is not looked at", {
    ...BRIDGE,
    driver: { kind: "veth" },
  }, { ...BRIDGE, driver: { kind: "veth", peer: "x", peerWhere: "pod" } }],
  ["the default metric may be written", { ...ROUTE, metric: 0 }, ROUTE],
  ["in IPv6 it is 1024", { ...ROUTE, dst: parseCidr("fd00::/64"), metric: 1024 }, {
    ...ROUTE,
    dst: parseCidr("fd00::/64"),
    metric: 0,
  }],
  [
    "optional is not a value",
    { kind: "sysctl", where, key: "k", value: "1" },
    { kind: "sysctl", where, key: "k", value: "1", optional: true },
  ],
];
for (const [why, have, want] of SATISFIED) {
  Deno.test(`satisfies: ${why}`, () => assert.ok(satisfies(have, want)));
}

const NOT_SATISFIED: readonly (readonly [why: string, have: Fact, want: Fact])[] = [
  ["another value", { ...VTEP, mtu: 1500 }, VTEP],
  ["a value that is not there", BRIDGE, { ...BRIDGE, mtu: 1500 }],
  ["another kind of link", BRIDGE, { ...BRIDGE, driver: { kind: "veth" } }],
  ["another VNI", VTEP, { ...VTEP, driver: { kind: "vxlan", vni: 2, port: 8472 } }],
  ["not on-link", { ...ROUTE, onlink: false }, ROUTE],
  ["on-link", ROUTE, { ...ROUTE, onlink: false }],
  ["another kernel's rules", { kind: "rules", where, table: "t", text: "" }, {
    kind: "rules",
    where,
    table: "t",
    text: "x",
  }],
];
for (const [why, have, want] of NOT_SATISFIED) {
  Deno.test(`satisfies: not by ${why}`, () => assert.ok(!satisfies(have, want)));
}

Deno.test("plan: an IPv6 address with another length is replaced, an IPv4 one is another", () => {
  const address = (inet: string): Fact => ({
    kind: "address",
    where: "host",
    dev: "x0",
    inet: parseInet(inet),
  });
  const steps = (want: string, have: string): string[] =>
    plan([address(want)], [address(have)], () => true).changes
      .map(({ op, fact }) => `${op} ${describe(fact)}`);
  assert.deepEqual(steps("fd01::1/64", "fd01::1/128"), [
    "delete fd01::1/128 dev x0",
    "put fd01::1/64 dev x0",
  ]);
  assert.deepEqual(steps("10.1.1.1/24", "10.1.1.1/32"), [
    "put 10.1.1.1/24 dev x0",
    "delete 10.1.1.1/32 dev x0",
  ]);
});
