import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import { parseIp } from "../../engine/ip.ts";
import {
  address,
  bridge,
  ENV,
  ENV_DUAL,
  fdb,
  HEALTHY,
  inspect,
  neighbour,
  peer,
  peer6,
  route,
  uplink,
  vtep,
  vtep6,
} from "./scene.ts";

/** Node 1 with these peer entries instead of healthy ones. */
function node(...peers: readonly Fact[]): Fact[] {
  return [...uplink(), ...vtep(), ...bridge(), ...peers];
}

const [route2, neighbour2, fdb2] = peer(2);
const [route3, neighbour3] = peer(3);
const down = vtep().map((fact) => fact.kind === "up" ? { ...fact, up: false } : fact);

function renamed(fact: Fact, name: string): Fact {
  return "dev" in fact ? { ...fact, dev: name } : { ...fact, name } as Fact;
}

/** Facts, and the findings that they must cause: subject and id. */
const FAULTS: Readonly<Record<string, readonly [facts: Fact[], findings: readonly string[]]>> = {
  "no neighbour, no FDB entry": [node(...peer(3), route2), ["10.244.2.0/24 no-neighbour"]],
  "no neighbour, its FDB entry is left over": [
    node(...peer(3), route2, fdb2),
    ["10.244.2.0/24 no-neighbour"],
  ],
  "no FDB entry": [node(...peer(3), route2, neighbour2), ["10.244.2.0/24 no-fdb"]],
  "no route": [node(...peer(3), neighbour2, fdb2), ["10.244.2.0 no-route"]],
  "only a neighbour": [node(...peer(3), neighbour2), ["10.244.2.0 no-route", "10.244.2.0 no-fdb"]],
  "stale FDB entry": [node(...peer(3), fdb2), ["02:00:00:00:02:04 stale-fdb"]],
  "two strays are not given to two broken peers by guess": [
    node(route2, fdb2, route3, neighbour3, fdb("flannel.1", "02:00:00:00:09:04", "192.0.2.9")),
    [
      "10.244.2.0/24 no-neighbour",
      "10.244.3.0/24 no-fdb",
      "02:00:00:00:02:04 stale-fdb",
      "02:00:00:00:09:04 stale-fdb",
    ],
  ],
  "one stray is not given to one of two broken peers by guess": [
    node(
      route2,
      neighbour2,
      route3,
      neighbour3,
      fdb("flannel.1", "02:00:00:00:09:04", "192.0.2.9"),
    ),
    ["10.244.2.0/24 no-fdb", "10.244.3.0/24 no-fdb", "02:00:00:00:09:04 stale-fdb"],
  ],
  "neighbour and FDB entry disagree about the MAC address": [
    node(...peer(3), route2, neighbour2, fdb("flannel.1", "02:00:00:00:02:ff", "192.0.2.2")),
    ["10.244.2.0/24 mac-mismatch"],
  ],
  "two FDB entries for one MAC address": [
    node(...peer(2), fdb("flannel.1", "02:00:00:00:02:04", "192.0.2.9")),
    ["10.244.2.0/24 fdb-twice"],
  ],
  "two peers with one MAC address": [
    node(...peer(2), route3, neighbour("flannel.1", "10.244.3.0", "02:00:00:00:02:04")),
    ["10.244.2.0/24 shared-mac", "10.244.3.0/24 shared-mac"],
  ],
  "two peers with one public IP": [
    node(...peer(2), route3, neighbour3, fdb("flannel.1", "02:00:00:00:03:04", "192.0.2.2")),
    ["10.244.2.0/24 shared-public-ip", "10.244.3.0/24 shared-public-ip"],
  ],
  "FDB entry leads to this node": [
    node(route2, neighbour2, fdb("flannel.1", "02:00:00:00:02:04", "192.0.2.1")),
    ["10.244.2.0/24 own-address"],
  ],
  "route without a gateway": [
    node(route("10.244.2.0/24", "flannel.1", { protocol: 3 })),
    ["10.244.2.0/24 no-gateway"],
  ],
  "another route with a better metric": [
    node(
      { ...route2, metric: 100 },
      neighbour2,
      fdb2,
      route("10.244.2.0/24", "eth0", { protocol: 4 }),
    ),
    ["10.244.2.0/24 shadowed-route"],
  ],
  "a blackhole with a better metric": [
    node(
      { ...route2, metric: 100 },
      neighbour2,
      fdb2,
      route("10.244.2.0/24", undefined, { blackhole: true }),
    ),
    ["10.244.2.0/24 shadowed-route"],
  ],
  "this node's own subnet is routed to a peer": [
    node(
      ...peer(1).map((fact) =>
        fact.kind === "fdb" ? { ...fact, remote: parseIp("192.0.2.9") } : fact
      ),
    ),
    ["10.244.1.0/24 own-subnet"],
  ],
  "a peer outside the network": [
    node(
      route("10.99.2.0/24", "flannel.1", { gateway: "10.99.2.0", onlink: true, protocol: 146 }),
      neighbour("flannel.1", "10.99.2.0", "02:00:00:00:02:04"),
      fdb2,
    ),
    ["10.99.2.0/24 outside-network"],
  ],
  "a second VTEP is of another network, and judged without its subnets": [
    [
      ...node(...peer(3)),
      ...vtep().map((fact) => renamed(fact, "flannel.2")).filter(({ kind }) => kind !== "address"),
      address("flannel.2", "10.99.1.0/32"),
      route("10.99.2.0/24", "flannel.2", { gateway: "10.99.2.0", onlink: true, protocol: 146 }),
      neighbour("flannel.2", "10.99.2.0", "02:00:00:00:02:04"),
    ],
    ["10.99.2.0/24 no-fdb"],
  ],
  "IPv6: no FDB entry": [
    [...node(...peer(2)), ...vtep6(), ...peer6(2).slice(0, 2), ...peer6(3)],
    ["fd00:244:0:2::/64 no-fdb"],
  ],
  "IPv6: no neighbour": [
    [...node(...peer(2)), ...vtep6(), peer6(2)[0], ...peer6(3)],
    ["fd00:244:0:2::/64 no-neighbour"],
  ],
};

