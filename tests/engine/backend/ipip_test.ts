import assert from "node:assert/strict";
import type { Backend, BackendFacts } from "../../../engine/backend/backend.ts";
import { makeBackend } from "../../../engine/backend/registry.ts";
import { relayTable } from "../../../engine/backend/udp.ts";
import { describe, type Fact, TWILL_PROTOCOL } from "../../../engine/fact.ts";
import { parseCidr, parseCidr4, parseIp, parseIp4 } from "../../../engine/ip.ts";
import type { Lease } from "../../../engine/lease.ts";
import { parseNetConf } from "../../../engine/net_conf.ts";
import { plan } from "../../../engine/plan.ts";
import { UNDERLAY } from "../facts.ts";

function backendOf(backend: Record<string, unknown>, more: Record<string, unknown> = {}): Backend {
  return makeBackend(parseNetConf(JSON.stringify({
    Network: "10.244.0.0/16",
    ...more,
    Backend: backend,
  })));
}

function node(n: number, backendType: string, publicIp = `192.0.2.${n}`): Lease {
  return {
    subnet: parseCidr4(`10.244.${n}.0/24`),
    publicIp: parseIp4(publicIp),
    backendType,
  };
}

function words(facts: readonly Fact[]): string[] {
  return facts.map((fact) => `${fact.kind} ${describe(fact)}`);
}

function factsOf(backend: Record<string, unknown>, peers: readonly Lease[]): BackendFacts {
  const type = String(backend["Type"]);
  const onLink = [parseCidr("192.0.2.0/24")];
  const self = { underlay: { ...UNDERLAY, onLink }, lease: node(1, type === "udp" ? "" : type) };
  return backendOf(backend).facts(self, peers);
}

function reasons({ bad }: BackendFacts): string[] {
  return bad.map(({ reason }) => reason);
}

Deno.test("ipip: one device, and a route by each peer's public address on it", () => {
  const found = factsOf({ Type: "ipip" }, [node(2, "ipip")]);
  assert.deepEqual(words(found.own), [
    "link flannel.ipip type ipip local 192.0.2.1 mtu 1480",
    "address 10.244.1.0/32 dev flannel.ipip",
    "up flannel.ipip up",
  ]);
  assert.deepEqual(words(found.peers[0]?.facts ?? []), [
    "route 10.244.2.0/24 via 192.0.2.2 dev flannel.ipip onlink",
  ]);
  assert.deepEqual(found.bad, []);
});

Deno.test("ipip: DirectRouting leaves the tunnel to peers that are not on the link", () => {
  const peers = [node(2, "ipip"), node(3, "ipip", "203.0.113.3")];
  const found = factsOf({ Type: "ipip", DirectRouting: true }, peers);
  assert.deepEqual(found.peers.flatMap(({ facts }) => words(facts)), [
    "route 10.244.2.0/24 via 192.0.2.2 dev up0",
    "route 10.244.3.0/24 via 203.0.113.3 dev flannel.ipip onlink",
  ]);
});

Deno.test("ipip and udp: peers of another backend, or with our address, are named", () => {
  assert.deepEqual(
    reasons(factsOf({ Type: "ipip" }, [node(2, "vxlan"), node(3, "ipip", "192.0.2.1")])),
    [
      'its backend is "vxlan", ours is ipip',
      "its public address 192.0.2.1 is also this node's",
    ],
  );
  assert.deepEqual(
    reasons(factsOf({ Type: "udp" }, [node(2, "vxlan"), node(3, "", "192.0.2.1")])),
    [
      'its backend is "vxlan", ours is udp',
      "its public address 192.0.2.1 is also this node's",
    ],
  );
});

Deno.test("ipip: what flannel left on its device is ours, and so are routes of our other backends", () => {
  const backend = backendOf({ Type: "ipip" });
  const route = (dev: string, protocol: number, via: string): Fact => ({
    kind: "route",
    where: "host",
    dst: parseCidr("10.244.9.0/24"),
    via: parseIp(via),
    dev,
    onlink: true,
    protocol,
    multipath: false,
  });
  assert.equal(backend.ours()(route("flannel.ipip", 3, "192.0.2.9")), true);
  assert.equal(backend.ours()(route("flannel.1", TWILL_PROTOCOL, "10.244.9.0")), true);
  assert.equal(backend.ours()(route("up0", 3, "192.0.2.9")), false);
});

Deno.test("ipip: a device with a fixed other end or another source is made anew", () => {
  const { own } = factsOf({ Type: "ipip" }, []);
  const [link] = own;
  assert.ok(link?.kind === "link");
  const ours = backendOf({ Type: "ipip" }).ours();
  for (
    const driver of [
      { kind: "ipip", local: parseIp("192.0.2.1"), anyPeer: false },
      { kind: "ipip", local: parseIp("192.0.2.7"), anyPeer: true },
      { kind: "other", name: "gre" },
    ] as const
  ) {
    const { changes } = plan([link], [{ ...link, driver }], ours);
    assert.deepEqual(changes.map(({ op }) => op), ["delete", "put"], JSON.stringify(driver));
  }
  assert.deepEqual(plan([link], [link], ours).changes, []);
});

Deno.test("udp: one route for the network; peers are the relay's, and have no facts", () => {
  const found = factsOf({ Type: "udp" }, [node(2, "")]);
  assert.deepEqual(words(found.own), [
    "link flannel0 type tun mtu 1472",
    "address 10.244.1.0/32 dev flannel0",
    "up flannel0 up",
    "route 10.244.0.0/16 dev flannel0",
  ]);
  assert.deepEqual(found.peers.map(({ facts }) => facts), [[]]);
  assert.deepEqual(backendOf({ Type: "udp", Port: 8300 }).devices(), { 4: "flannel8300" });
  const self = { underlay: UNDERLAY, lease: node(1, "") };
  const table = relayTable([node(2, ""), node(3, "vxlan")], self);
  assert.equal(table.find(0x0af40205), "192.0.2.2");
  assert.equal(table.find(0x0af40305), undefined);
});

for (const type of ["ipip", "udp"]) {
  Deno.test(`${type}: a network with IPv6 is refused`, () => {
    const ipv6 = { EnableIPv6: true, IPv6Network: "fd00::/48" };
    const message = `Cannot use backend ${type}: it carries IPv4 alone`;
    assert.throws(() => backendOf({ Type: type }, ipv6), { name: "OpError", message });
  });
}

Deno.test("udp: a port that is none is refused", () => {
  assert.throws(() => backendOf({ Type: "udp", Port: 70_000 }), /Backend.Port: want 1 to 65535/);
});
