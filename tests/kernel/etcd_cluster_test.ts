/**
 * An etcd of three members, of which some are killed, paused, or without a leader. The tests share
 * the cluster and leave it whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EtcdClient } from "../../daemon/store/etcd.ts";
import type { EtcdStore } from "../../daemon/store/etcd_store.ts";
import { request, Scene, until, VALUE, Watching } from "./etcd_scene.ts";
import { EtcdServer } from "./etcd_server.ts";

const servers = await EtcdServer.cluster(3, { args: ["--grpc-keepalive-min-time=100ms"] });
globalThis.addEventListener("unload", () => servers.forEach((server) => server.signal("SIGKILL")));
Deno.test.afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
});
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

/** A store that asks the members in the given order, with a lease that it renews each second. */
async function join(
  scene: Scene,
  order: readonly EtcdServer[],
  life = { ttl: 4, margin: 3_000 },
): Promise<[EtcdStore, Watching]> {
  const endpoints = order.map(({ endpoint }) => endpoint);
  const etcd = new EtcdClient({ endpoints, deadline: 1_500, silence: 600 });
  const store = scene.store({ etcd, ...life });
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  return [store, watching];
}

/** A peer that comes is seen, and the own lease lives on. */
async function works(scene: Scene, store: EtcdStore, watching: Watching): Promise<void> {
  const ends = store.status().leaseEnds ?? 0;
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await until("the peer", () => watching.subnets().includes("10.5.2.0/24"), 8_000);
  await until("a renewal", () => (store.status().leaseEnds ?? 0) > ends);
  assert.ok(watching.subnets().includes("10.5.1.0/24"));
  assert.doesNotMatch(scene.lines.join(""), /Lease is lost/);
}

/** The one of these members that leads; waits for an election. */
async function leaderOf(members: readonly EtcdServer[]): Promise<EtcdServer> {
  let found: EtcdServer | undefined;
  await until("a leader", async () => {
    for (const one of members) if (await one.leads()) found = one;
    return found !== undefined;
  }, 8_000);
  return found!;
}

/** Ends a member until the scope does. */
async function without(...gone: readonly EtcdServer[]): Promise<AsyncDisposable> {
  await Promise.all(gone.map((server) => server.stop()));
  return {
    [Symbol.asyncDispose]: async () => void await Promise.all(gone.map((server) => server.start())),
  };
}

test("etcd: the member that serves us is killed, and another one takes over", async () => {
  const leader = await leaderOf(servers);
  const [first, second] = servers.filter((server) => server !== leader) as [EtcdServer, EtcdServer];
  await using scene = await Scene.make(second);
  const [store, watching] = await join(scene, [first, second, leader]);
  await using _gone = await without(first);
  await works(scene, store, watching);
  await until("connected", () => store.status().connected);
});

test("etcd: the leader is killed, and nothing gets lost in the election", async () => {
  const leader = await leaderOf(servers);
  const rest = servers.filter((server) => server !== leader);
  await using scene = await Scene.make(rest[0]!);
  const [store, watching] = await join(scene, [leader, ...rest]);
  await using _gone = await without(leader);
  await leaderOf(rest);
  await works(scene, store, watching);
});

test("etcd: a member that is paused is left, also by a watch that only waits", async () => {
  const leader = await leaderOf(servers);
  const [first, second] = servers.filter((server) => server !== leader) as [EtcdServer, EtcdServer];
  await using scene = await Scene.make(second);
  const [store, watching] = await join(scene, [first, second, leader]);
  first.signal("SIGSTOP");
  try {
    await works(scene, store, watching);
  } finally {
    first.signal("SIGCONT");
  }
});

test("etcd: a member without a leader says so, and is asked again when it has one", async () => {
  const leader = await leaderOf(servers);
  const rest = servers.filter((server) => server !== leader) as [EtcdServer, EtcdServer];
  await using scene = await Scene.make(leader);
  // Nothing but the watch can notice: there is nothing to renew.
  const [store, watching] = await join(scene, [leader], { ttl: 86_400, margin: 3_600_000 });
  {
    await using _gone = await without(...rest);
    await scene.logged(/etcd watch .* closed: http:.*no leader/);
    assert.equal(store.status().connected, false);
    assert.deepEqual(watching.subnets(), ["10.5.1.0/24"], "nothing is forgotten");
  }
  await leaderOf(servers);
  await until("connected", () => store.status().connected);
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
});
