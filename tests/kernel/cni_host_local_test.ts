/** host-local from outside: the life of a reservation, and the store that holds it. */

import assert from "node:assert/strict";
import {
  add,
  addressFiles,
  command,
  type Json,
  OK,
  owner,
  refused,
  type Row,
  sets,
  testRows,
} from "./host_local_rows.ts";
import { Bench, expect, type Reply } from "./plugins.ts";

const ROWS: readonly Row[] = [
  {
    id: "HL01",
    title: "two sets, four routes, resolvConf",
    steps: [
      add(["10.1.2.2/24", "2001:db8:1::2/64"], {
        ipam: {
          ...sets(["10.1.2.0/24", "10.2.2.0/24"], ["2001:db8:1::/64"]),
          routes: [
            { dst: "0.0.0.0/0" },
            { dst: "::/0" },
            { dst: "192.168.0.0/16", gw: "1.1.1.1" },
            { dst: "2001:db8:2::/64", gw: "2001:db8:3::1" },
          ],
          resolvConf: "@/resolv.conf",
        },
        files: { "@/resolv.conf": "nameserver 192.0.2.3\n" },
        result: {
          ips: [
            { address: "10.1.2.2/24", gateway: "10.1.2.1" },
            { address: "2001:db8:1::2/64", gateway: "2001:db8:1::1" },
          ],
          routes: [
            { dst: "0.0.0.0/0" },
            { dst: "::/0" },
            { dst: "192.168.0.0/16", gw: "1.1.1.1" },
            { dst: "2001:db8:2::/64", gw: "2001:db8:3::1" },
          ],
          dns: { nameservers: ["192.0.2.3"] },
        },
      }),
    ],
    left: { "10.1.2.2": owner(), "2001:db8:1::2": owner() },
    also: { "last_reserved_ip.0": "10.1.2.2", "last_reserved_ip.1": "2001:db8:1::2" },
  },
  {
    id: "HL02",
    title: "DEL gives back, and remembers what was last",
    steps: [
      add(["10.1.2.2/24", "2001:db8:1::2/64"], {
        ipam: sets(["10.1.2.0/24"], ["2001:db8:1::/64"]),
      }),
      command("DEL", { ipam: sets(["10.1.2.0/24"], ["2001:db8:1::/64"]) }),
    ],
    left: {},
    also: { "last_reserved_ip.0": "10.1.2.2", "last_reserved_ip.1": "2001:db8:1::2" },
  },
  {
    id: "HL03",
    title: "DEL touches its own network only",
    steps: [
      add(["10.1.2.2/24"]),
      add(["10.1.2.2/24"], { network: "other" }),
      command("DEL", { network: "other" }),
    ],
    left: { "10.1.2.2": owner() },
  },
  {
    id: "HL04",
    title: "a second ADD of one attachment is refused, and the first stays",
    steps: [add(["10.1.2.2/24"]), refused(["duplicate allocation is not allowed"])],
    left: { "10.1.2.2": owner() },
    also: { "last_reserved_ip.0": "10.1.2.2" },
  },
  {
    id: "HL04",
    title: "another interface of the container is another attachment",
    steps: [add(["10.1.2.2/24"]), add(["10.1.2.3/24"], { ifname: "net1" })],
    left: { "10.1.2.2": owner(), "10.1.2.3": owner("c1", "net1") },
  },
  {
    id: "HL05",
    title: "two containers get two addresses",
    steps: [add(["10.1.2.2/24"]), add(["10.1.2.3/24"], { id: "c2" })],
    left: { "10.1.2.2": owner(), "10.1.2.3": owner("c2") },
  },
  {
    id: "HL06",
    title: "DEL of an entry in the old form",
    steps: [command("DEL", { files: { "10.1.2.2": "c1" } })],
    left: {},
  },
  {
    id: "HL06",
    title: "DEL with an entry of its own leaves one in the old form",
    steps: [command("DEL", { files: { "10.1.2.2": "c1", "10.1.2.3": `${owner()}\n` } })],
    left: { "10.1.2.2": "c1" },
  },
  {
    id: "HL06",
    title: "DEL leaves entries that only begin like its own",
    steps: [
      command("DEL", { files: { "10.1.2.2": owner("c11"), "10.1.2.3": owner("c1", "eth00") } }),
    ],
    left: { "10.1.2.2": owner("c11"), "10.1.2.3": owner("c1", "eth00") },
  },
  { id: "HL07", title: "DEL of an unknown container", steps: [command("DEL", { id: "no-one" })] },
  {
    id: "HL07",
    title: "DEL with ranges and CNI_ARGS that are spoilt",
    steps: [
      add(["10.1.2.2/24"]),
      command("DEL", { ipam: { ranges: [[{ subnet: "nonsense" }]] }, args: "nonsense" }),
    ],
    left: {},
  },
  {
    id: "HL41",
    title: "CHECK",
    steps: [
      add(["10.1.2.2/24"]),
      command("CHECK"),
      command("CHECK", {
        id: "c2",
        want: { code: 999, words: ["Failed to find address added by container"] },
      }),
      command("DEL"),
      command("CHECK", { want: { code: 999, words: ["Failed to find address"] } }),
    ],
  },
  {
    id: "HL46",
    title: "GC keeps what is listed",
    steps: [
      add(["10.1.2.2/24"], { config: { cniVersion: "1.1.0" } }),
      add(["10.1.2.3/24"], { id: "c2" }),
      command("GC", {
        config: {
          cniVersion: "1.1.0",
          "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }],
        },
        files: { "10.1.2.9": "", "10.1.2.10": "c2", "note": "mine", "10.1.2.11": owner("c2", "x") },
      }),
    ],
    left: { "10.1.2.3": owner("c2"), "10.1.2.10": "c2" },
    also: { note: "mine", lock: "", "last_reserved_ip.0": "10.1.2.3" },
  },
  {
    id: "HL46",
    title: "GC with null keeps nothing",
    steps: [
      add(["10.1.2.2/24"]),
      command("GC", { config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": null } }),
    ],
    left: {},
  },
  {
    id: "HL46",
    title: "GC without a list keeps everything",
    steps: [add(["10.1.2.2/24"]), command("GC", { config: { cniVersion: "1.1.0" } })],
    left: { "10.1.2.2": owner() },
  },
  {
    id: "HL46",
    title: "GC takes the older name of the list",
    steps: [
      add(["10.1.2.2/24"]),
      command("GC", { config: { cniVersion: "1.1.0", "cni.dev/attachments": [] } }),
    ],
    left: {},
  },
  {
    id: "HL46",
    title: "GC with a malformed list removes nothing",
    steps: [
      add(["10.1.2.2/24"]),
      command("GC", {
        config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": [{ containerID: 5 }] },
        want: { code: 999, words: ["containerID"] },
      }),
    ],
    left: { "10.1.2.2": owner() },
  },
];

testRows(ROWS);

function call(bench: Bench, command: string, ipam: Json, id = "c1"): Promise<Reply> {
  const config = {
    cniVersion: "1.1.0",
    name: "dbnet",
    ipam: { type: "host-local", dataDir: `${bench.dir}/ipam`, subnet: "10.1.2.0/24", ...ipam },
  };
  const env = { CNI_COMMAND: command, CNI_CONTAINERID: id };
  return bench.call({ plugin: "host-local", env, config });
}

Deno.test("HL08 host-local: nothing on stderr in a fresh network", async () => {
  using bench = new Bench();
  const { stderr } = await call(bench, "ADD", {});
  assert.equal(stderr, "");
});

Deno.test("HL44 host-local: waits for the lock", async () => {
  using bench = new Bench();
  const store = `${bench.dir}/ipam/dbnet`;
  Deno.mkdirSync(store, { recursive: true });
  const holder = new Deno.Command("flock", {
    args: [`${store}/lock`, "sh", "-c", "echo locked; read -r _"],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = holder.stdout.getReader();
  await reader.read();
  let done = false;
  const reply = call(bench, "ADD", {}).finally(() => done = true);
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.equal(done, false);
  await holder.stdin.close();
  expect(await reply, OK);
  await reader.cancel();
  await holder.status;
});

Deno.test("HL45 host-local: modes and bytes of the files", async () => {
  using bench = new Bench();
  await call(bench, "ADD", {});
  const store = `${bench.dir}/ipam/dbnet`;
  const file = (name: string): unknown => {
    const bytes = [...Deno.readFileSync(`${store}/${name}`)];
    return { mode: Deno.statSync(`${store}/${name}`).mode! & 0o777, bytes };
  };
  const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];
  assert.deepEqual(file("10.1.2.2"), {
    mode: 0o600,
    bytes: [...ascii("c1"), 13, 10, ...ascii("eth0")],
  });
  assert.deepEqual(file("last_reserved_ip.0"), { mode: 0o600, bytes: ascii("10.1.2.2") });
  assert.deepEqual(file("lock"), { mode: 0o750, bytes: [] });
});

Deno.test("host-local: 20 ADDs at once get 20 addresses", async () => {
  using bench = new Bench();
  const replies = await Promise.all(
    Array.from({ length: 20 }, (_, n) => call(bench, "ADD", {}, `c${n}`)),
  );
  const ips = replies.map((reply) => expect(reply, OK).ips[0].address);
  assert.equal(new Set(ips).size, 20);
});

Deno.test("host-local: a draft that a crash left does not spoil the reservation it is linked to", async () => {
  using bench = new Bench();
  await call(bench, "ADD", {});
  const store = `${bench.dir}/ipam/dbnet`;
  Deno.linkSync(`${store}/10.1.2.2`, `${store}/.reservation.tmp`);
  expect(await call(bench, "ADD", {}, "c2"), OK);
  assert.deepEqual(addressFiles(store), { "10.1.2.2": owner(), "10.1.2.3": owner("c2") });
});

Deno.test("host-local: an entry of any kind is taken", async () => {
  using bench = new Bench();
  const store = `${bench.dir}/ipam/dbnet`;
  Deno.mkdirSync(`${store}/10.1.2.2`, { recursive: true });
  Deno.symlinkSync("/nonexistent", `${store}/10.1.2.3`);
  const result = expect(await call(bench, "ADD", {}), OK);
  assert.equal(result.ips[0].address, "10.1.2.4/24");
});

Deno.test("host-local: STATUS is ok for a full pool, and 50 for a store that cannot be", async () => {
  using bench = new Bench();
  for (const n of [2, 3]) await call(bench, "ADD", { subnet: "10.1.2.0/30" }, `c${n}`);
  expect(await call(bench, "STATUS", { subnet: "10.1.2.0/30" }), OK);
  Deno.writeTextFileSync(`${bench.dir}/file`, "");
  expect(await call(bench, "STATUS", { dataDir: `${bench.dir}/file` }), { code: 50 });
  expect(await call(bench, "STATUS", { subnet: "x" }), { code: 50 });
});

Deno.test("host-local: a store that is a file is an error, and the file stays", async () => {
  using bench = new Bench();
  Deno.writeTextFileSync(`${bench.dir}/file`, "precious");
  for (const command of ["ADD", "DEL", "CHECK"]) {
    expect(await call(bench, command, { dataDir: `${bench.dir}/file` }), { words: ["file/dbnet"] });
  }
  assert.equal(Deno.readTextFileSync(`${bench.dir}/file`), "precious");
});

Deno.test("host-local: GC leaves what is no regular file", async () => {
  using bench = new Bench();
  const store = `${bench.dir}/ipam/dbnet`;
  Deno.mkdirSync(`${store}/10.1.2.2`, { recursive: true });
  Deno.symlinkSync("/nonexistent", `${store}/10.1.2.3`);
  const config = {
    cniVersion: "1.1.0",
    name: "dbnet",
    "cni.dev/valid-attachments": [],
    ipam: { dataDir: `${bench.dir}/ipam` },
  };
  expect(await bench.call({ plugin: "host-local", env: { CNI_COMMAND: "GC" }, config }), OK);
  const left = [...Deno.readDirSync(store)].map(({ name }) => name).sort();
  assert.deepEqual(left, ["10.1.2.2", "10.1.2.3", "lock"]);
});

Deno.test("host-local: GC without a store makes none", async () => {
  using bench = new Bench();
  const config = {
    cniVersion: "1.1.0",
    name: "dbnet",
    "cni.dev/valid-attachments": null,
    ipam: { dataDir: `${bench.dir}/ipam`, subnet: "10.1.2.0/24" },
  };
  const env = { CNI_COMMAND: "GC" };
  expect(await bench.call({ plugin: "host-local", env, config }), OK);
  assert.throws(() => Deno.statSync(`${bench.dir}/ipam`), Deno.errors.NotFound);
});
