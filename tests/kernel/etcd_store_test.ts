/**
 * The etcd store against a real etcd. One server serves all tests, each below a prefix of its own;
 * tests that stop etcd have their own server.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EtcdClient } from "../../daemon/store/etcd.ts";
import type { WatchEnd } from "../../daemon/store/etcd_api.ts";
import { sleep } from "../../daemon/wait.ts";
import { parseCidr4, parseCidr6 } from "../../engine/ip.ts";
import { CONFIG, DAY, DUAL, request, Scene, TINY, until, VALUE, Watching } from "./etcd_scene.ts";
import { EtcdServer } from "./etcd_server.ts";

const server = await EtcdServer.start();
globalThis.addEventListener("unload", () => server.signal("SIGKILL"));
Deno.test.afterAll(() => server[Symbol.asyncDispose]());
/** The gRPC library leaves a keepalive timer behind (it does not keep a program from ending). */
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

test("etcd: keys and values are flannel's, bit for bit, and live for a day", async () => {
  await using scene = await Scene.make(server);
  const lease = await scene.store().acquire(request("192.168.64.3"), scene.signal);
  assert.equal(lease.subnet, "10.5.1.0/24");
  assert.deepEqual(await scene.leases(), [["10.5.1.0-24", VALUE("192.168.64.3"), DAY]]);
  await scene.logged(/Allocated lease \(ip: 10\.5\.1\.0\/24 ipv6: none\) to current node/);
});

test("etcd: a dual-stack lease has both subnets in its key", async () => {
  await using scene = await Scene.make(server, DUAL);
  const lease = await scene.store().acquire(request("192.168.64.3"), scene.signal);
  assert.equal(lease.subnet6, "fc00:0:0:1::/64");
  assert.deepEqual((await scene.leases()).map(([name]) => name), [
    "10.5.1.0-24&fc00:0:0:1::-64",
  ]);
});

