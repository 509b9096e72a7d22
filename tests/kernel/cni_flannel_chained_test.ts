/** flannel serves host ports and bandwidth itself, in the place of plugins behind it. */

import assert from "node:assert/strict";
import { plainName } from "../../cni/bandwidth/ifb.ts";
import { FlannelNode, type Json, PORTS, RATES } from "./flannel_node.ts";
import { expect, type Want } from "./plugins.ts";

const OK: Want = { ok: true };
const BOTH = { portMappings: PORTS, bandwidth: RATES };

for (const backend of ["iptables", "nftables", undefined]) {
  Deno.test(`flannel alone, ${backend ?? "no back end chosen"}: ports and limits are made, checked and taken away`, async () => {
    using node = new FlannelNode();
    const portmap = backend === undefined ? {} : { backend };
    const result = expect(await node.flannel("ADD", { portmap, runtimeConfig: BOTH }), OK);
    assert.deepEqual(
      result.interfaces.map(({ name }: Json) => String(name).replace(/^(veth|bwp).*/, "$1")),
      ["cni0", "veth", "eth0", "bwp"],
    );
    assert.equal(node.ports("c1"), 1);
    assert.equal(node.nft("ip cni_hostport", "hostports").length > 0, backend !== "iptables");
    assert.deepEqual(node.limits(), { ingress: "tbf", egress: "tbf" });
    const check = { portmap, runtimeConfig: BOTH, prevResult: result };
    expect(await node.flannel("CHECK", check), OK);
    node.dropPorts();
    expect(await node.flannel("CHECK", check), { words: ["host ports", "not found"] });
    // The runtime need not repeat what it asked for.
    expect(await node.flannel("DEL"), OK);
    assert.deepEqual(node.left(), []);
  });
}

Deno.test("flannel alone: CHECK misses a limit", async () => {
  using node = new FlannelNode();
  const prevResult = expect(await node.flannel("ADD", { runtimeConfig: BOTH }), OK);
  const ifb = prevResult.interfaces[3].name;
  node.run("tc", "qdisc", "delete", "dev", ifb, "root");
  const check = { runtimeConfig: BOTH, prevResult };
  expect(await node.flannel("CHECK", check), { words: ["has no limit"] });
});

Deno.test("flannel alone: without mappings it makes no rule, and answers what the delegate says", async () => {
  using node = new FlannelNode();
  const result = expect(await node.flannel("ADD", { runtimeConfig: { portMappings: [] } }), OK);
  assert.equal(result.interfaces.length, 3);
  assert.equal(node.ports("c1"), 0);
  expect(await node.flannel("CHECK", { prevResult: result }), OK);
});

for (const cniVersion of ["0.3.1", "0.4.0", "1.1.0"]) {
  Deno.test(`flannel alone: the answer in the form of ${cniVersion}`, async () => {
    using node = new FlannelNode();
    const config = { cniVersion, runtimeConfig: BOTH };
    const result = expect(await node.flannel("ADD", config), OK);
    assert.deepEqual([result.cniVersion, result.interfaces.length], [cniVersion, 4]);
    expect(await node.flannel("DEL", { cniVersion }), OK);
    assert.deepEqual(node.left(), []);
  });
}

const REFUSED: readonly (readonly [title: string, config: Json, words: string])[] = [
  ["a port that is none", { portMappings: [{ hostPort: 0, containerPort: 80 }] }, "hostPort"],
  ["a limit without burst", { bandwidth: { ingressRate: 1000 } }, "ingressBurst"],
  ["mappings that are no list", { portMappings: {} }, "portMappings"],
];
for (const [title, runtimeConfig, word] of REFUSED) {
  Deno.test(`flannel alone: ${title} is refused before anything is made`, async () => {
    using node = new FlannelNode();
    expect(await node.flannel("ADD", { runtimeConfig }), { code: 7, words: [word] });
    assert.deepEqual(node.left(), []);
  });
}

Deno.test("flannel alone: when a rule cannot be made nothing stays but the record for DEL", async () => {
  using node = new FlannelNode();
  const portmap = { externalSetMarkChain: "NONE-SUCH" };
  expect(await node.flannel("ADD", { portmap, runtimeConfig: BOTH }), { words: ["NONE-SUCH"] });
  assert.deepEqual(node.left(), ["record c1"]);
  expect(await node.flannel("DEL", { portmap, runtimeConfig: BOTH }), OK);
  assert.deepEqual(node.left(), []);
});

Deno.test("flannel alone: a second ADD is refused and takes no port and no limit away", async () => {
  using node = new FlannelNode();
  expect(await node.flannel("ADD", { runtimeConfig: BOTH }), OK);
  expect(await node.flannel("ADD", { runtimeConfig: BOTH }), { words: ["eth0"] });
  assert.equal(node.ports("c1"), 1);
  assert.deepEqual(node.limits(), { ingress: "tbf", egress: "tbf" });
});

/** As lists go: what the old two-plugin list adds, the new one deletes, and the other way round. */
for (const [from, to] of [["list", "alone"], ["alone", "list"]] as const) {
  Deno.test(`flannel ${from}: a pod of it is deleted by flannel ${to}`, async () => {
    using node = new FlannelNode();
    await node.add(from, { portMappings: PORTS });
    assert.equal(node.ports("c1"), 1);
    await node.del(to, { portMappings: PORTS });
    assert.deepEqual(node.left(), []);
  });
}

Deno.test("flannel alone: DEL goes on, and is repeated, when one thing cannot be taken away", async () => {
  using node = new FlannelNode();
  expect(await node.flannel("ADD", { runtimeConfig: BOTH }), OK);
  // No bridge to be found: its part stays, the others go, and so does not the record.
  const CNI_PATH = "/nonexistent";
  expect(await node.flannel("DEL", {}, { CNI_PATH }), { words: ["bridge"] });
  assert.equal(node.ports("c1"), 0);
  assert.ok(node.left().includes("record c1"));
  expect(await node.flannel("DEL"), OK);
  assert.deepEqual(node.left(), []);
});

Deno.test("flannel alone: GC takes ports and limits of stale pods away, and of no other", async () => {
  using node = new FlannelNode();
  const config = { portmap: { backend: "iptables" }, runtimeConfig: BOTH };
  for (const id of ["c1", "c2"]) {
    expect(await node.flannel("ADD", config, { CNI_CONTAINERID: id }), OK);
  }
  const valid = [{ containerID: "c2", ifname: "eth0" }];
  const gc = { cniVersion: "1.1.0", "cni.dev/valid-attachments": valid };
  expect(await node.flannel("GC", gc), OK);
  assert.deepEqual([node.ports("c1"), node.ports("c2")], [0, 1]);
  const has = (containerId: string): boolean =>
    node.left().includes(plainName("dbnet", { containerId, ifname: "eth0" }));
  assert.deepEqual([has("c1"), has("c2")], [false, true]);
  expect(await node.flannel("STATUS", { cniVersion: "1.1.0" }), OK);
});
