/**
 * Ten thousand leases: what the store asks of etcd does not grow with them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { request, Scene, until, VALUE, Watching } from "./etcd_scene.ts";
import { EtcdServer } from "./etcd_server.ts";

const MANY = 10_000;
const WIDE = '{"Network":"10.0.0.0/8","Backend":{"Type":"vxlan"}}';

const server = await EtcdServer.start({
  args: [`--max-txn-ops=${MANY}`, "--max-request-bytes=16777216"],
});
globalThis.addEventListener("unload", () => server.signal("SIGKILL"));
Deno.test.afterAll(() => server[Symbol.asyncDispose]());

/** Puts leases, the i-th with the address of the i-th, all in one request. */
async function fill(scene: Scene, from: number, count: number, moved = 0): Promise<void> {
  const puts = Array.from({ length: count }, (_, n) => {
    const i = from + n;
    const key = `${scene.prefix}/subnets/10.${100 + (i >> 8)}.${i & 255}.0-24`;
    const value = VALUE(`172.${16 + moved}.${i >> 8}.${i & 255}`);
    return { request_put: { key: btoa(key), value: btoa(value) } };
  });
  const body = JSON.stringify({ compare: [], success: puts, failure: [] });
  const answer = await fetch(`${server.endpoint}/v3/kv/txn`, { method: "POST", body });
  assert.equal(answer.ok, true, await answer.text());
}

Deno.test({
  name: "etcd: 10,000 leases come in one request and are followed by one watch",
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    await using scene = await Scene.make(server, WIDE);
    await fill(scene, 0, MANY);
    const before = await server.requests();
    /** How often the store has called a method since. */
    const calls = async (): Promise<(method: string) => number> => {
      const now = await server.requests();
      return (method) => (now.get(method) ?? 0) - (before.get(method) ?? 0);
    };
    const store = scene.store();
    const began = performance.now();
    await store.acquire(request("192.168.64.1"), scene.signal);
    const watching = new Watching(store, scene.signal);
    await until("all leases", () => watching.last?.leases.length === MANY + 1, 15_000);
    const took = performance.now() - began;
    assert.ok(took < 10_000, `the start took ${took} ms`);
    await until("the watch", async () => (await calls())("Watch") > 0);
    const start = await calls();
    // The configuration, all leases to choose and all marks; then all leases to begin with.
    assert.ok(start("Range") <= 5, `${start("Range")} range reads`);
    assert.equal(start("Txn"), 1);
    assert.equal(start("LeaseGrant"), 1);
    assert.equal(start("Watch"), 1);
    assert.equal(start("LeaseTimeToLive"), 0);

    const held = new Set(watching.last?.leases);
    await fill(scene, 0, 1_000, 1);
    await until(
      "a thousand moves",
      () =>
        watching.last?.leases.filter((lease) => lease.publicIp?.startsWith("172.17.")).length ===
          1_000,
    );
    assert.equal(watching.last?.leases.filter((lease) => held.has(lease)).length, MANY - 999);
    const later = await calls();
    for (const method of ["Range", "LeaseGrant", "Watch", "LeaseTimeToLive"]) {
      assert.equal(later(method), start(method), `${method} for changes`);
    }
    assert.equal(store.status().gaps, 0);
  },
});
