/** What the daemon, its snapshot or a lease file add to what the kernel tells. */

import assert from "node:assert/strict";
import { parseIp4 } from "../../engine/ip.ts";
import { answers, DAEMON, lease, MEMORY, snapshot } from "./known.ts";
import {
  bridge,
  ENV,
  fdb,
  HEALTHY,
  inspect,
  neighbour,
  type Outcome,
  peer,
  type Scene,
  uplink,
  vtep,
} from "./scene.ts";

const BOTH = [...uplink(), ...vtep(), ...bridge()];

/** What a command found: `SUBJECT ID`. */
function findings({ stdout }: Outcome): string[] {
  return JSON.parse(stdout).findings
    .map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`);
}

const SOURCES: Readonly<Record<string, Scene>> = {
  "status socket": { status: answers() },
  "snapshot": { files: snapshot() },
};

for (const [source, scene] of Object.entries(SOURCES)) {
  Deno.test(`${source}: names the nodes, and finds nothing on a healthy node`, async () => {
    for (const command of ["routes", "peers", "leases"]) {
      const outcome = await inspect(`${command} -o json`, scene);
      assert.deepEqual(findings(outcome), [], command);
      assert.equal(outcome.code, 0, command);
      const { items, sources } = JSON.parse(outcome.stdout);
      const names = items.map(({ node }: { node: string }) => node);
      assert.ok(names.includes("node2") && names.includes("node3"), `${command}: ${names}`);
      assert.deepEqual(sources[command === "leases" ? "items" : "items.node"], [source]);
    }
  });

  Deno.test(`${source}: a peer of which the kernel holds nothing is named, with its repair`, async () => {
    const facts = [...BOTH, ...peer(3)];
    const peers = await inspect("peers -o json", { ...scene, facts });
    assert.deepEqual(findings(peers), ["10.244.2.0/24 not-programmed"]);
    assert.equal(
      JSON.parse(peers.stdout).findings[0].command,
      "ip neighbour replace 10.244.2.0 lladdr 02:00:00:00:02:04 dev flannel.1 nud permanent && " +
        "bridge fdb replace 02:00:00:00:02:04 dev flannel.1 dst 192.0.2.2 && " +
        "ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink proto 146",
    );
    const leases = await inspect("leases -o json", { ...scene, facts });
    assert.deepEqual(findings(leases), ["10.244.2.0/24 not-programmed"]);
  });

  Deno.test(`${source}: a peer that is whole but not as its lease says`, async () => {
    const [route] = peer(2);
    const wrong = [
      route,
      neighbour("flannel.1", "10.244.2.0", "02:00:00:00:02:ff"),
      fdb("flannel.1", "02:00:00:00:02:ff", "192.0.2.2"),
    ];
    const facts = [...BOTH, ...wrong, ...peer(3)];
    assert.deepEqual(findings(await inspect("peers -o json", { facts })), []);
    assert.deepEqual(findings(await inspect("peers -o json", { ...scene, facts })), [
      "10.244.2.0/24 differs-from-lease",
    ]);
  });

  Deno.test(`${source}: the repair of a broken peer is exact`, async () => {
    const facts = [...BOTH, peer(2)[0], ...peer(3)];
    const outcome = await inspect("peers -o json", { ...scene, facts });
    assert.deepEqual(findings(outcome), ["10.244.2.0/24 no-neighbour"]);
    assert.match(JSON.parse(outcome.stdout).findings[0].command, /lladdr 02:00:00:00:02:04 dev/);
  });
}

Deno.test("peers: who has no lease is named by a daemon that runs, not by a snapshot", async () => {
  const facts = [...HEALTHY, ...peer(4)];
  const live = await inspect("peers -o json", { status: answers(), facts });
  assert.deepEqual(findings(live), ["10.244.4.0/24 no-lease"]);
  assert.deepEqual(findings(await inspect("peers -o json", { files: snapshot(), facts })), []);
});

Deno.test("peers, leases: a lease that cannot be used says why", async () => {
  const bad = { ...lease(4), backendType: "host-gw" };
  const status = answers({ ...DAEMON, leases: { ...MEMORY, leases: [...MEMORY.leases, bad] } });
  for (const command of ["peers", "leases"]) {
    const outcome = await inspect(`${command} -o json`, { status });
    assert.deepEqual(findings(outcome), ["10.244.4.0/24 unusable-lease"], command);
    assert.match(outcome.stdout, /its backend is \\"host-gw\\", ours is vxlan/);
  }
});

Deno.test("leases: the table, and what is wrong with a store", async (t) => {
  const twin = { ...lease(3), publicIp: parseIp4("192.0.2.2") };
  const status = answers({
    ...DAEMON,
    store: { ...DAEMON.store, bad: [{ who: "/x/10.244.9.0-24", reason: "no JSON" }] },
    leases: { ...MEMORY, leases: [lease(1), lease(2), twin] },
  });
  const outcome = await inspect("leases", { status });
  assert.equal(outcome.code, 1);
  await t.assertSnapshot(outcome.stdout);
  assert.equal((await inspect("leases -o name", { status })).stdout.split("\n")[0], "node1");
});

Deno.test("leases: one that ended is a finding, and its age is told", async () => {
  const scene = { status: answers(), now: MEMORY.ends! + 90_000 };
  const outcome = await inspect("leases", scene);
  assert.match(outcome.stdout, / -1m30s +ended\n/);
  assert.deepEqual(findings(await inspect("leases -o json", scene)), ["10.244.1.0/24 lease-ended"]);
});

Deno.test("leases: of a snapshot it is said how old they are", async () => {
  const { stderr } = await inspect("leases", { files: snapshot() });
  assert.equal(stderr, "The daemon does not answer: these are of 2025-12-31T23:59:00.000Z\n");
});

Deno.test("leases: without daemon and snapshot nothing can be told", async () => {
  const outcome = await inspect("leases");
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /the daemon does not answer .* no snapshot in \/var\/lib\/twill\n$/);
});

const LEASE_FILE = `
config: { Network: 10.244.0.0/16, Backend: { Type: vxlan } }
nodes:
  - { name: a, publicIP: 192.0.2.1, subnet: 10.244.1.0/24, backendData: { VtepMAC: "02:00:00:00:01:04" } }
  - { name: b, publicIP: 192.0.2.2, subnet: 10.244.2.0/24, backendData: { VtepMAC: "02:00:00:00:02:04" } }
  - { name: c, publicIP: 192.0.2.3, subnet: 10.244.3.0/24, backendData: { VtepMAC: "02:00:00:00:03:04" } }
`;

Deno.test("leases --lease-file: the leases of a file, compared with the kernel", async () => {
  const files = { "/run/flannel/subnet.env": ENV, "/etc/leases.yaml": LEASE_FILE };
  const outcome = await inspect("leases --lease-file /etc/leases.yaml -o json", { files });
  assert.deepEqual(findings(outcome), []);
  const { items, sources } = JSON.parse(outcome.stdout);
  assert.deepEqual(
    items.map((item: { node: string; status: string }) => [item.node, item.status]),
    [
      ["a", "this node"],
      ["b", "ok"],
      ["c", "ok"],
    ],
  );
  assert.deepEqual(sources.items, ["lease file"]);
  const broken = await inspect("leases --lease-file /etc/leases.yaml", {
    files: { "/etc/leases.yaml": "nodes: 7" },
  });
  assert.equal(broken.code, 3);
  assert.match(broken.stderr, /^Cannot use lease file \/etc\/leases.yaml: /);
});

Deno.test("a snapshot or an answer that cannot be read is told, and holds nothing back", async () => {
  const files = { "/run/flannel/subnet.env": ENV, "/var/lib/twill/snapshot.json": "{" };
  const outcome = await inspect("peers", { files, status: { "/status": '{"schema":9}' } });
  assert.equal(outcome.code, 0);
  assert.match(outcome.stderr, /^Cannot use what \/run\/twill\/status.sock answers: /);
  assert.match(outcome.stderr, /\nCannot use \/var\/lib\/twill\/snapshot.json: /);
});

Deno.test("--instance: another daemon's socket and snapshot", async () => {
  const files = { "/s/snapshot-blue.json": snapshot()["/var/lib/twill/snapshot.json"]! };
  const outcome = await inspect("leases -o json --instance blue --state-dir /s", { files });
  assert.equal(JSON.parse(outcome.stdout).items.length, 3);
  assert.equal((await inspect("leases --instance ../x")).code, 2);
});