test("etcd: the configuration is waited for until it is there and valid, and told once", async () => {
  await using scene = await Scene.make(server, "");
  const store = scene.store();
  const waiting = store.config(scene.signal);
  await scene.logged(/Couldn't fetch network config: Cannot find etcd key \/t\d+\/network\/config/);
  await sleep(100, scene.signal);
  assert.equal(scene.lines.length, 1);
  assert.match(store.status().problem ?? "", /Cannot find etcd key/);
  assert.equal(store.status().connected, true);
  await scene.server.ctl("put", `${scene.prefix}/config`, '{"Network":"10.5.0.0/16"}');
  await scene.logged(/Backend is missing/);
  await scene.server.ctl("put", `${scene.prefix}/config`, '{"Network":"10.5.0.0/30","Backend":{}}');
  await scene.logged(/network is too small/);
  const v6 = '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fc00::/48","Backend":{}}';
  await scene.server.ctl("put", `${scene.prefix}/config`, v6);
  await scene.logged(/EnableIPv4 cannot be false/);
  await scene.server.ctl("put", `${scene.prefix}/config`, CONFIG);
  assert.equal((await waiting).families[4].network, "10.5.0.0/16");
  assert.equal(store.status().problem, undefined);
});

test("etcd: a prefix is cleaned like a path", async () => {
  await using scene = await Scene.make(server);
  await scene.store({ prefix: `${scene.prefix.replaceAll("/", "//")}/` })
    .acquire(request("192.168.64.3"), scene.signal);
  assert.equal((await scene.leases()).length, 1);
});

test("etcd: a node keeps the lease that names its address, with a fresh day", async () => {
  await using scene = await Scene.make(server);
  const grant = await scene.server.ctl("lease", "grant", "100");
  await scene.put("10.5.7.0-24", VALUE("192.168.64.3"), `--lease=${grant.split(" ")[1]}`);
  const lease = await scene.store().acquire(request("192.168.64.3"), scene.signal);
  assert.equal(lease.subnet, "10.5.7.0/24");
  assert.deepEqual(await scene.leases(), [["10.5.7.0-24", VALUE("192.168.64.3"), DAY]]);
  await scene.logged(/Found lease \(ip: 10\.5\.7\.0\/24 ipv6: none\) for current IP .*, reusing/);
});

test("etcd: an own lease that does not fit the configuration is replaced", async () => {
  await using scene = await Scene.make(server);
  const grant = await scene.server.ctl("lease", "grant", "100");
  await scene.put("10.9.7.0-24", VALUE("192.168.64.3"), `--lease=${grant.split(" ")[1]}`);
  await scene.store().acquire(request("192.168.64.3"), scene.signal);
  assert.deepEqual((await scene.leases()).map(([name]) => name), ["10.5.1.0-24"]);
  await scene.logged(/not compatible with current config, deleting/);
});

test("etcd: the previous subnet is taken again when nobody has it", async () => {
  await using scene = await Scene.make(server);
  const previous = { subnet: parseCidr4("10.5.77.0/24") };
  const one = await scene.store().acquire(request("192.168.64.3", previous), scene.signal);
  assert.equal(one.subnet, "10.5.77.0/24");
  const two = await scene.store().acquire(request("192.168.64.4", previous), scene.signal);
  assert.equal(two.subnet, "10.5.1.0/24");
});

test("etcd: reservations keep their permanence, and their value follows the node", async () => {
  await using scene = await Scene.make(server);
  await scene.put("10.5.9.0-24", '{"PublicIP":"192.168.64.3"}');
  const store = scene.store({ ttl: 2, margin: 1_000 });
  const lease = await store.acquire(request("192.168.64.3"), scene.signal);
  assert.equal(lease.subnet, "10.5.9.0/24");
  assert.deepEqual(await scene.leases(), [["10.5.9.0-24", VALUE("192.168.64.3"), 0]]);
  assert.equal(store.status().leaseEnds, undefined);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.9.0/24");
  await scene.put("10.5.9.0-24", '{"PublicIP":"192.168.64.3"}');
  await until("the value", async () => (await scene.leases())[0]?.[1] === VALUE("192.168.64.3"));
  assert.equal((await scene.leases())[0]?.[2], 0);
});

test("etcd: a lease becomes a reservation, and is not renewed any more", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store({ ttl: 60 });
  await store.acquire(request("192.168.64.3"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  assert.ok(store.status().leaseEnds! > Date.now());
  await scene.put("10.5.1.0-24", VALUE("192.168.64.3"));
  await until("no end", () => store.status().leaseEnds === undefined);
  assert.deepEqual(await scene.leases(), [["10.5.1.0-24", VALUE("192.168.64.3"), 0]]);
});

test("etcd: twenty nodes that start at once get twenty subnets", async () => {
  await using scene = await Scene.make(server);
  const asked = Array.from({ length: 20 }, (_, i) =>
    // All prefer the same subnet: every round but the last is a lost race.
    scene.store({ random: i < 5 ? () => 0 : Math.random }).acquire(
      request(`192.168.64.${i + 1}`),
      scene.signal,
    ));
  const subnets = (await Promise.all(asked)).map((lease) => lease.subnet);
  assert.equal(new Set(subnets).size, 20);
  assert.equal((await scene.leases()).length, 20);
});

test("etcd: out of subnets means to wait until one is free", async () => {
  await using scene = await Scene.make(server, TINY);
  for (const [i, name] of ["10.5.0.4-30", "10.5.0.8-30", "10.5.0.12-30"].entries()) {
    await scene.put(name, VALUE(`192.168.64.${i + 1}`));
  }
  const store = scene.store();
  const waiting = store.acquire(request("192.168.64.9"), scene.signal);
  await scene.logged(/failed to acquire lease: .*out of subnets/);
  assert.match(store.status().problem ?? "", /out of subnets/);
  await scene.server.ctl("del", `${scene.prefix}/subnets/10.5.0.8-30`);
  assert.equal((await waiting).subnet, "10.5.0.8/30");
  assert.equal(store.status().problem, undefined);
});

test("etcd: snapshots are whole, follow each change, and keep unchanged objects", async () => {
  await using scene = await Scene.make(server);
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  const store = scene.store();
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.2.0/24");
  const first = watching.last?.leases[0];
  assert.equal(first?.publicIp, "192.168.64.2");
  assert.equal(watching.last?.own, undefined);
  const own = await store.acquire(request("192.168.64.1"), scene.signal);
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  assert.deepEqual(watching.last?.own, own);
  await scene.put("10.5.3.0-24&fc00:0:0:3::-64", VALUE("192.168.64.3"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24", "10.5.3.0/24");
  assert.equal(
    watching.last?.leases.find((l) => l.subnet6)?.subnet6,
    parseCidr6("fc00:0:0:3::/64"),
  );
  await scene.server.ctl("del", `${scene.prefix}/subnets/10.5.3.0-24&fc00:0:0:3::-64`);
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  assert.ok(watching.last?.leases.includes(first));
  const seen = watching.count;
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await until("a renewal", () => watching.count > seen);
  assert.ok(watching.last?.leases.includes(first), "a renewal changes nothing");
  await scene.put("10.5.2.0-24", VALUE("192.168.64.22"));
  await until("new data", () => watching.last?.leases.some((l) => l.publicIp === "192.168.64.22")!);
  assert.equal(store.status().gaps, 0);
  scene.stop.abort(new Error("stop"));
  await watching.done;
});

test("etcd: a burst of changes coalesces for a slow consumer", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store();
  const snapshots = store.snapshots(scene.signal)[Symbol.asyncIterator]();
  await snapshots.next();
  for (let i = 1; i <= 10; i++) await scene.put(`10.5.${i}.0-24`, VALUE(`192.168.64.${i}`));
  await sleep(100, scene.signal);
  const { value } = await snapshots.next();
  assert.equal(value?.leases.length, 10);
});

test("etcd: malformed records are harmless, counted, and logged once", async () => {
  await using scene = await Scene.make(server);
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  const store = scene.store();
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  await scene.put("foo", "bar");
  await scene.put("10.5.2.0-24", "{not json");
  await scene.put("10.5.4.0-24", '{"PublicIP":7}');
  await scene.server.ctl("put", `${scene.prefix}/subnets-old/10.5.6.0-24`, VALUE("192.168.64.6"));
  await until("three bad records", () => watching.last?.bad.length === 3);
  assert.deepEqual(watching.subnets(), ["10.5.1.0/24", "10.5.2.0/24"], "no peer is lost");
  assert.equal(store.status().bad, 3);
  for (const name of ["foo", "10.5.2.0-24", "10.5.4.0-24"]) {
    await scene.put(name, name === "foo" ? "bar" : '{"PublicIP":7}');
  }
  await scene.put("10.5.5.0-24", VALUE("192.168.64.5"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24", "10.5.5.0/24");
  const told = scene.lines.filter((line) => line.includes("Ignoring a record"));
  // Three records, and the second one once more because it is bad in another way now.
  assert.equal(told.length, 4, told.join(""));
  await scene.put("10.5.2.0-24", VALUE("192.168.64.22"));
  await scene.server.ctl("del", `${scene.prefix}/subnets/foo`);
  await until("one bad record", () => watching.last?.bad.length === 1);
});

test("etcd: a new node does not take the subnet of a record that cannot be read", async () => {
  await using scene = await Scene.make(server);
  await scene.put("10.5.1.0-24", "{not json");
  const lease = await scene.store().acquire(request("192.168.64.1"), scene.signal);
  assert.equal(lease.subnet, "10.5.2.0/24");
});

test("etcd: no silent non-renewal: the timer renews the lease, without any watch", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store({ ttl: 3, margin: 2_500 });
  await store.acquire(request("192.168.64.1"), scene.signal);
  const [first] = await scene.server.dump(`${scene.prefix}/subnets/`);
  await scene.logged(/Lease renewed, new expiration: 20/);
  await sleep(3_500, scene.signal);
  const [now] = await scene.server.dump(`${scene.prefix}/subnets/`);
  assert.equal(now?.value, VALUE("192.168.64.1"));
  assert.notEqual(now?.lease, first?.lease);
  assert.ok(store.status().leaseEnds! > Date.now());
});

test("etcd: a lease that was deleted is acquired again, with the same subnet", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store();
  await store.acquire(request("192.168.64.1", { subnet: parseCidr4("10.5.9.0/24") }), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.9.0/24");
  await scene.server.ctl("del", `${scene.prefix}/subnets/10.5.9.0-24`);
  await scene.logged(/Lease is lost, acquiring one again/);
  await until("the key", async () => (await scene.leases())[0]?.[0] === "10.5.9.0-24");
  await watching.shows("10.5.9.0/24");
});

test("etcd: a lease that was revoked is acquired again, with the same subnet and a mark", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store();
  await store.acquire(request("192.168.64.1", { subnet: parseCidr4("10.5.9.0/24") }), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.9.0/24");
  const [own] = await scene.server.dump(`${scene.prefix}/subnets/`);
  await scene.server.ctl("lease", "revoke", own!.lease.toString(16));
  await scene.logged(/Lease is lost, acquiring one again/);
  await until("the mark", async () => "10.5.9.0-24" in await scene.marks());
  await watching.shows("10.5.9.0/24");
  const [again] = await scene.server.dump(`${scene.prefix}/subnets/`);
  assert.notEqual(again?.lease, own?.lease);
});

test("etcd: a lease that another node took is replaced by another", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store();
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  await scene.put("10.5.1.0-24", VALUE("192.168.64.99"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  await until("a new own lease", () => watching.last?.own?.subnet === "10.5.2.0/24");
});

test("etcd: garbage in the own key is written over", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store();
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  const [{ lease } = { lease: 0n }] = await scene.server.dump(`${scene.prefix}/subnets/`);
  await scene.put("10.5.1.0-24", "garbage", `--lease=${lease.toString(16)}`);
  await until("the value", async () => (await scene.leases())[0]?.[1] === VALUE("192.168.64.1"));
  assert.deepEqual((await scene.leases()).map(([name, , ttl]) => [name, ttl]), [[
    "10.5.1.0-24",
    DAY,
  ]]);
});

test("etcd: two daemons with one address do not write in turns for ever", async () => {
  await using scene = await Scene.make(server);
  const node = { id: "0", name: "one" };
  const [one, two] = [scene.store({ node }), scene.store({ node })];
  await one.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(one, scene.signal);
  await watching.shows("10.5.1.0/24");
  await two.acquire(request("192.168.64.1"), scene.signal);
  new Watching(two, scene.signal);
  await sleep(500, scene.signal);
  const before = watching.count;
  await sleep(300, scene.signal);
  assert.equal(watching.count, before);
  assert.equal((await scene.leases()).length, 1);
});

test("etcd: acquire again with another address keeps the subnet", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store();
  await store.acquire(request("192.168.64.1"), scene.signal);
  const lease = await store.acquire(request("192.168.64.2"), scene.signal);
  assert.equal(lease.subnet, "10.5.1.0/24");
  assert.deepEqual(await scene.leases(), [["10.5.1.0-24", VALUE("192.168.64.2"), DAY]]);
});

test("etcd: waits end with the signal", async () => {
  await using scene = await Scene.make(server, "");
  const store = scene.store();
  const waits = [
    store.config(scene.signal),
    store.acquire(request("192.168.64.1"), scene.signal),
  ];
  await sleep(30, scene.signal);
  scene.stop.abort(new Error("enough"));
  for (const wait of waits) await assert.rejects(wait, { message: "enough" });
});

test("etcd: an outage with a compaction loses nothing, and renewal goes on", async () => {
  await using own = await EtcdServer.start();
  await using scene = await Scene.make(own);
  const store = scene.store({ deadline: 500 });
  await store.acquire(request("192.168.64.1"), scene.signal);
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  await own.stop();
  await until("a problem", () => /connection refused/.test(store.status().problem ?? ""));
  assert.equal(store.status().connected, false);
  assert.deepEqual(watching.subnets(), ["10.5.1.0/24", "10.5.2.0/24"], "nothing is forgotten");
  await own.start();
  await own.ctl("del", `${scene.prefix}/subnets/10.5.2.0-24`);
  await scene.put("10.5.3.0-24", VALUE("192.168.64.3"));
  await own.compact();
  await watching.shows("10.5.1.0/24", "10.5.3.0/24");
  await until("connected", () => store.status().connected);
  assert.ok(store.status().gaps > 0);
  const log = scene.lines.join("");
  const url = own.endpoint.replaceAll(".", "\\.");
  assert.match(
    log,
    new RegExp(`etcd watch for /t\\d+/network/subnets/ closed: ${url}: conn.*;`),
  );
  assert.match(
    log,
    new RegExp(`Cannot list etcd keys /t\\d+/network/subnets/: ${url}: connection refused;`),
  );
  assert.match(log, /etcd answers again/);
  assert.doesNotMatch(log, /Resolution note|UNAVAILABLE|Error: /);
  assert.ok(scene.lines.length < 8, "each trouble is told once");
  await scene.put("10.5.4.0-24", VALUE("192.168.64.4"));
  await watching.shows("10.5.1.0/24", "10.5.3.0/24", "10.5.4.0/24");
});

test("etcd: a watch from before the compaction horizon says so", async () => {
  await using scene = await Scene.make(server);
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await scene.put("10.5.2.0-24", VALUE("192.168.64.3"));
  await server.compact();
  using client = new EtcdClient({ endpoints: [server.endpoint] });
  const why = await new Promise<WatchEnd>((ended) => {
    const nothing = (): void => {};
    client.watch(`${scene.prefix}/subnets/`, "1", { opened: nothing, changed: nothing, ended });
  });
  assert.equal(why.kind, "compacted");
});

test("etcd: a server that does not answer costs a deadline, not a hang", async () => {
  await using own = await EtcdServer.start();
  await using scene = await Scene.make(own);
  const store = scene.store({ deadline: 500 });
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  own.signal("SIGSTOP");
  // Its threads stop one after another.
  await sleep(100, scene.signal);
  const began = performance.now();
  const waiting = store.config(scene.signal);
  await until("a problem", () => store.status().problem !== undefined);
  assert.ok(performance.now() - began < 2_000);
  own.signal("SIGCONT");
  await waiting;
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
});

test("etcd: an endpoint that refuses is passed over", async () => {
  await using scene = await Scene.make(server);
  const etcd = new EtcdClient({ endpoints: ["http://127.0.0.1:1", server.endpoint] });
  const store = scene.store({ etcd });
  const began = performance.now();
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  assert.ok(performance.now() - began < 2_000);
});
