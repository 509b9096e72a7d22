/**
 * etcd with users and passwords: log-in over TLS to an address, tokens that end, rights that are
 * narrow, and no secret in any line.
 *
 * @module
 */

import assert from "node:assert/strict";
import { EtcdClient, type EtcdOptions } from "../../daemon/store/etcd.ts";
import { readTls } from "../../daemon/store/etcd_tls.ts";
import { sleep } from "../../daemon/wait.ts";
import { Certificates } from "./certificates.ts";
import { CONFIG, request, Scene, until, VALUE, Watching } from "./etcd_scene.ts";
import { EtcdServer } from "./etcd_server.ts";

const files = new Certificates();
const server = await EtcdServer.start({
  tls: files.issue("server", ["IP:127.0.0.1"]),
  args: [`--auth-token=${files.tokens("2s")}`, "--bcrypt-cost=4"],
});
globalThis.addEventListener("unload", () => server.signal("SIGKILL"));
Deno.test.afterAll(async () => {
  await server[Symbol.asyncDispose]();
  files[Symbol.dispose]();
});
function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

const tls = readTls({ ca: files.ca, cert: "", key: "" });
const { signal } = new AbortController();
const SECRET = /maid|open-sesame/;

function connect(password = "open-sesame", username = "maid"): EtcdClient {
  const options: EtcdOptions = { endpoints: [server.endpoint], auth: { username, password } };
  return new EtcdClient({ ...options, tls: () => tls, deadline: 2_000 });
}

/** A user with these rights, each a key prefix and what it grants. */
async function makeUser(etcd: EtcdServer, name: string, rights: [string, string][]): Promise<void> {
  await etcd.ctl("user", "add", `${name}:open-sesame`);
  await etcd.ctl("role", "add", name);
  for (const [prefix, kind] of rights) {
    await etcd.ctl("role", "grant-permission", name, "--prefix=true", kind, prefix);
  }
  await etcd.ctl("user", "grant-role", name, name);
}

async function enable(etcd: EtcdServer): Promise<void> {
  await etcd.ctl("user", "add", "root:root");
  await etcd.ctl("user", "grant-role", "root", "root");
  await etcd.ctl("auth", "enable");
  etcd.as("--user=root:root");
}

test("etcd: a user is logged in from the moment that etcd asks for it", async () => {
  using etcd = connect();
  await makeUser(server, "maid", [["/", "readwrite"]]);
  assert.equal((await etcd.list("/x/", signal)).records.length, 0, "nobody asks yet");
  await enable(server);
  assert.equal((await etcd.list("/x/", signal)).records.length, 0);
  // Any change of users makes all tokens old.
  await server.ctl("user", "add", "somebody:else");
  assert.equal((await etcd.list("/x/", signal)).records.length, 0);
});

test("etcd: leases live on while tokens end every two seconds", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store({ etcd: connect(), ttl: 3, margin: 2_500 });
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  await sleep(2_500, scene.signal);
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  await scene.logged(/Lease renewed/);
  assert.ok(store.status().leaseEnds! > Date.now());
  assert.doesNotMatch(scene.lines.join(""), SECRET);
  assert.doesNotMatch(scene.lines.join(""), / error | warn /);
});

test("etcd: a wrong password is told without the password", async () => {
  await using scene = await Scene.make(server);
  const store = scene.store({ etcd: connect("open-sesamy") });
  const waiting = store.acquire(request("192.168.64.1"), scene.signal);
  await scene.logged(/authentication failed, invalid user ID or password.*Check --etcd-username/);
  assert.doesNotMatch(scene.lines.join("") + JSON.stringify(store.status()), SECRET);
  scene.stop.abort(new Error("enough"));
  await assert.rejects(waiting, { message: "enough" });
});

for (const [user, kind] of [["groom", undefined], ["gardener", "read"]] as const) {
  const marks = kind === undefined ? "no rights" : `the right to ${kind}`;
  test(`etcd: ${marks} on marks costs the marks and no more`, async () => {
    await using scene = await Scene.make(server);
    await makeUser(server, user, [
      [`${scene.prefix}/subnets/`, "readwrite"],
      [`${scene.prefix}/config`, "read"],
      ...(kind === undefined ? [] : [[`${scene.prefix}/twill/`, kind] as [string, string]]),
    ]);
    const store = scene.store({ etcd: connect(undefined, user) });
    await store.acquire(request("192.168.64.1"), scene.signal);
    await store.acquire(request("192.168.64.2"), scene.signal);
    assert.deepEqual((await scene.leases()).map(([, value]) => value), [VALUE("192.168.64.2")]);
    assert.deepEqual(await scene.marks(), {});
    const told = scene.lines.filter((line) => line.includes("public IP are not detected"));
    assert.equal(told.length, 1);
  });
}

test("etcd: missing rights are told, and do not count as an etcd that is away", async () => {
  await using scene = await Scene.make(server);
  await makeUser(server, "guest", [["/elsewhere/", "read"]]);
  const store = scene.store({ etcd: connect(undefined, "guest") });
  const waiting = store.config(scene.signal);
  await scene.logged(/permission denied.*Grant the etcd user's role/);
  assert.equal(store.status().connected, true);
  await server.ctl("role", "grant-permission", "guest", "--prefix=true", "read", scene.prefix);
  await waiting;
});

test("etcd: a member that starts again has forgotten our token, and is told anew", async () => {
  await using own = await EtcdServer.start({ args: ["--bcrypt-cost=4"] });
  await makeUser(own, "maid", [["/", "readwrite"]]);
  await enable(own);
  await using scene = await Scene.make(own, CONFIG);
  const auth = { username: "maid", password: "open-sesame" };
  const etcd = new EtcdClient({ endpoints: [own.endpoint], auth, deadline: 1_000 });
  const store = scene.store({ etcd });
  await store.acquire(request("192.168.64.1"), scene.signal);
  const watching = new Watching(store, scene.signal);
  await watching.shows("10.5.1.0/24");
  await own.stop();
  await own.start();
  await scene.put("10.5.2.0-24", VALUE("192.168.64.2"));
  await watching.shows("10.5.1.0/24", "10.5.2.0/24");
  await until("connected", () => store.status().connected);
  assert.doesNotMatch(scene.lines.join(""), SECRET);
});
