import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import { parseIp } from "../../engine/ip.ts";
import { errors, load } from "./schema.ts";
import { inspect, NOW, route } from "./scene.ts";
import { entry, keyOf, tunnelNode, type Type, WELL } from "./tunnel_scene.ts";

const TYPES: readonly Type[] = ["wireguard", "ipip", "udp"];

const isEntry = (n: number) => (fact: Fact): boolean =>
  fact.kind === "wireguard-peer" && fact.publicKey === keyOf(n);
const isRoute = (n: number) => (fact: Fact): boolean =>
  fact.kind === "route" && fact.dst === `10.244.${n}.0/24`;

const without = (...which: readonly ((fact: Fact) => boolean)[]) => (all: readonly Fact[]) =>
  all.filter((fact) => !which.some((one) => one(fact)));
const changed = (n: number, change: Parameters<typeof entry>[1]) => (all: readonly Fact[]) =>
  all.map((fact) => isEntry(n)(fact) ? entry(n, change) : fact);
const traffic = (change: Partial<typeof WELL>) => {
  const { handshake: _, ...rest } = { ...WELL, ...change };
  return change.handshake === undefined ? rest : { ...rest, handshake: change.handshake };
};

for (const type of TYPES) {
  Deno.test(`inspect: a node of ${type} that is well`, async (t) => {
    for (const command of ["peers", "status", "routes", "diagram", "trace node 10.244.2.7"]) {
      const outcome = await inspect(command, tunnelNode(type));
      await t.assertSnapshot(`exit code ${outcome.code}\n${outcome.stdout}${outcome.stderr}`);
    }
    for (const kind of ["peers", "status", "diagram", "routes", "subnet"]) {
      const { stdout } = await inspect(`${kind} -o json`, tunnelNode(type));
      const document = JSON.parse(stdout);
      assert.deepEqual(errors(load(`inspect_${kind}.json`), document, kind), []);
      assert.deepEqual(document.findings, [], kind);
    }
    const { stdout } = await inspect("check -o json", tunnelNode(type));
    const { items } = JSON.parse(stdout);
    const row = (name: string): string | undefined =>
      items.find((one: Record<string, string>) => one.name === name)?.status;
    assert.deepEqual(["subnet", "peers"].map(row), ["ok", "ok"], stdout);
  });
}

/** Faults, and what `peers` says of them. */
const FAULTS: readonly (readonly [
  name: string,
  type: Type,
  change: (all: readonly Fact[]) => readonly Fact[],
  findings: readonly string[],
])[] = [
  [
    "the peer's entry is gone",
    "wireguard",
    without(isEntry(2)),
    ["10.244.2.0/24 no-wireguard-peer"],
  ],
  ["the peer's route is gone", "wireguard", without(isRoute(2)), ["10.244.2.0/24 no-route"]],
  [
    "nothing is there of a peer",
    "wireguard",
    without(isEntry(2), isRoute(2)),
    ["10.244.2.0/24 not-programmed"],
  ],
  [
    "a peer that was sent to has never answered",
    "wireguard",
    changed(2, { traffic: traffic({ alive: false, received: 0, sent: 740 }) }),
    ["10.244.2.0/24 no-handshake"],
  ],
  [
    "a peer that nobody has sent to is well",
    "wireguard",
    changed(2, { traffic: traffic({ alive: false, received: 0, sent: 0 }) }),
    [],
  ],
  [
    "a quiet peer is well",
    "wireguard",
    changed(2, { traffic: { ...WELL, alive: false, handshake: NOW - 3_600_000 } }),
    [],
  ],
  [
    "a peer with a keepalive is quiet",
    "wireguard",
    changed(2, {
      keepalive: 25,
      traffic: { ...WELL, alive: false, handshake: NOW - 3_600_000 },
    }),
    ["10.244.2.0/24 no-handshake"],
  ],
  [
    "the peer's networks were taken by a foreign one",
    "wireguard",
    (all) => [
      ...changed(2, { allowed: [] })(all),
      entry(9, { allowed: entry(2).allowed }),
    ],
    ["10.244.2.0/24 differs-from-lease", `${keyOf(2)} idle-wireguard-peer`],
  ],
  [
    "flannel's one route for all",
    "wireguard",
    (all) => [
      ...without(isRoute(2), isRoute(3))(all),
      route("10.244.0.0/16", "flannel-wg", { protocol: 3 }),
    ],
    ["10.244.2.0/24 differs-from-lease", "10.244.3.0/24 differs-from-lease"],
  ],
  [
    "flannel's one route, and no peer at all",
    "wireguard",
    (all) => [
      ...without(isEntry(2), isEntry(3), isRoute(2), isRoute(3))(all),
      route("10.244.0.0/16", "flannel-wg", { protocol: 3 }),
    ],
    ["10.244.2.0/24 not-programmed", "10.244.3.0/24 not-programmed"],
  ],
  [
    "the device is down",
    "wireguard",
    (all) =>
      all.map((fact) =>
        fact.kind === "up" && fact.dev === "flannel-wg" ? { ...fact, up: false } : fact
      ),
    ["flannel-wg device-down"],
  ],
  ["the peer's route is gone", "ipip", without(isRoute(2)), ["10.244.2.0/24 not-programmed"]],
  [
    "the route leads to another node",
    "ipip",
    (all) =>
      all.map((fact) => isRoute(2)(fact) ? { ...fact, via: parseIp("192.0.2.3") } as Fact : fact),
    ["10.244.2.0/24 differs-from-lease"],
  ],
  [
    "the one route is gone",
    "udp",
    without((fact) => fact.kind === "route" && fact.dev === "flannel0"),
    ["10.244.2.0/24 not-programmed", "10.244.3.0/24 not-programmed"],
  ],
];

