/** Bad disks and bad files: each is a clear error object, and nothing is lost. */

import assert from "node:assert/strict";
import { add, BridgeNode, command, type Json, OK, type Row, testRows } from "./bridge_rows.ts";
import { addressFiles, owner } from "./host_local_rows.ts";
import { ENV, FlannelBench } from "./flannel_bench.ts";
import { expect, type Reply, run, type Want } from "./plugins.ts";

const GATEWAY: Json = { isDefaultGateway: true };
const io = (...words: string[]): Want => ({ code: 5, words });

/** The first pod's ADD, on a file system of this size. */
const onTmpfs = (options: string): ReturnType<typeof add> =>
  add(undefined, {
    before: ["mkdir STORE", `mount -t tmpfs -o ${options} tmpfs STORE`],
    config: GATEWAY,
  });

/** The first pod has all it had. */
const intact = command("CHECK", { config: GATEWAY });

/** The first pod's end, after which an ADD works again. */
const recovery = [
  command("DEL", { config: GATEWAY, see: (seen) => seen.gone() }),
  add((seen) => assert.equal(seen.node.reserved().length, 1), { id: "c3", config: GATEWAY }),
];

/** What STATUS says: an ADD could not be served. */
const notReady = command("STATUS", {
  config: { ...GATEWAY, cniVersion: "1.1.0" },
  want: { code: 50, words: ["address store"] },
});

const ROWS: readonly Row[] = [
  {
    id: "full disk",
    title: "no space for another address",
    steps: [
      onTmpfs("size=16k"),
      {
        command: "ADD",
        id: "c2",
        config: GATEWAY,
        before: ["fallocate -l 8k STORE/filler"],
        want: io("No space left on device", "/ipam/dbnet/"),
        see: (seen) => {
          assert.deepEqual(seen.node.reserved(), ["10.1.2.2"]);
          assert.equal(seen.inside, undefined);
          assert.equal(seen.node.links().length, 2);
        },
      },
      intact,
      ...recovery,
    ],
  },
  {
    id: "full disk",
    title: "no inode for another address",
    steps: [
      onTmpfs("size=64k,nr_inodes=6"),
      {
        command: "ADD",
        id: "c2",
        config: GATEWAY,
        // Of six inodes two are folders; the lock, the address and the last one have each their own.
        before: ["touch STORE/filler"],
        want: io("No space left on device"),
        see: (seen) => assert.deepEqual(seen.node.reserved(), ["10.1.2.2"]),
      },
      intact,
      { ...recovery[0]!, before: ["rm STORE/filler"] },
      recovery[1]!,
    ],
  },
  {
    id: "read-only store",
    title: "ADD and DEL fail, CHECK does not, and DEL works later",
    steps: [
      onTmpfs("size=64k"),
      {
        command: "ADD",
        id: "c2",
        config: GATEWAY,
        before: ["mount -o remount,ro STORE"],
        want: io("Read-only file system"),
        see: (seen) => assert.equal(seen.inside, undefined),
      },
      intact,
      command("DEL", {
        config: GATEWAY,
        want: io("Read-only file system", "10.1.2.2"),
        see: (seen) => {
          assert.equal(seen.inside, undefined);
          assert.deepEqual(seen.node.reserved(), ["10.1.2.2"]);
        },
      }),
      command("DEL", { id: "c2", config: GATEWAY }),
      { ...recovery[0]!, before: ["mount -o remount,rw STORE"] },
      recovery[1]!,
    ],
  },
  {
    id: "store that is a file",
    title: "ADD, DEL and STATUS say so",
    steps: [
      {
        command: "ADD",
        before: ["touch STORE"],
        config: GATEWAY,
        want: io("Not a directory", "/ipam"),
        see: (seen) => seen.gone(),
      },
      command("DEL", { config: GATEWAY, want: io("Not a directory") }),
      notReady,
      add(undefined, { before: ["rm STORE"], config: GATEWAY }),
      intact,
    ],
  },
  {
    id: "garbage in the store",
    title: "what is no reservation is taken, and stays until GC",
    steps: [
      add((seen) => {
        assert.deepEqual(seen.addresses, ["10.1.2.5/24"]);
        // A crash of older programs left an empty file; nobody knows what the others are.
        assert.deepEqual(seen.node.reserved(), ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5"]);
      }, {
        before: [
          "mkdir -p STORE/dbnet",
          "touch STORE/dbnet/10.1.2.2 STORE/dbnet/last_reserved_ip.0",
          "cp /bin/true STORE/dbnet/10.1.2.3",
          "ln -s nowhere STORE/dbnet/10.1.2.4",
        ],
        config: GATEWAY,
      }),
      intact,
      command("GC", {
        config: {
          ...GATEWAY,
          cniVersion: "1.1.0",
          "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }],
        },
        see: (seen) => assert.deepEqual(seen.node.reserved(), ["10.1.2.4", "10.1.2.5"]),
      }),
      command("DEL", {
        // What an ADD left that was killed while it wrote.
        before: ["touch STORE/dbnet/.reservation.tmp"],
        config: GATEWAY,
        see: (seen) => {
          const names = [...Deno.readDirSync(`${seen.node.dataDir}/dbnet`)].map(({ name }) => name);
          assert.deepEqual(names.sort(), ["10.1.2.4", "last_reserved_ip.0", "lock"]);
        },
      }),
    ],
  },
];

testRows(ROWS);

/** What is in the way of flannel's record. */
const RECORD_FAULTS: Readonly<Record<string, readonly [(dir: string) => void, string]>> = {
  "a full disk": [
    (dir) => {
      Deno.mkdirSync(dir);
      run("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", dir);
      Deno.writeFileSync(`${dir}/filler`, new Uint8Array(4096));
    },
    "No space left on device",
  ],
  "a read-only file system": [
    (dir) => {
      Deno.mkdirSync(dir);
      run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", dir);
    },
    "Read-only file system",
  ],
  "a file in its place": [(dir) => Deno.writeTextFileSync(dir, ""), "exists"],
};

for (const [title, [spoil, words]] of Object.entries(RECORD_FAULTS)) {
  Deno.test(`flannel's record: ${title}: nothing is delegated`, async () => {
    using bench = new FlannelBench();
    spoil(bench.dataDir);
    using _mount = { [Symbol.dispose]: () => unmount(bench.dataDir) };
    expect(await bench.flannel("ADD"), io(words, bench.dataDir));
    assert.throws(() => bench.got("ADD"), Deno.errors.NotFound);
  });
}

function unmount(dir: string): void {
  new Deno.Command("umount", { args: [dir], stderr: "null" }).outputSync();
}

Deno.test("flannel's record: garbage: DEL succeeds and says what it saw", async () => {
  using bench = new FlannelBench();
  Deno.mkdirSync(bench.dataDir);
  for (const text of ["", "no JSON", "[]", '{"name":"dbnet"}', '{"type":7}']) {
    Deno.writeTextFileSync(`${bench.dataDir}/c1`, text);
    const reply = await bench.flannel("DEL");
    expect(reply, OK);
    assert.match(reply.stderr, /flannel\/c1 is no delegate's configuration/);
  }
  // A new ADD takes the record over.
  expect(await bench.flannel("ADD"), OK);
  assert.equal(bench.got("ADD").type, "bridge");
});

Deno.test("no subnet file: only ADD and STATUS need it", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  Deno.removeSync(bench.subnetFile);
  const words = [bench.subnetFile, "The daemon"];
  expect(await bench.flannel("ADD", {}, { CNI_CONTAINERID: "c2" }), { code: 999, words });
  expect(await bench.flannel("STATUS", { cniVersion: "1.1.0" }), { code: 50, words });
  expect(await bench.flannel("CHECK"), OK);
  const attachments = { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] };
  expect(await bench.flannel("GC", attachments), OK);
  assert.deepEqual(bench.got("GC", "eth0")["cni.dev/valid-attachments"], []);
  expect(await bench.flannel("DEL"), OK);
  assert.deepEqual(bench.kept(true), []);
  Deno.writeTextFileSync(bench.subnetFile, Object.keys(ENV).join("\n"));
});

