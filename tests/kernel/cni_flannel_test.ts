/** flannel from outside: what it keeps between ADD and DEL, and what it passes on. */

import assert from "node:assert/strict";
import { DELEGATE_RESULT, DOCUMENT, ENV, FlannelBench, OK } from "./flannel_bench.ts";
import { expect, type Reply } from "./plugins.ts";

Deno.test("FL02 flannel: DEL takes the kept document, twice is fine", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  // Not the configuration of now.
  expect(await bench.flannel("DEL", { delegate: { mtu: 9 } }), OK);
  assert.deepEqual(bench.got("DEL"), DOCUMENT);
  assert.deepEqual(bench.kept(true), []);
  Deno.removeSync(`${bench.log}/DEL.eth0.json`);
  expect(await bench.flannel("DEL"), OK);
  assert.throws(() => bench.got("DEL"), Deno.errors.NotFound);
});

Deno.test("FL14 flannel: a delegate that does not exist", async () => {
  using bench = new FlannelBench();
  const delegate = { type: "nonesuch" };
  const words = ['failed to find plugin "nonesuch" in path'];
  expect(await bench.flannel("ADD", { delegate }), {
    code: 999,
    words: ["failed to delegate add", ...words],
  });
  assert.deepEqual(bench.kept(), ["c1"]);
  expect(await bench.flannel("DEL", { delegate }), { code: 999, words });
  assert.deepEqual(bench.kept(), ["c1"]);
});

Deno.test("flannel: the delegate's error passes, and the document stays until DEL works", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  Deno.writeTextFileSync(
    `${bench.log}/fail.DEL`,
    '{"cniVersion":"1.0.0","code":123,"msg":"try harder","details":"here"}',
  );
  const error = expect(await bench.flannel("DEL"), { code: 123 });
  assert.deepEqual([error.msg, error.details], ["try harder", "here"]);
  assert.deepEqual(bench.kept(), ["c1"]);
  Deno.removeSync(`${bench.log}/fail.DEL`);
  expect(await bench.flannel("DEL"), OK);
  assert.deepEqual(bench.kept(true), []);
});

Deno.test("flannel: a delegate that fails without an error object", async () => {
  using bench = new FlannelBench();
  Deno.writeTextFileSync(`${bench.log}/fail.ADD`, "oh no");
  expect(await bench.flannel("ADD"), {
    words: ["failed to delegate add", "exit status 1", "oh no"],
  });
});

Deno.test("FL16 flannel: DEL after the subnet file is gone", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  Deno.removeSync(bench.subnetFile);
  expect(await bench.flannel("DEL"), OK);
  assert.deepEqual([bench.got("DEL"), bench.kept(true)], [DOCUMENT, []]);
});

Deno.test("FL17 flannel: STATUS without and with a subnet file", async () => {
  using bench = new FlannelBench();
  const config = { cniVersion: "1.1.0" };
  expect(await bench.flannel("STATUS", config), OK);
  assert.deepEqual(bench.got("STATUS"), { ...DOCUMENT, ...config });
  bench.writeEnv({ ...ENV, FLANNEL_MTU: undefined });
  expect(await bench.flannel("STATUS", config), { code: 50, words: ["FLANNEL_MTU"] });
  Deno.removeSync(bench.subnetFile);
  expect(await bench.flannel("STATUS", config), { code: 50, words: ["subnet.env"] });
});

Deno.test("flannel: STATUS of the delegate counts", async () => {
  using bench = new FlannelBench();
  Deno.writeTextFileSync(`${bench.log}/fail.STATUS`, '{"code":51,"msg":"no bridge"}');
  expect(await bench.flannel("STATUS", { cniVersion: "1.1.0" }), {
    code: 51,
    words: ["no bridge"],
  });
});

Deno.test("flannel: a document that is no JSON is left alone, and DEL succeeds", async () => {
  using bench = new FlannelBench();
  Deno.mkdirSync(bench.dataDir);
  Deno.writeTextFileSync(`${bench.dataDir}/c1`, "{");
  const reply = await bench.flannel("DEL");
  expect(reply, OK);
  assert.match(reply.stderr, /c1/);
  assert.deepEqual(bench.kept(), ["c1"]);
});

