import assert from "node:assert/strict";
import { FileStore, parseLeaseFile } from "../../../daemon/store/file.ts";
import type { Snapshot } from "../../../daemon/store/store.ts";
import { Log } from "../../../daemon/log.ts";
import { sleep } from "../../../daemon/wait.ts";
import { type Ip4, parseIp4 } from "../../../engine/ip.ts";

const YAML = `# a small cluster
config:
  Network: 10.244.0.0/16
  Backend: { Type: vxlan, VNI: 7 }
nodes:
  - name: one
    publicIP: 192.168.0.1
    subnet: 10.244.1.0/24
  - name: two
    publicIP: 192.168.0.2
    subnet: 10.244.2.0/24
`;
const THREE = "  - { name: three, publicIP: 192.168.0.3, subnet: 10.244.3.0/24 }\n";

/** A lease file in a folder of its own, gone at the end of the scope. */
class Scene implements AsyncDisposable {
  readonly path: string;
  readonly lines: string[] = [];
  readonly log = new Log({ write: (line) => this.lines.push(line) });
  readonly stop = new AbortController();
  readonly #folder = Deno.makeTempDirSync({ prefix: "twill-file-" });

  constructor(text: string) {
    this.path = `${this.#folder}/leases.yaml`;
    this.write(text);
  }

  write(text: string): void {
    Deno.writeTextFileSync(this.path, text);
  }

