import assert from "node:assert/strict";
import { parseIp } from "../../../engine/ip.ts";
import { compile } from "../../../engine/policy/compile.ts";
import { Judge } from "../../../engine/policy/decide.ts";
import type { Protocol } from "../../../engine/policy/model.ts";
import { CASES } from "./cases.ts";
import { expectation, Scene } from "./language.ts";
import { type ApiCluster, egressAllows, ingressAllows } from "./naive.ts";
import { Nodes, plain, readCluster } from "./nodes.ts";

const NODES = ["node1", "node2"];

Deno.test("the case tables are complete", () => {
  const count = (letter: string): number => CASES.filter(({ id }) => id.startsWith(letter)).length;
  assert.deepEqual(["U", "C", "X"].map(count), [48, 35, 10]);
  assert.equal(new Set(CASES.map(({ id }) => id)).size, CASES.length);
});

for (const { id, title, steps } of CASES) {
  // Policies by address are written for IPv4.
  const byAddress = steps.some(({ deeds }) => deeds.some((deed) => deed.includes("IP(")));
  const families = byAddress ? [0] : [0, 1];
  Deno.test(`${id}: ${title}`, () => {
    const scene = new Scene();
    const nodes = new Nodes(NODES);
    nodes.update(clusterOf(scene));
    for (const [i, { deeds, expect }] of steps.entries()) {
      for (const deed of deeds) scene.do(deed);
      const cluster = clusterOf(scene);
      nodes.update(cluster);
      const read = readCluster(cluster);
      for (const node of NODES) {
        assert.deepEqual(
          plain(nodes.tables.get(node)),
          plain(compile(read, node)),
          "one by one as at once",
        );
      }
      const judge = new Judge(read);
      for (const { protocol, port, open } of expect.map(expectation)) {
        for (const [a, source] of scene.pods) {
          for (const [b, destination] of scene.pods) {
            if (a === b) continue;
            for (const family of families) {
              const ip = (pod: typeof source): string => pod.status?.podIPs?.[family]?.ip ?? "";
              const flow = { source: ip(source), destination: ip(destination), protocol, port };
              const want = open(a, b);
              const at = `step ${i + 1}: ${protocol}/${port} ${a} → ${b}`;
              const naive = egressAllows(cluster, flow) && ingressAllows(cluster, flow);
              assert.equal(naive, want, `${at} by the letter`);
              assert.equal(nodes.open(flow), want, `${at} by the tables`);
              const { allowed } = judge.decide({
                source: parseIp(flow.source),
                destination: parseIp(flow.destination),
                protocol: protocol as Protocol,
                port,
              });
              assert.equal(allowed, want, `${at} by the judge`);
            }
          }
        }
      }
    }
  });
}

function clusterOf({ namespaces, pods, policies }: Scene): ApiCluster {
  return {
    namespaces: [...namespaces.values()],
    pods: [...pods.values()],
    policies: [...policies.values()],
  };
}