/** Debian's plugins, whatever is under test. */
const DEBIAN = "/usr/lib/cni";

Deno.test("two runtimes at once: ours and Debian's plugins share one store", async () => {
  using node = new BridgeNode();
  const ids = Array.from({ length: 24 }, (_, n) => `r${n}`);
  for (const id of ids) node.podOf(id);
  const call = (id: string, command: string, dir: string): Promise<Reply> =>
    node.take({ command: command as "ADD", id, config: GATEWAY, want: OK }, undefined, dir);
  const dirOf = (id: string): string => Number(id.slice(1)) % 2 === 0 ? node.plugins : DEBIAN;
  // Debian's bridge fails when another one gives the bridge its address at the same moment.
  expect(await call("first", "ADD", node.plugins), OK);
  const replies = await Promise.all(ids.map((id) => call(id, "ADD", dirOf(id))));
  const addresses = replies.map((reply) => String(expect(reply, OK).ips[0].address));
  assert.equal(new Set(addresses).size, ids.length, addresses.join(" "));
  assert.deepEqual(
    addressFiles(`${node.dataDir}/dbnet`),
    Object.fromEntries([
      ["10.1.2.2", owner("first")],
      ...ids.map((id, n) => [addresses[n]!.split("/")[0], owner(id)]),
    ]),
  );
  // Each is deleted by the other.
  const other = (id: string): string => dirOf(id) === DEBIAN ? node.plugins : DEBIAN;
  for (const reply of await Promise.all(ids.map((id) => call(id, "DEL", other(id))))) {
    expect(reply, OK);
  }
  expect(await call("first", "DEL", DEBIAN), OK);
  assert.deepEqual(node.reserved(), []);
  assert.deepEqual(node.links(), ["br0"]);
});
