/**
 * Policies as nft lists them, followed by the evaluator of `trace`: the cases of the policy tables,
 * with what nft makes of our text.
 */

import assert from "node:assert/strict";
import { parseIp } from "../../engine/ip.ts";
import type { Enforced } from "../../engine/policy/table.ts";
import { wholeText } from "../../engine/policy/render.ts";
import { runHook } from "../../engine/trace/evaluate.ts";
import { readNft } from "../../engine/trace/nft_read.ts";
import type { TraceTable } from "../../engine/trace/rules.ts";
import { listTable, nft } from "../../ffi/nft.ts";
import { CASES } from "../engine/policy/cases.ts";
import { expectation, Scene } from "../engine/policy/language.ts";
import { Nodes } from "../engine/policy/nodes.ts";
import { kernelTest } from "./sandbox.ts";

const NODES = ["node1", "node2"];
const TABLE = "inet twill-policy";

/** The table as the kernel lists it. */
function listed(table: Omit<Enforced, "options" | "generation">): readonly TraceTable[] {
  nft(wholeText({ ...table, options: { table: TABLE, ping: false }, generation: 7 }));
  return readNft(listTable(TABLE));
}

/** The long form takes them all. */
const TAKEN = Deno.env.get("TWILL_FULL") === "1" ? CASES : CASES.filter((_, i) => i % 4 === 0);

kernelTest("policies in trace: cases of the tables, as the kernel lists them", () => {
  let judged = 0;
  for (const { id, steps } of TAKEN) {
    const scene = new Scene();
    const nodes = new Nodes(NODES);
    for (const { deeds, expect } of steps) {
      for (const deed of deeds) scene.do(deed);
      nodes.update({
        namespaces: [...scene.namespaces.values()],
        pods: [...scene.pods.values()],
        policies: [...scene.policies.values()],
      });
      const tables = NODES.map((node) => listed(nodes.tables.get(node)!));
      for (const { protocol, port, open } of expect.map(expectation)) {
        for (const [a, source] of scene.pods) {
          for (const [b, destination] of scene.pods) {
            if (a === b) continue;
            const [src, dst] = [source, destination].map((pod) =>
              parseIp(pod.status?.podIPs?.[0]?.ip ?? "")
            ) as [ReturnType<typeof parseIp>, ReturnType<typeof parseIp>];
            const packet = { src, dst, protocol: protocol.toLowerCase(), dport: port, mark: 0 };
            const results = tables.map((all) =>
              runHook(all, "forward", packet, { isLocal: () => false, take: 0 })
            );
            assert.deepEqual(
              results.flatMap(({ maybe }) => maybe.map(({ rule }) => rule.text)),
              [],
            );
            const passes = results.every(({ verdict }) => verdict === "accept");
            assert.equal(passes, open(a, b), `${id}: ${protocol}/${port} ${a} → ${b}`);
            judged++;
          }
        }
      }
    }
  }
  assert.ok(judged > 1_000, `${judged}`);
});
