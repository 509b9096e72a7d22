import assert from "node:assert/strict";
import { describe, type Fact, slotOf } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";

const where = "host";
const mac = parseMac("02:00:00:00:02:00");

const FACTS: readonly (readonly [fact: Fact, slot: string, words: string])[] = [
  [
    { kind: "link", where, name: "cni0", driver: { kind: "bridge" }, mtu: 1450, mac },
    "link host cni0",
    "cni0 type bridge mtu 1450 address 02:00:00:00:02:00",
  ],
  [
    { kind: "link", where, name: "v0", driver: { kind: "veth", peer: "eth0", peerWhere: "pod" } },
    "link host v0",
    "v0 type veth peer eth0",
  ],
  [
    {
      kind: "link",
      where,
      name: "flannel.1",
      driver: {
        kind: "vxlan",
        vni: 1,
        port: 8472,
        local: parseIp("192.0.2.1"),
        underlay: "eth0",
        learning: false,
      },
    },
    "link host flannel.1",
    "flannel.1 type vxlan id 1 dstport 8472 local 192.0.2.1 dev eth0",
  ],
  [
    { kind: "link", where: "pod", name: "lo", driver: { kind: "other", name: "" } },
    "link pod lo",
    "lo type unknown",
  ],
  [{ kind: "up", where, dev: "v0", up: true }, "up host v0", "v0 up"],
  [{ kind: "up", where, dev: "v0", up: false }, "up host v0", "v0 down"],
  [{ kind: "port", where, dev: "v0", bridge: "cni0" }, "port host v0", "v0 master cni0"],
  [
    { kind: "address", where, dev: "cni0", inet: parseInet("10.244.1.1/24") },
    "address host cni0 10.244.1.1/24",
    "10.244.1.1/24 dev cni0",
  ],
  [
    {
      kind: "route",
      where,
      dst: parseCidr("10.244.2.0/24"),
      via: parseIp("10.244.2.0"),
      dev: "flannel.1",
      onlink: true,
      metric: 0,
    },
    "route host 254 10.244.2.0/24 0",
    "10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink",
  ],
  [
    { kind: "route", where, dst: parseCidr("10.244.0.0/16"), blackhole: true, metric: 7 },
    "route host 254 10.244.0.0/16 7",
    "blackhole 10.244.0.0/16 metric 7",
  ],
  [
    {
      kind: "route",
      where: "pod",
      dst: parseCidr("0.0.0.0/0"),
      via: parseIp("10.0.0.1"),
      dev: "e",
    },
    "route pod 254 0.0.0.0/0 0 via 10.0.0.1",
    "0.0.0.0/0 via 10.0.0.1 dev e",
  ],
  [
    { kind: "neighbour", where, dev: "flannel.1", ip: parseIp("10.244.2.0"), mac },
    "neighbour host flannel.1 10.244.2.0",
    "10.244.2.0 lladdr 02:00:00:00:02:00 dev flannel.1",
  ],
  [
    { kind: "fdb", where, dev: "flannel.1", mac, remote: parseIp("192.0.2.2") },
    "fdb host flannel.1 02:00:00:00:02:00",
    "02:00:00:00:02:00 dev flannel.1 dst 192.0.2.2",
  ],
  [
    { kind: "sysctl", where, key: "net/ipv4/ip_forward", value: "1" },
    "sysctl host net/ipv4/ip_forward",
    "net.ipv4.ip_forward=1",
  ],
  [
    { kind: "rules", where, table: "inet twill", text: "" },
    "rules host inet twill",
    "table inet twill",
  ],
];
for (const [fact, slot, words] of FACTS) {
  Deno.test(`slotOf and describe: ${words}`, () => {
    assert.equal(slotOf(fact), slot);
    assert.equal(describe(fact), words);
  });
}

Deno.test("slotOf: a route's slot is its table, destination and metric", () => {
  const route = { kind: "route", where, dst: parseCidr("10.1.0.0/16"), dev: "a" } as const;
  const same: readonly Fact[] = [
    { ...route, dev: "b", via: parseIp("10.0.0.1"), protocol: 3 },
    { ...route, metric: 0, table: 254 },
  ];
  const other: readonly Fact[] = [
    { ...route, metric: 1 },
    { ...route, table: 100 },
    { ...route, dst: parseCidr("10.1.0.0/17") },
    { ...route, where: "pod" },
  ];
  for (const fact of same) assert.equal(slotOf(fact), slotOf(route));
  for (const fact of other) assert.notEqual(slotOf(fact), slotOf(route));
});

Deno.test("slotOf: an IPv6 route without a metric is where the kernel puts it, at 1024", () => {
  const route = { kind: "route", where, dst: parseCidr("fd01::/64"), dev: "a" } as const;
  assert.equal(slotOf(route), slotOf({ ...route, metric: 1024 }));
  assert.equal(slotOf({ ...route, metric: 0 }), slotOf(route));
  assert.notEqual(slotOf({ ...route, metric: 1 }), slotOf(route));
});
