/** The outages that users of flannel know, one test each, with the name they know them by. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { keyOf, readRevision } from "./faults/oracle.ts";
import { Random } from "./faults/random.ts";
import { DEADLINE, Scene } from "./faults/scene.ts";
import { fdb, routes } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT } from "./node.ts";

let scene: Scene;

Deno.test.beforeAll(async () => {
  scene = await Scene.create(new Random(5));
});

Deno.test.afterAll(async () => {
  await scene?.[Symbol.asyncDispose]();
});

/** @param run returns how long the pods may be without an answer, ms; nothing means not at all. */
function pain(name: string, run: () => Promise<number | void>): void {
  Deno.test(`pain: ${name}`, async () => {
    await scene.pinger.lost();
    const allowed = await run() ?? 0;
    const found = await scene.heals();
    if (typeof found !== "number") assert.fail(`${found.join("\n")}\n${scene.tails()}`);
    const lost = await scene.pinger.lost();
    assert.ok(lost <= allowed, `${lost} ms without an answer\n${scene.tails()}`);
  });
}

pain(
  "routes of dead nodes: what left while the daemon was down is gone after its start",
  async () => {
    const { victim } = scene;
    const dead = scene.peers.slice(0, 3);
    await scene.kill();
    for (const peer of dead) await scene.remove(peer);
    await scene.mustBite("dead nodes");
    await scene.restart();
    await scene.heals();
    const left = (await routes(victim)).map(({ dst }) => dst);
    for (const { subnet } of dead) assert.ok(!left.includes(subnet), `${subnet} is still there`);
  },
);

pain("routes of dead nodes: a lease that runs out takes its routes with it", async () => {
  const { etcd } = scene.lab;
  const peer = scene.newPeer();
  const granted = await etcd.must("lease", "grant", "1");
  const id = /lease (\S+) granted/.exec(granted)?.[1] as string;
  await scene.put(peer, `--lease=${id}`);
  await until(
    "the route comes",
    async () => (await routes(scene.victim)).some(({ dst }) => dst === peer.subnet),
  );
  await until("the lease runs out", async () => await etcd.must("get", keyOf(peer.subnet)) === "");
  await scene.ask();
});

pain("wrong VTEP MAC: the old forwarding entry of a peer is gone, thirty times", async () => {
  const [peer] = scene.peers;
  assert.ok(peer !== undefined);
  for (let i = 0; i < 30; i++) await scene.put({ ...peer, mac: scene.random.mac() });
  await scene.heals();
  const entries = (await fdb(scene.victim, "flannel.1")).filter(({ dst }) => dst === peer.publicIp);
  assert.equal(entries.length, 1);
});

pain("wrong VTEP MAC: an own device that gets another one gets its own back", async () => {
  await scene.victim.ip("link set flannel.1 address 02:00:00:00:00:77");
  return DEADLINE;
});

pain("device loss: the device comes back with all of its peers", async () => {
  await scene.victim.ip("link delete flannel.1");
  return DEADLINE;
});

pain("device loss: also while there is no daemon", async () => {
  await scene.kill();
  await scene.victim.ip("link delete flannel.1");
  await scene.mustBite("device loss");
  await scene.restart();
  return DEADLINE;
});

pain("NIC flap: routes come back when the interface does", async () => {
  await scene.victim.ip("link set eth0 down");
  // Long enough that the daemon sees each of the two states.
  await new Promise((resolve) => setTimeout(resolve, 300));
  await scene.victim.ip("link set eth0 up", "route add default via 192.168.200.1");
  await scene.victim.ip("link set flannel.1 down", "link set flannel.1 up");
  return DEADLINE;
});

pain("compaction: a daemon that missed changes and their history catches up", async () => {
  const { etcd } = scene.lab;
  scene.freeze();
  await etcd.stop("SIGKILL");
  await etcd.start();
  await scene.remove(scene.peers[0]!);
  await scene.put(scene.newPeer());
  await etcd.must("compact", String(await readRevision(etcd)));
  await scene.mustBite("compaction");
  scene.thaw();
});

pain("malformed key: one bad record changes nothing, and is told", async () => {
  const { etcd } = scene.lab;
  const bad = [keyOf(scene.freeSubnet()), `${keyOf("foo")}`, keyOf("10.244.300.0/24")];
  for (const key of bad) await etcd.must("put", key, "{not json");
  const { victim } = scene;
  await until(
    "the metrics count them",
    async () => (await victim.health("/metrics")).stdout.includes("\ntwill_store_bad_records 3\n"),
  );
  assert.match((await victim.health("/readyz")).stdout, /3 bad records in the store/);
  await scene.put(scene.newPeer());
  const found = await scene.heals();
  assert.equal(typeof found, "number", String(found));
  for (const key of bad) await etcd.must("del", key);
});

pain("malformed key: a start with bad records in the store is like any other", async () => {
  const { etcd } = scene.lab;
  const bad = [keyOf(scene.freeSubnet()), keyOf("foo")];
  await scene.kill();
  for (const key of bad) await etcd.must("put", key, "{not json");
  await scene.put(scene.newPeer());
  await scene.restart();
  await scene.victim.ready();
  const found = await scene.heals();
  assert.equal(typeof found, "number", String(found));
  for (const key of bad) await etcd.must("del", key);
});

pain(
  "SIGTERM: the daemon ends within a second, also without its store, and the data plane stays",
  async () => {
    const { victim, lab } = scene;
    const first = await victim.daemon!.stop("SIGTERM");
    assert.equal(first.code, 0);
    await scene.restart();
    await victim.ready();
    await lab.etcd.stop();
    const second = await victim.daemon!.stop("SIGTERM");
    assert.equal(second.code, 0);
    await lab.etcd.start();
    await scene.restart();
    for (const { milliseconds } of [first, second]) {
      assert.ok(milliseconds < 1000, `it took ${milliseconds} ms`);
    }
  },
);

Deno.test("pain: lost race: four start at once for three subnets, three get one each", async () => {
  const names = ["a", "b", "c", "d"];
  const network = { Network: "10.50.0.0/22", Backend: { Type: "vxlan" } };
  await using lab = await Lab.create({ nodes: names, network, outside: false });
  try {
    await Promise.all(lab.nodes.map((node) => node.startDaemon({ flags: lab.flags })));
    const states = await until("three are ready", async () => {
      const all = await Promise.all(lab.nodes.map(async (node) => ({
        node,
        ready: (await node.health("/readyz")).code === 0,
      })));
      return all.filter(({ ready }) => ready).length === 3 && all;
    });
    const late = states.find(({ ready }) => !ready)!.node;
    const happy = states.filter(({ ready }) => ready).map(({ node }) => node);
    const subnets = happy.map((node) =>
      /FLANNEL_SUBNET=(\S+)/.exec(node.read("/run/flannel/subnet.env")!)?.[1]
    );
    assert.deepEqual(subnets.toSorted(), ["10.50.1.1/24", "10.50.2.1/24", "10.50.3.1/24"]);
    // The fourth waits, says for what, and takes what becomes free.
    const url = `http://127.0.0.1:${HEALTH_PORT}/readyz`;
    await until(
      "the fourth says why it waits",
      async () => (await late.exec(["curl", "-s", url])).stdout.includes("out of subnets"),
    );
    assert.equal(late.daemon!.code, undefined);
    await happy[0]!.daemon!.stop("SIGTERM");
    await lab.etcd.must("del", keyOf(subnets[0]!.replace("1/24", "0/24")));
    await late.ready(40);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});