Deno.test("flannel: CHECK goes to the delegate with prevResult, or succeeds without a document", async () => {
  using bench = new FlannelBench();
  const config = { prevResult: DELEGATE_RESULT };
  expect(await bench.flannel("CHECK", config), OK);
  assert.throws(() => bench.got("CHECK"), Deno.errors.NotFound);
  expect(await bench.flannel("ADD"), OK);
  expect(await bench.flannel("CHECK", config), OK);
  assert.deepEqual(bench.got("CHECK"), { ...DOCUMENT, ...config });
});

for (const order of [["eth0", "net1"], ["net1", "eth0"]]) {
  Deno.test(`flannel: two interfaces of a container, DEL of ${order.join(" then ")}`, async () => {
    using bench = new FlannelBench();
    const mtu: Readonly<Record<string, number>> = { eth0: 1001, net1: 1002 };
    const on = (command: string, ifname: string): Promise<Reply> =>
      bench.flannel(command, { delegate: { mtu: mtu[ifname] } }, { CNI_IFNAME: ifname });
    for (const ifname of ["eth0", "net1"]) expect(await on("ADD", ifname), OK);
    assert.deepEqual(bench.kept(), ["c1", "c1-net1"]);
    for (const ifname of order) {
      // Twice: the second must not take the other's document.
      for (const _ of [1, 2]) expect(await on("DEL", ifname), OK);
      assert.equal(bench.got("DEL", ifname).mtu, mtu[ifname]);
    }
    assert.deepEqual(bench.kept(true), []);
  });
}

Deno.test("flannel: a second ADD of one interface keeps one document", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  expect(await bench.flannel("ADD", { delegate: { mtu: 9 } }), OK);
  assert.deepEqual(bench.kept(), ["c1"]);
  expect(await bench.flannel("DEL"), OK);
  assert.equal(bench.got("DEL").mtu, 9);
  assert.deepEqual(bench.kept(true), []);
});

Deno.test("flannel: a document that another program wrote serves any interface", async () => {
  using bench = new FlannelBench();
  Deno.mkdirSync(bench.dataDir);
  Deno.writeTextFileSync(`${bench.dataDir}/c1`, JSON.stringify(DOCUMENT));
  expect(await bench.flannel("DEL", {}, { CNI_IFNAME: "net7" }), OK);
  assert.deepEqual([bench.got("DEL", "net7"), bench.kept(true)], [DOCUMENT, []]);
});

const VALID = "cni.dev/valid-attachments";

Deno.test("flannel: GC goes to the delegate, and forgets what is stale", async () => {
  using bench = new FlannelBench();
  for (const id of ["c1", "c2", "c3"]) {
    expect(await bench.flannel("ADD", {}, { CNI_CONTAINERID: id }), OK);
  }
  expect(await bench.flannel("ADD", { name: "other" }, { CNI_CONTAINERID: "c4" }), OK);
  const config = {
    cniVersion: "1.1.0",
    [VALID]: [{ containerID: "c2", ifname: "eth0" }, { containerID: "c3", ifname: "x" }],
  };
  expect(await bench.flannel("GC", config), OK);
  assert.deepEqual(bench.got("GC"), { ...DOCUMENT, ...config });
  assert.deepEqual(bench.kept(), ["c2", "c3", "c4"]);
});

Deno.test("flannel: GC without a subnet file uses a kept document", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD", { delegate: { type: "my-delegate" } }), OK);
  Deno.removeSync(bench.subnetFile);
  expect(await bench.flannel("GC", { cniVersion: "1.1.0", [VALID]: null }), OK);
  assert.deepEqual([bench.got("GC").type, bench.got("GC")[VALID]], ["my-delegate", null]);
  assert.deepEqual(bench.kept(true), []);
});

Deno.test("flannel: GC without a list forgets nothing", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  expect(await bench.flannel("GC", { cniVersion: "1.1.0" }), OK);
  assert.deepEqual(bench.got("GC"), { ...DOCUMENT, cniVersion: "1.1.0" });
  assert.deepEqual(bench.kept(), ["c1"]);
});

Deno.test("flannel: GC forgets what is stale even when the delegate fails, and says so", async () => {
  using bench = new FlannelBench();
  expect(await bench.flannel("ADD"), OK);
  Deno.writeTextFileSync(`${bench.log}/fail.GC`, '{"code":120,"msg":"stuck"}');
  expect(await bench.flannel("GC", { cniVersion: "1.1.0", [VALID]: [] }), { code: 120 });
  assert.deepEqual(bench.kept(true), []);
});
