/** The last good snapshot, and the store that speaks from it. */

import assert from "node:assert/strict";
import { Log } from "../../../daemon/log.ts";
import { MemoryFile } from "../../../daemon/store/memory.ts";
import { RememberingStore } from "../../../daemon/store/remembering.ts";
import type { LeaseRequest, Snapshot, Store } from "../../../daemon/store/store.ts";
import { OpError } from "../../../engine/errors.ts";
import { parseCidr4, parseCidr6, parseIp4 } from "../../../engine/ip.ts";
import { jsonObject, stringifyJson } from "../../../engine/json.ts";
import { type Lease, leaseKey, leaseValue } from "../../../engine/lease.ts";
import { formatMemory, type Memory, parseMemory } from "../../../engine/memory.ts";
import { formatNetConf, parseNetConf } from "../../../engine/net_conf.ts";

const lease = (n: number): Lease => ({
  subnet: parseCidr4(`10.0.${n}.0/24`),
  subnet6: parseCidr6(`fd00:0:0:${n}::/64`),
  publicIp: parseIp4(`192.0.2.${n}`),
  backendType: "vxlan",
  backendData: jsonObject({ VNI: 1, VtepMAC: `02:00:00:00:00:0${n}` }),
  node: `node${n}`,
});

const MEMORY: Memory = {
  at: Date.parse("2026-01-02T03:04:05.000Z"),
  conf: parseNetConf(
    '{"Network":"10.0.0.0/8","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00::/48",' +
      '"EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":7,"x":1.50}}',
  ),
  own: lease(1),
  ends: Date.parse("2026-01-03T03:04:05.000Z"),
  leases: [lease(1), lease(2)],
};

const plain = (one: Lease): unknown => [leaseKey(one), leaseValue(one), one.node];

Deno.test("formatMemory and parseMemory: a round trip", () => {
  const read = parseMemory(formatMemory(MEMORY));
  assert.equal(read.at, MEMORY.at);
  assert.equal(read.ends, MEMORY.ends);
  assert.equal(formatNetConf(read.conf), formatNetConf(MEMORY.conf));
  assert.equal(stringifyJson(read.conf.backend.raw), stringifyJson(MEMORY.conf.backend.raw));
  assert.deepEqual(plain(read.own), plain(MEMORY.own));
  assert.deepEqual(read.leases.map(plain), MEMORY.leases.map(plain));
});

for (const text of ["", "{}", "[]", '{"schema":2}', '{"schema":1,"at":"x"}', "null"]) {
  Deno.test(`parseMemory refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseMemory(text), SyntaxError);
  });
}

async function inTemp(work: (path: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await work(`${directory}/state/snapshot.json`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("MemoryFile: private, replaced in one step, not written when it says the same", () =>
  inTemp(async (path) => {
    const file = new MemoryFile(path);
    assert.equal(file.read(), undefined);
    file.write(MEMORY);
    const { mode, ino } = await Deno.stat(path);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    file.write({ ...MEMORY, at: 0 });
    assert.equal((await Deno.stat(path)).ino, ino);
    file.write({ ...MEMORY, leases: [lease(1)] });
    assert.equal(new MemoryFile(path).read()?.leases.length, 1);
    const left = await Array.fromAsync(Deno.readDir(path.slice(0, path.lastIndexOf("/"))));
    assert.deepEqual(left.map(({ name }) => name), ["snapshot.json"]);
  }));

Deno.test("MemoryFile: a damaged file is an error that says what to do", () =>
  inTemp(async (path) => {
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")));
    await Deno.writeTextFile(path, "{");
    assert.throws(() => new MemoryFile(path).read(), (e) => e instanceof OpError && !!e.advice);
  }));

/** A store that answers when it is told to. */
class Mute implements Store {
  readonly name = "mute";
  readonly answers = Promise.withResolvers<void>();
  #snapshots: Snapshot[] = [];
  closed = false;

  say(...snapshots: readonly Snapshot[]): void {
    this.#snapshots = [...snapshots];
    this.answers.resolve();
  }

  self(): ReturnType<Store["self"]> {
    return Promise.resolve({});
  }
  async config(): ReturnType<Store["config"]> {
    await this.answers.promise;
    return MEMORY.conf;
  }
  async acquire(_request: LeaseRequest): Promise<Lease> {
    await this.answers.promise;
    return lease(1);
  }
  async *snapshots(): AsyncGenerator<Snapshot, void, undefined> {
    await this.answers.promise;
    yield* this.#snapshots;
  }
  status(): ReturnType<Store["status"]> {
    return { connected: false, bad: 0, gaps: 0 };
  }
  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const REQUEST: LeaseRequest = { record: { backendType: "vxlan" }, previous: {} };
const QUIET = new Log({ write: () => {} });

Deno.test("RememberingStore: speaks from memory until the store has a word of our lease", () =>
  inTemp(async (path) => {
    new MemoryFile(path).write(MEMORY);
    const inner = new Mute();
    const store = new RememberingStore(inner, new MemoryFile(path), QUIET, 5);
    const { signal } = new AbortController();
    assert.deepEqual(plain((await store.self(signal)).lease as Lease), plain(lease(1)));
    assert.equal(formatNetConf(await store.config(signal)), formatNetConf(MEMORY.conf));
    assert.deepEqual(plain(await store.acquire(REQUEST, signal)), plain(lease(1)));
    assert.equal(store.status().remembered, MEMORY.at);

    const snapshots = store.snapshots(signal);
    const first = await snapshots.next();
    assert.deepEqual(first.value?.leases.map(plain), MEMORY.leases.map(plain));
    const withoutUs = { leases: [lease(3)], bad: [] };
    const withUs = { leases: [lease(1), lease(3)], own: lease(1), bad: [] };
    inner.say(withoutUs, withUs);
    const second = await snapshots.next();
    assert.deepEqual(second.value, withUs);
    assert.equal(store.status().remembered, undefined);
    await snapshots.next();
    await store.close();
    assert.equal(inner.closed, true);
    assert.deepEqual(new MemoryFile(path).read()?.leases.map(plain), withUs.leases.map(plain));
  }));

Deno.test("RememberingStore: without a memory it waits as the store does", () =>
  inTemp(async (path) => {
    const inner = new Mute();
    const store = new RememberingStore(inner, new MemoryFile(path), QUIET, 1);
    const { signal } = new AbortController();
    let answered = false;
    const config = store.config(signal).then(() => answered = true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(answered, false);
    inner.say();
    await config;
    assert.equal(store.status().remembered, undefined);
    await store.close();
  }));