for (const [name, [facts, expected]] of Object.entries(FAULTS)) {
  Deno.test(`peers: ${name}`, async (t) => {
    const env = name.startsWith("IPv6") ? ENV_DUAL : ENV;
    const scene = { facts, files: { "/run/flannel/subnet.env": env } };
    const json = await inspect("peers -o json", scene);
    const { findings, items } = JSON.parse(json.stdout);
    assert.deepEqual(
      findings.map((one: Record<string, string>) => `${one.subject} ${one.id}`),
      expected,
    );
    assert.equal(json.code, 1);
    assert.equal(json.stderr, "");
    // Each finding is also said at its peer.
    const said = items.flatMap((item: { name: string; problems: string[] }) =>
      item.problems.map((id) => `${item.name} ${id}`)
    );
    assert.deepEqual(said, expected);
    const text = await inspect("peers", scene);
    assert.equal(text.code, 1);
    await t.assertSnapshot(text.stdout);
  });
}

Deno.test("peers: a healthy node is fine, flannel's peers too", async (t) => {
  const outcome = await inspect("peers");
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stderr, "");
  await t.assertSnapshot(outcome.stdout);
});

Deno.test("peers: JSON of a healthy node in both families", async (t) => {
  const facts = [...HEALTHY, ...vtep6(), ...peer6(2)];
  const outcome = await inspect("peers -o json", {
    facts,
    files: { "/run/flannel/subnet.env": ENV_DUAL },
  });
  assert.equal(outcome.code, 0);
  await t.assertSnapshot(JSON.parse(outcome.stdout));
});

Deno.test("peers: nodes on the same link are reached directly and need no VTEP entries", async (t) => {
  const facts = [
    ...uplink(),
    ...bridge(),
    route("10.244.2.0/24", "eth0", { gateway: "192.0.2.2", protocol: 146 }),
  ];
  const env = ENV.replace("1450", "1500");
  const files = { "/run/flannel/subnet.env": env };
  const outcome = await inspect("peers -o wide", { facts, files });
  assert.equal(outcome.code, 0);
  await t.assertSnapshot(outcome.stdout);
});

Deno.test("peers: learned and foreign entries are no peers", async () => {
  const facts = [
    ...HEALTHY,
    fdb("flannel.1", "00:00:00:00:00:00", "192.0.2.9"),
    fdb("vxlan9", "02:00:00:00:07:04", "192.0.2.7"),
    neighbour("flannel.1", "ff02::16", "33:33:00:00:00:16"),
    address("eth0", "10.99.0.1/24"),
    route("10.99.0.0/24", "eth0"),
  ];
  const outcome = await inspect("peers -o name", { facts });
  assert.deepEqual(outcome, { code: 0, stdout: "10.244.2.0/24\n10.244.3.0/24\n", stderr: "" });
});

Deno.test("peers: without a subnet file the devices tell, and that is said", async () => {
  const outcome = await inspect("peers -o name", { files: {} });
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stdout, "10.244.2.0/24\n10.244.3.0/24\n");
  assert.match(outcome.stderr, /^No \/run\/flannel\/subnet\.env: judged by overlay devices alone/);
});

Deno.test("peers: a VTEP that is down or gone is a finding, though no peer is left to name", async () => {
  for (
    const [facts, id] of [
      [[...uplink(), ...down, ...bridge()], "device-down"],
      [[...uplink(), ...bridge()], "no-vtep"],
    ] as const
  ) {
    const outcome = await inspect("peers -o json", { facts });
    assert.equal(outcome.code, 1);
    const { items, findings } = JSON.parse(outcome.stdout);
    assert.deepEqual(items, []);
    assert.deepEqual(findings.map((one: { id: string }) => one.id), [id]);
  }
});

Deno.test("peers: what a VTEP keeps while it is down is not taken for stale", async () => {
  const facts = [
    ...uplink(),
    ...down,
    ...bridge(),
    fdb2,
    fdb("flannel.1", "02:00:00:00:03:04", "192.0.2.3"),
  ];
  const outcome = await inspect("peers", { facts });
  assert.equal(outcome.code, 1);
  assert.match(
    outcome.stdout,
    /^- +- +192\.0\.2\.2 .* VTEP is down\n- +- +192\.0\.2\.3 .* VTEP is down$/m,
  );
  assert.match(outcome.stdout, /^1 problem$/m);
});

Deno.test("peers: a node alone is fine", async () => {
  const outcome = await inspect("peers", { facts: [...uplink(), ...vtep()] });
  assert.deepEqual(outcome, {
    code: 0,
    stdout: "",
    stderr: "No peers: no route leads into 10.244.0.0/16\n",
  });
});

Deno.test("peers: a node without any overlay is not judged", async () => {
  const outcome = await inspect("peers", { facts: uplink(), files: {} });
  assert.equal(outcome.code, 3);
  assert.equal(outcome.stdout, "");
  assert.match(outcome.stderr, /Cannot tell about peers: this node has no overlay device/);
});
