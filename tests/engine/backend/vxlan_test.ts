import assert from "node:assert/strict";
import fc from "fast-check";
import type { BackendFacts } from "../../../engine/backend/backend.ts";
import { vxlanOptions } from "../../../engine/backend/vxlan.ts";
import { describe, type Fact } from "../../../engine/fact.ts";
import { parseCidr, parseInet, parseIp, parseIp4 } from "../../../engine/ip.ts";
import { jsonObject, parseJson, stringifyJson } from "../../../engine/json.ts";
import type { Lease } from "../../../engine/lease.ts";
import { parseMac } from "../../../engine/mac.ts";
import { parseNetConf } from "../../../engine/net_conf.ts";
import { network, node, UNDERLAY } from "../facts.ts";

const V4 = { v4: true, v6: false };
const V6 = { v4: false, v6: true };
const DUAL = { v4: true, v6: true };

/** Node 1 with these peers. */
function factsOf(
  families: typeof DUAL,
  peers: readonly Lease[],
  options: Readonly<Record<string, string | number | boolean>> = {},
): BackendFacts {
  return network(families, options).facts({ underlay: UNDERLAY, lease: node(1) }, peers);
}

function words(facts: readonly Fact[]): string[] {
  return facts.map((fact) => `${fact.kind} ${describe(fact)}`);
}

/** The facts as the commands that flannel's would be. */
function commands(facts: readonly Fact[]): string[] {
  return facts.map((fact) => {
    switch (fact.kind) {
      case "neighbour":
        return `ip neigh replace ${fact.ip} lladdr ${fact.mac} dev ${fact.dev} nud permanent`;
      case "fdb":
        return `bridge fdb replace ${fact.mac} dev ${fact.dev} dst ${fact.remote} self permanent`;
      case "route":
        return `ip route replace ${fact.dst} via ${fact.via} dev ${fact.dev}` +
          `${fact.onlink ? " onlink" : ""} proto ${fact.protocol}`;
      default:
        return assert.fail(`no fact of a peer: ${fact.kind}`);
    }
  });
}

Deno.test("vxlan: the three entries of a peer are flannel's, and carry our number", () => {
  const { peers: [peer], bad } = factsOf(V4, [node(2)]);
  assert.ok(peer !== undefined);
  assert.deepEqual(bad, []);
  assert.deepEqual(commands(peer.facts), [
    "ip neigh replace 10.244.2.0 lladdr 0a:00:00:00:00:02 dev flannel.1 nud permanent",
    "bridge fdb replace 0a:00:00:00:00:02 dev flannel.1 dst 192.0.2.2 self permanent",
    "ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 146",
  ]);
});

Deno.test("vxlan: in both families a peer has six entries, on two devices", () => {
  const { peers: [peer] } = factsOf(DUAL, [node(2)]);
  assert.deepEqual(commands(peer?.facts ?? []).slice(3), [
    "ip neigh replace fd00:10:244:2:: lladdr 0e:00:00:00:00:02 dev flannel-v6.1 nud permanent",
    "bridge fdb replace 0e:00:00:00:00:02 dev flannel-v6.1 dst 2001:db8::2 self permanent",
    "ip route replace fd00:10:244:2::/64 via fd00:10:244:2:: dev flannel-v6.1 onlink proto 146",
  ]);
});

Deno.test("vxlan: the node's own device, named after its VNI", () => {
  const { own } = factsOf(V4, [], { VNI: 7, Port: 4789, GBP: true, Learning: true });
  assert.deepEqual(words(own), [
    "link flannel.7 type vxlan id 7 dstport 4789 local 192.0.2.1 dev up0 mtu 1450 " +
    "address 0a:00:00:00:00:01",
    "sysctl net.ipv6.conf.flannel.7.accept_ra=0",
    "address 10.244.1.0/32 dev flannel.7",
    "up flannel.7 up",
  ]);
  assert.ok(own[0]?.kind === "link" && own[0].driver.kind === "vxlan");
  assert.deepEqual([own[0].driver.gbp, own[0].driver.learning], [true, true]);
});

