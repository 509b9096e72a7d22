/**
 * Nodes that have the same public IP: found and named, never given one subnet.
 *
 * @module
 */

import assert from "node:assert/strict";
import { sleep } from "../../daemon/wait.ts";
import { parseCidr4 } from "../../engine/ip.ts";
import { request, Scene, until, VALUE, Watching } from "./etcd_scene.ts";
import { EtcdServer } from "./etcd_server.ts";

const server = await EtcdServer.start();
globalThis.addEventListener("unload", () => server.signal("SIGKILL"));
Deno.test.afterAll(() => server[Symbol.asyncDispose]());
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

const NAT = "10.0.2.15";
const A = { id: "a".repeat(32), name: "anna" };
const B = { id: "b".repeat(32), name: "bert" };

test("etcd: a lease is marked, with the life of the lease and where flannel does not look", async () => {
  await using scene = await Scene.make(server);
  await scene.store({ node: A }).acquire(request(NAT), scene.signal);
  assert.deepEqual(await scene.marks(), {
    "10.5.1.0-24": `{"node":"anna","id":"${A.id}","publicIp":"${NAT}"}`,
  });
  const [lease] = await server.dump(`${scene.prefix}/subnets/`);
  const [mark] = await server.dump(`${scene.prefix}/twill/`);
  assert.equal(mark?.lease, lease?.lease);
  await server.ctl("lease", "revoke", lease!.lease.toString(16));
  assert.deepEqual(await scene.marks(), {});
});

test("etcd: two nodes with the same public IP get two subnets, and each is told of the other", async () => {
  await using scene = await Scene.make(server);
  const [one, two] = [scene.store({ node: A }), scene.store({ node: B })];
  await one.acquire(request(NAT), scene.signal);
  new Watching(one, scene.signal);
  const lease = await two.acquire(request(NAT), scene.signal);
  assert.equal(lease.subnet, "10.5.2.0/24");
  await scene.logged(/Found lease \(ip: 10\.5\.1\.0\/24 .*it is another node's.*node=anna/);
  new Watching(two, scene.signal);
  await until("A's remark", () => /node "bert".*--public-ip/.test(one.status().problem ?? ""));
  await until("B's remark", () => /node "anna".*--public-ip/.test(two.status().problem ?? ""));
  assert.equal(one.status().connected, true);
  await sleep(100, scene.signal);
  assert.equal(scene.lines.filter((line) => line.includes("is also that of node")).length, 2);
  // Somebody does what the remark says.
  await two.acquire(request("10.0.2.16"), scene.signal);
  await until("no remark", () => !one.status().problem && !two.status().problem);
  assert.deepEqual((await scene.leases()).map(([name, value]) => [name, value]), [
    ["10.5.1.0-24", VALUE(NAT)],
    ["10.5.2.0-24", VALUE("10.0.2.16")],
  ]);
});

test("etcd: two nodes with the same public IP that start at once are told as well", async () => {
  await using scene = await Scene.make(server);
  const [one, two] = [
    scene.store({ node: A }),
    scene.store({ node: B, random: () => 0.5 }),
  ];
  const got = await Promise.all([one, two].map((s) => s.acquire(request(NAT), scene.signal)));
  assert.equal(new Set(got.map(({ subnet }) => subnet)).size, 2);
  for (const store of [one, two]) new Watching(store, scene.signal);
  await until(
    "remarks",
    () => [one, two].every((s) => /is also that of/.test(s.status().problem ?? "")),
  );
});

test("etcd: a node finds its own lease by its id, among leases with its address", async () => {
  await using scene = await Scene.make(server);
  await scene.store({ node: A }).acquire(request(NAT), scene.signal);
  await scene.store({ node: B }).acquire(request(NAT), scene.signal);
  // Both start again, with no memory of their subnets.
  for (const [node, subnet] of [[B, "10.5.2.0/24"], [A, "10.5.1.0/24"]] as const) {
    const lease = await scene.store({ node }).acquire(request(NAT), scene.signal);
    assert.equal(lease.subnet, subnet);
  }
  assert.equal((await scene.leases()).length, 2);
});

test("etcd: a node whose address changed while it was away keeps its subnet", async () => {
  await using scene = await Scene.make(server);
  await scene.store({ node: A, random: () => 0.5 }).acquire(request(NAT), scene.signal);
  const lease = await scene.store({ node: A }).acquire(request("10.0.2.16"), scene.signal);
  assert.equal(lease.subnet, "10.5.51.0/24");
  assert.deepEqual((await scene.leases()).map(([name, value]) => [name, value]), [
    ["10.5.51.0-24", VALUE("10.0.2.16")],
  ]);
});

test("etcd: a node that lost its id knows its lease by name and previous subnet", async () => {
  await using scene = await Scene.make(server);
  await scene.store({ node: A }).acquire(request(NAT), scene.signal);
  const previous = { subnet: parseCidr4("10.5.1.0/24") };
  const lease = await scene.store({ node: { ...B, name: A.name } })
    .acquire(request(NAT, previous), scene.signal);
  assert.equal(lease.subnet, "10.5.1.0/24");
});

test("etcd: flannel's lease is taken over by its address, mark or not", async () => {
  await using scene = await Scene.make(server);
  await scene.store({ node: B }).acquire(request("10.0.2.99"), scene.signal);
  // flannel takes the subnet: the mark stays behind, bound to another etcd lease.
  const grant = (await server.ctl("lease", "grant", "1000")).split(" ")[1];
  await scene.put("10.5.1.0-24", VALUE(NAT), `--lease=${grant}`);
  const lease = await scene.store({ node: A }).acquire(request(NAT), scene.signal);
  assert.equal(lease.subnet, "10.5.1.0/24");
  assert.match((await scene.marks())["10.5.1.0-24"] ?? "", /anna/);
});

test("etcd: a node without twill that takes our lease is told", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store({ node: A });
  await store.acquire(request(NAT), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  const theirs = VALUE(NAT).replace("c6:d2", "c6:d3");
  const grant = (await server.ctl("lease", "grant", "86400")).split(" ")[1];
  await scene.put("10.5.1.0-24", theirs, `--lease=${grant}`);
  await until(
    "a remark",
    () => /has taken our lease .*10\.5\.1\.0-24/.test(store.status().problem ?? ""),
  );
  // Written once more by us, it is ours.
  await store.acquire(request(NAT), scene.signal);
  assert.equal(store.status().problem, undefined);
});

test("etcd: a reservation is marked too, and the mark renewed without the reservation's life", async () => {
  await using scene = await Scene.make(server);
  await scene.put("10.5.9.0-24", `{"PublicIP":"${NAT}"}`);
  const one = scene.store({ node: A, ttl: 3, margin: 2_500 });
  await one.acquire(request(NAT), scene.signal);
  assert.equal(one.status().leaseEnds, undefined);
  await sleep(3_500, scene.signal);
  assert.match((await scene.marks())["10.5.9.0-24"] ?? "", /anna/);
  assert.deepEqual(await scene.leases(), [["10.5.9.0-24", VALUE(NAT), 0]]);
  const lease = await scene.store({ node: B }).acquire(request(NAT), scene.signal);
  assert.equal(lease.subnet, "10.5.1.0/24");
});
