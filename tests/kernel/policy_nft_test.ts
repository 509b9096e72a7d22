import assert from "node:assert/strict";
import fc from "fast-check";
import { compile } from "../../engine/policy/compile.ts";
import { generationIn, MARK_MASK } from "../../engine/policy/frame.ts";
import { deltaText, narrows, wholeText } from "../../engine/policy/render.ts";
import {
  type Enforced,
  nextGeneration,
  noPolicies,
  type PolicyTable,
  policyTable,
} from "../../engine/policy/table.ts";
import { listTable, nft } from "../../ffi/nft.ts";
import { cluster, history, NODE_NAMES } from "../engine/policy/clusters.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { Nodes, readCluster } from "../engine/policy/nodes.ts";
import { kernelTest } from "./sandbox.ts";

const RUNS = Deno.env.get("TWILL_FULL") === undefined ? 40 : 400;
const TABLE = policyTable("");

function enforced(table: PolicyTable, generation = 1, ping = false): Enforced {
  return { ...table, options: { table: TABLE, ping }, generation };
}

/** The table as it stands, in an order that does not depend on its history. */
function standing(): string[] {
  return listTable(TABLE).split("\n\t}\n").map((block) => block.trim()).sort();
}

kernelTest("policies: any table loads, and loads again in its own place", () => {
  fc.assert(
    fc.property(cluster, fc.boolean(), (api, ping) => {
      const table = enforced(compile(readCluster(api), "n1"), 1, ping);
      nft(wholeText(table));
      const first = standing();
      nft(wholeText(table));
      assert.deepEqual(standing(), first);
    }),
    { numRuns: RUNS },
  );
});

kernelTest("policies: deltas lead where the whole leads, and are refused nowhere", () => {
  fc.assert(
    fc.property(history, (all) => {
      const nodes = new Nodes(NODE_NAMES);
      let have = enforced(noPolicies());
      nft(wholeText(have));
      for (const api of all) {
        nodes.update(api);
        const table = nodes.tables.get("n1") ?? noPolicies();
        const { generation } = have;
        const want = enforced(
          table,
          narrows(have, table) ? nextGeneration(generation) : generation,
        );
        const delta = deltaText(have, want);
        if (delta !== "") nft(delta);
        have = want;
      }
      const byDeltas = standing();
      nft(wholeText(have));
      assert.deepEqual(standing(), byDeltas);
    }),
    { numRuns: RUNS },
  );
});

kernelTest("policies: the generation is found again, and is where the mask says", () => {
  for (const generation of [1, 0x1234, 0xff_ffff]) {
    nft(wholeText(enforced(noPolicies(), generation)));
    const listing = nft(`list chain ${TABLE} remember\n`);
    assert.equal(generationIn(listing), generation, listing);
  }
  assert.equal(generationIn(""), undefined);
  assert.equal(MARK_MASK >>> 0, 0xffff_ff00);
});

kernelTest("policies: whole families, long names and long comments load", () => {
  const scene = new Scene();
  const long = "n".repeat(253);
  scene.do("x/p on pod=a types Ingress+Egress; in: IP(0.0.0.0/0) OR IP(::/0) @ any port");
  const policies = [
    policyObject("x/p on pod=a types Ingress+Egress; in: IP(0.0.0.0/0) OR IP(::/0) @ any port"),
    policyObject(`x/${long} on all types Ingress; in: P(a in (${"v,".repeat(200)}w)) @ TCP/80`),
    policyObject(
      "x/all on all types Egress; out: IP(0.0.0.0/0 except 0.0.0.0/1) @ TCP/0-9, UDP/any, SCTP/any",
    ),
  ];
  const table = compile(
    readCluster({
      namespaces: [...scene.namespaces.values()],
      pods: [...scene.pods.values()],
      policies,
    }),
    "node1",
  );
  nft(wholeText(enforced(table)));
  const text = listTable(TABLE);
  assert.match(text, /elements = \{ 0\.0\.0\.0\/0 \}/);
  assert.match(text, /elements = \{ ::\/0 \}/);
});