Deno.test("vxlan: IPv6 alone has the IPv6 device alone, with the subnet's base as a /128", () => {
  assert.deepEqual(words(factsOf(V6, []).own), [
    "link flannel-v6.1 type vxlan id 1 dstport 8472 local 2001:db8::1 dev up0 mtu 1430 " +
    "address 0e:00:00:00:00:01",
    "sysctl net.ipv6.conf.flannel-v6.1.accept_ra=0",
    "address fd00:10:244:1::/128 dev flannel-v6.1",
    "up flannel-v6.1 up",
  ]);
});

Deno.test("vxlan: before a lease names a MAC address the kernel chooses one", () => {
  const { backendData: _data, ...lease } = node(1);
  const { own } = network(V4).facts({ underlay: UNDERLAY, lease }, []);
  assert.ok(own[0]?.kind === "link");
  assert.ok(!("mac" in own[0]));
});

const MTUS: readonly (readonly [typeof DUAL, underlay: number, option: number, pod: number])[] = [
  [V4, 1500, 0, 1450],
  [V6, 1500, 0, 1430],
  [DUAL, 1500, 0, 1430],
  [V4, 9001, 0, 8951],
  [V4, 1500, 1400, 1350],
  [DUAL, 1500, 1400, 1330],
  [V4, 65_536, 0, 65_486],
  [V4, 70_000, 0, 65_535],
  [DUAL, 1 << 20, 0, 65_535],
];
for (const [families, mtu, option, pod] of MTUS) {
  const of = [families.v4 && "IPv4", families.v6 && "IPv6"].filter(Boolean).join(" and ");
  Deno.test(`vxlan: MTU of pods over ${mtu}, MTU option ${option || "none"}, ${of}: ${pod}`, () => {
    const backend = network(families, option === 0 ? {} : { MTU: option });
    assert.equal(backend.podMtu({ ...UNDERLAY, mtu }), pod);
  });
}