  open(node?: string): Promise<FileStore> {
    return FileStore.open({ path: this.path, node, log: this.log, every: 5 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort(new Error("end of the test"));
    return Deno.remove(this.#folder, { recursive: true });
  }
}

function request(ip: string): { record: { publicIp: Ip4; backendType: string }; previous: object } {
  return { record: { publicIp: parseIp4(ip), backendType: "vxlan" }, previous: {} };
}

async function next(snapshots: AsyncIterator<Snapshot>): Promise<Snapshot> {
  const { value, done } = await snapshots.next();
  assert.equal(done, false);
  return value;
}

Deno.test("parseLeaseFile: YAML and JSON say the same", () => {
  const json = JSON.stringify({
    nodes: [{ name: "one", publicIP: "192.168.0.1", subnet: "10.244.1.0/24" }, {
      name: "two",
      publicIP: "192.168.0.2",
      subnet: "10.244.2.0/24",
    }],
    config: { Network: "10.244.0.0/16", Backend: { Type: "vxlan", VNI: 7 } },
  });
  assert.deepEqual(parseLeaseFile(json, "a"), parseLeaseFile(YAML, "b"));
});

const BAD: readonly (readonly [text: string, message: RegExp])[] = [
  ["", /^Cannot use lease file f: .*empty/],
  ["{}", /^Cannot use lease file f: config is missing/],
  ["just words", /^Cannot use lease file f: document: want an object, got "just words"$/],
  ["a: [", /^Cannot use lease file f: .+$/],
  [
    YAML.replace("publicIP", "publicip"),
    /unknown key nodes\[0\]\.publicip; did you mean publicIP$/,
  ],
  [`${YAML}nodes: []\n`, /^Cannot use lease file f: duplicated mapping key/],
  [`${YAML}extra: 1\n`, /unknown key extra; known are config, nodes$/],
  [YAML.replace("name: two", "name: one"), /two nodes have the name one$/],
  ["__proto__: { config: 1 }", /unknown key __proto__/],
  ["config: !!js/function 'x'", /^Cannot use lease file f: .+$/],
  ["a: 1\n---\nb: 2\n", /^Cannot use lease file f: .+$/],
  ["? {a: 1}\n: b\n", /^Cannot use lease file f: .+$/],
  ["a: &x [*x]", /^Cannot use lease file f: .+$/],
];
for (const [text, message] of BAD) {
  Deno.test(`parseLeaseFile: refuses ${JSON.stringify(text.slice(-40))}`, () => {
    assert.throws(() => parseLeaseFile(text, "f"), { name: "OpError", message });
  });
}

Deno.test("FileStore: a missing file names itself and the reason", async () => {
  await assert.rejects(
    FileStore.open({ path: "/nonexistent/leases.yaml", log: new Log({ write: () => {} }) }),
    {
      name: "OpError",
      message: /^Cannot read lease file \/nonexistent\/leases\.yaml: No such file/,
    },
  );
});

Deno.test("FileStore: knows the node by its name before it has an address", async () => {
  await using scene = new Scene(YAML);
  await using store = await scene.open("two");
  assert.equal((await store.self()).publicIp, "192.168.0.2");
  await using nameless = await scene.open();
  assert.deepEqual(await nameless.self(), {});
  assert.equal((await store.config()).families[4].network, "10.244.0.0/16");
});

Deno.test("FileStore: acquire finds the node by name or by address", async () => {
  await using scene = new Scene(YAML);
  await using named = await scene.open("two");
  assert.equal(
    (await named.acquire(request("9.9.9.9"), scene.stop.signal)).subnet,
    "10.244.2.0/24",
  );
  assert.match(scene.lines.join(""), /another address for this node.*file=192\.168\.0\.2/);
  await using nameless = await scene.open();
  const lease = await nameless.acquire(request("192.168.0.1"), scene.stop.signal);
  assert.equal(lease.subnet, "10.244.1.0/24");
});

Deno.test("FileStore: acquire waits for a node that is not in the file yet", async () => {
  await using scene = new Scene(YAML);
  await using store = await scene.open("three");
  const waiting = store.acquire(request("192.168.0.3"), scene.stop.signal);
  await sleep(30, scene.stop.signal);
  assert.match(store.status().problem ?? "", /no node is called three/);
  scene.write(YAML + THREE);
  assert.equal((await waiting).subnet, "10.244.3.0/24");
  assert.equal(store.status().problem, undefined);
  assert.equal(scene.lines.filter((line) => line.includes("no node is called")).length, 1);
});

Deno.test("FileStore: a snapshot has all leases and the own one, and ends with the signal", async () => {
  await using scene = new Scene(YAML);
  await using store = await scene.open("two");
  const snapshots = store.snapshots(scene.stop.signal)[Symbol.asyncIterator]();
  const before = await next(snapshots);
  assert.deepEqual(before.leases.map((lease) => lease.node), ["one", "two"]);
  assert.equal(before.own, undefined);
  assert.deepEqual(before.bad, []);
  const own = await store.acquire(request("192.168.0.2"), scene.stop.signal);
  const waiting = snapshots.next();
  scene.write(YAML + THREE);
  const after = (await waiting).value as Snapshot;
  assert.deepEqual(after.leases.map((lease) => lease.node), ["one", "two", "three"]);
  assert.equal(after.own, own);
  assert.equal(after.leases[0], before.leases[0], "an unchanged lease is the same object");
  const last = snapshots.next();
  scene.stop.abort(new Error("stop"));
  assert.equal((await last).done, true);
});

Deno.test("FileStore: bad content keeps the leases, is counted and logged once, and heals", async () => {
  await using scene = new Scene(YAML);
  await using store = await scene.open("two");
  const snapshots = store.snapshots(scene.stop.signal)[Symbol.asyncIterator]();
  const before = await next(snapshots);
  scene.write("nonsense: [");
  const bad = await next(snapshots);
  assert.deepEqual(bad.leases, before.leases);
  assert.equal(bad.bad.length, 1);
  assert.equal(bad.bad[0]?.key, scene.path);
  assert.equal(store.status().bad, 1);
  const healing = next(snapshots);
  await sleep(30, scene.stop.signal);
  assert.equal(scene.lines.filter((line) => line.includes("stay in force")).length, 1);
  scene.write(YAML);
  const healed = await healing;
  assert.deepEqual(healed, before);
  assert.equal(store.status().bad, 0);
  Deno.removeSync(scene.path);
  assert.match((await next(snapshots)).bad[0]?.reason ?? "", /Cannot read lease file/);
});

Deno.test("FileStore: a changed config is not taken up silently", async () => {
  await using scene = new Scene(YAML);
  await using store = await scene.open("two");
  const snapshots = store.snapshots(scene.stop.signal)[Symbol.asyncIterator]();
  await next(snapshots);
  scene.write(YAML.replace("10.244.0.0/16", "10.0.0.0/8"));
  await next(snapshots);
  assert.equal((await store.config()).families[4].network, "10.244.0.0/16");
  assert.match(scene.lines.join(""), /config of the lease file has changed; restart to use it/);
});