for (const [name, type, change, findings] of FAULTS) {
  Deno.test(`peers: ${type}: ${name}`, async () => {
    const { stdout } = await inspect("peers -o json", tunnelNode(type, change));
    const document = JSON.parse(stdout);
    assert.deepEqual(
      document.findings.map((one: Record<string, string>) => `${one.subject} ${one.id}`),
      findings,
    );
    assert.deepEqual(errors(load("inspect_peers.json"), document, "peers"), []);
  });
}

Deno.test("peers: WireGuard tells its peers to root alone, and that is said", async () => {
  const scene = { ...tunnelNode("wireguard"), rights: [] };
  const { stdout, stderr } = await inspect("peers", scene);
  assert.match(stdout, /10\.244\.2\.0\/24 .* flannel-wg .* ok/);
  assert.match(stderr, /WireGuard tells its keys, peers and handshakes to root alone/);
});

Deno.test("status: with whom there was no handshake yet", async () => {
  const scene = tunnelNode(
    "wireguard",
    changed(2, { traffic: traffic({ alive: false, received: 0, sent: 0 }) }),
  );
  const { stdout } = await inspect("status", scene);
  assert.match(stdout, /no handshake yet with node2/);
  assert.match(stdout, new RegExp(`UDP port 51820, public key ${keyOf(1).replaceAll("+", "\\+")}`));
});

/** Faults, and what `trace` says of them. */
const WAYS: readonly (readonly [
  name: string,
  type: Type,
  change: (all: readonly Fact[]) => readonly Fact[],
  finding: string,
])[] = [
  ["no entry", "wireguard", without(isEntry(2)), "no-wireguard-peer flannel-wg"],
  [
    "no endpoint",
    "wireguard",
    (all) =>
      all.map((fact) => {
        if (fact.kind !== "wireguard-peer" || !isEntry(2)(fact)) return fact;
        const { remote: _, port: __, ...rest } = fact;
        return rest;
      }),
    "no-endpoint flannel-wg",
  ],
  [
    "the NIC carries less",
    "wireguard",
    (all) =>
      all.map((fact) =>
        fact.kind === "link" && fact.name === "eth0" ? { ...fact, mtu: 1400 } : fact
      ),
    "tunnel-mtu eth0",
  ],
  [
    "the gateway is another node",
    "ipip",
    (all) =>
      all.map((fact) => isRoute(2)(fact) ? { ...fact, via: parseIp("192.0.2.3") } as Fact : fact),
    "wrong-gateway flannel.ipip",
  ],
];

for (const [name, type, change, finding] of WAYS) {
  Deno.test(`trace: ${type}: ${name}`, async () => {
    const { stdout } = await inspect("trace node 10.244.2.7 -o json", tunnelNode(type, change));
    const { findings, items } = JSON.parse(stdout);
    assert.deepEqual(
      findings.map((one: Record<string, string>) => `${one.id} ${one.subject}`),
      [finding],
    );
    assert.equal(items[0].ending, "fails");
  });
}

Deno.test("trace: udp: nobody has the address", async () => {
  const { stdout } = await inspect("trace node 10.244.9.7 -o json", tunnelNode("udp"));
  assert.deepEqual(
    JSON.parse(stdout).findings.map((one: Record<string, string>) => one.id),
    ["no-lease"],
  );
});