const BAD_PEERS: readonly (readonly [what: string, change: object, reason: RegExp])[] = [
  ["another backend", { backendType: "host-gw" }, /^its backend is "host-gw", ours is vxlan$/],
  ["no backend", { backendType: "" }, /^its backend is "", ours is vxlan$/],
  ["no public address", { publicIp: undefined }, /^it has no public IPv4 address$/],
  ["our public address", { publicIp: parseIp4("192.0.2.1") }, /is also this node's$/],
  ["no data", { backendData: undefined }, /^its lease carries no VTEP data$/],
  ["null for data", { backendData: null }, /^its lease carries no VTEP data$/],
  ["data that is a list", { backendData: [] }, /^its lease carries no VTEP data$/],
  ["no VtepMAC", { backendData: jsonObject({ VNI: 1 }) }, /^its lease is damaged: /],
  ["a VtepMAC that is none", { backendData: jsonObject({ VtepMAC: "x" }) }, /MAC address "x"/],
  ["a number for VtepMAC", { backendData: jsonObject({ VtepMAC: 7 }) }, /^its lease is damaged/],
  [
    "a multicast VtepMAC",
    { backendData: jsonObject({ VtepMAC: "01:00:5e:00:00:01" }) },
    /^its VtepMAC 01:00:5e:00:00:01 is no unicast address$/,
  ],
  [
    "a zero VtepMAC",
    { backendData: jsonObject({ VtepMAC: "00:00:00:00:00:00" }) },
    /is no unicast address$/,
  ],
];
for (const [what, change, reason] of BAD_PEERS) {
  Deno.test(`vxlan: a peer with ${what} is named, and costs the others nothing`, () => {
    const lease: Lease = { ...node(3), ...change };
    const { own, peers, bad } = factsOf(V4, [node(2), lease, node(4)]);
    assert.deepEqual(bad.map((peer) => peer.lease), [lease]);
    assert.match(bad[0]?.reason ?? "", reason);
    const without = factsOf(V4, [node(2), node(4)]);
    assert.deepEqual({ own, peers, bad: [] }, without);
  });
}

Deno.test("vxlan: a bad IPv6 part costs a peer nothing of its IPv4 part", () => {
  const lease: Lease = { ...node(2), backendV6Data: null };
  const { peers, bad } = factsOf(DUAL, [lease]);
  assert.deepEqual(bad.length, 1);
  assert.deepEqual(peers[0]?.facts, factsOf(V4, [lease]).peers[0]?.facts);
});

Deno.test("vxlan: a peer without a subnet of a family has nothing there, and is not bad", () => {
  const { subnet6: _subnet, ...lease } = node(2);
  const { peers, bad } = factsOf(DUAL, [lease]);
  assert.deepEqual([peers[0]?.facts.length, bad], [3, []]);
});

Deno.test("vxlan: the facts of a peer depend on no other peer", () => {
  const damaged = fc.record({
    backendType: fc.constantFrom("vxlan", "udp", ""),
    backendData: fc.constantFrom(
      null,
      jsonObject({}),
      jsonObject({ VtepMAC: "0a:00:00:00:00:09" }),
    ),
  });
  const others = fc.uniqueArray(fc.tuple(fc.integer({ min: 3, max: 9 }), damaged), {
    selector: ([n]) => n,
  });
  const alone = factsOf(DUAL, [node(2)]).peers[0];
  fc.assert(fc.property(others, (others) => {
    const leases = others.map(([n, change]): Lease => ({ ...node(n), ...change }));
    const { peers } = factsOf(DUAL, [...leases, node(2)]);
    assert.deepEqual(peers.at(-1), alone);
  }));
});

Deno.test("vxlan: publishes what flannel publishes", () => {
  const published = network(DUAL, { VNI: 5 }).publish({
    macs: { 4: parseMac("0a:00:00:00:00:01"), 6: parseMac("0e:00:00:00:00:01") },
  });
  const text = '{"VNI":5,"VtepMAC":"0a:00:00:00:00:01"}';
  assert.equal(stringifyJson(published[4] ?? null), text);
  assert.deepEqual(published[4], parseJson(text));
  assert.equal(stringifyJson(published[6] ?? null), text.replace("0a:", "0e:"));
  assert.deepEqual(network(DUAL).publish({ macs: {} }), {});
});

Deno.test("vxlan: reads its devices, the main table, and no more of the node", () => {
  const { links, addresses, neighbours, fdb, routes } = network(DUAL, { VNI: 3 }).scope();
  const devices = ["flannel.3", "flannel-v6.3"];
  assert.deepEqual([links, addresses, neighbours, fdb], [devices, devices, devices, devices]);
  assert.equal(routes, true);
});

const where = "host";
const MAC = parseMac("0a:00:00:00:00:09");
const dev = "flannel.1";
const OVERLAY = {
  kind: "route",
  where,
  dst: parseCidr("10.244.9.0/24"),
  via: parseIp("10.244.9.0"),
  dev,
  onlink: true,
  protocol: 146,
} as const;
const OWNED: readonly (readonly [fact: Fact, ours: boolean])[] = [
  [{ kind: "link", where, name: dev, driver: { kind: "bridge" } }, true],
  [{ kind: "link", where, name: "flannel.2", driver: { kind: "bridge" } }, false],
  [{ kind: "neighbour", where, dev, ip: parseIp("10.244.9.0"), mac: MAC }, true],
  [{ kind: "neighbour", where, dev: "up0", ip: parseIp("10.244.9.0"), mac: MAC }, false],
  [{ kind: "fdb", where, dev, mac: MAC, remote: parseIp("192.0.2.9") }, true],
  [
    { kind: "fdb", where, dev, mac: parseMac("00:00:00:00:00:00"), remote: parseIp("192.0.2.9") },
    false,
  ],
  [{ kind: "address", where, dev, inet: parseInet("10.244.7.0/32") }, true],
  [{ kind: "address", where, dev, inet: parseInet("198.51.100.1/32") }, false],
  [{ kind: "address", where, dev: "up0", inet: parseInet("10.244.7.0/32") }, false],
  [OVERLAY, true],
  [{ ...OVERLAY, protocol: 3 }, true],
  [{ ...OVERLAY, protocol: 3, onlink: false }, false],
  [{ ...OVERLAY, protocol: 3, via: parseIp("10.244.9.1") }, false],
  [{ ...OVERLAY, protocol: 3, dev: "up0" }, false],
  [{ ...OVERLAY, dev: "up0", via: parseIp("192.0.2.9"), onlink: false }, true],
  [{ ...OVERLAY, dev: "up0", dst: parseCidr("203.0.113.0/24") }, false],
  [{ kind: "sysctl", where, key: "net/ipv6/conf/flannel.1/accept_ra", value: "1" }, false],
  [{ kind: "port", where, dev, bridge: "br0" }, false],
];
for (const [fact, ours] of OWNED) {
  const protocol = fact.kind === "route" ? ` proto ${fact.protocol}` : "";
  Deno.test(`vxlan: ${fact.kind} ${describe(fact)}${protocol} is ${ours ? "" : "not "}ours`, () => {
    assert.equal(network(V4).ours()(fact), ours);
  });
}

const OPTIONS: readonly (readonly [section: object, error: RegExp])[] = [
  [{ VNI: 0 }, /^Backend\.VNI: want 1 to 16777215, got 0$/],
  [{ VNI: 16_777_216 }, /^Backend\.VNI: want 1 to 16777215, got 16777216$/],
  [{ VNI: "1" }, /^Backend\.VNI: /],
  [{ VNI: 1.5 }, /^Backend\.VNI: /],
  [{ Port: 65_536 }, /^Backend\.Port: want 0 to 65535, got 65536$/],
  [{ Port: -1 }, /^Backend\.Port: /],
  [{ MTU: 1279 }, /^Backend\.MTU: want 1280 to 65535, got 1279$/],
  [{ MTU: 65_536 }, /^Backend\.MTU: /],
  [{ GBP: "yes" }, /^Backend\.GBP: /],
  [{ Learning: 1 }, /^Backend\.Learning: /],
];
for (const [section, error] of OPTIONS) {
  Deno.test(`vxlanOptions: refuses ${JSON.stringify(section)}`, () => {
    const conf = JSON.stringify({ Network: "10.0.0.0/8", Backend: { Type: "vxlan", ...section } });
    assert.throws(
      () => vxlanOptions(parseNetConf(conf)),
      (e) => e instanceof SyntaxError && error.test(e.message),
    );
  });
}

Deno.test("vxlanOptions: names match in any case; the default port is 8472", () => {
  const conf = '{"Network":"10.0.0.0/8","Backend":{"type":"VXLAN","vni":9,"PORT":0,"gbp":true}}';
  assert.deepEqual(vxlanOptions(parseNetConf(conf)), {
    vni: 9,
    port: 8472,
    gbp: true,
    learning: false,
    directRouting: false,
  });
});

Deno.test("vxlan: with DirectRouting peers on the link need no encapsulation, others do", () => {
  const backend = network(V4, { DirectRouting: true });
  const underlay = { ...UNDERLAY, onLink: [parseCidr("192.0.2.0/29")] };
  const { peers } = backend.facts({ underlay, lease: node(1) }, [node(2), node(9)]);
  assert.deepEqual(peers.map(({ facts }) => words(facts)), [
    ["route 10.244.2.0/24 via 192.0.2.2 dev up0"],
    words(factsOf(V4, [node(9)]).peers[0]?.facts ?? []),
  ]);
});
