import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../../engine/ip.ts";
import { compile, KNOWN_CHAIN } from "../../../engine/policy/compile.ts";
import { Judge } from "../../../engine/policy/decide.ts";
import type { Protocol } from "../../../engine/policy/model.ts";
import { deltaText, narrows } from "../../../engine/policy/render.ts";
import { type Enforced, noPolicies, type PolicyTable } from "../../../engine/policy/table.ts";
import { cluster, FLOWS, history, NODE_NAMES } from "./clusters.ts";
import { type ApiCluster, egressAllows, type Flow, ingressAllows } from "./naive.ts";
import { Nodes, plain, readCluster } from "./nodes.ts";
import { arrives, leaves } from "./packets.ts";

const RUNS = Deno.env.get("TWILL_FULL") === undefined ? 60 : 1000;

/** The node of the pod that has an address. */
function nodeOf(api: ApiCluster, ip: string): string | undefined {
  return new Judge(readCluster(api)).podAt(parseIp(ip))?.pod.node;
}

Deno.test("random clusters: the tables say what the policies say, and so does the judge", () => {
  fc.assert(
    fc.property(cluster, (api) => {
      const nodes = new Nodes(NODE_NAMES);
      nodes.update(api);
      const judge = new Judge(readCluster(api));
      for (const flow of FLOWS) {
        const want = egressAllows(api, flow) && ingressAllows(api, flow);
        assert.equal(nodes.open(flow), want, `tables: ${JSON.stringify(flow)}`);
        const { allowed } = judge.decide({
          source: parseIp(flow.source),
          destination: parseIp(flow.destination),
          protocol: flow.protocol as Protocol,
          port: flow.port,
        });
        assert.equal(allowed, want, `judge: ${JSON.stringify(flow)}`);
      }
    }),
    { numRuns: RUNS },
  );
});

Deno.test("random histories: news by news leads to the same table as the whole at once", () => {
  fc.assert(
    fc.property(history, (all) => {
      const nodes = new Nodes(NODE_NAMES);
      for (const api of all) {
        nodes.update(api);
        for (const name of NODE_NAMES) {
          assert.deepEqual(plain(nodes.tables.get(name)), plain(compile(readCluster(api), name)));
        }
      }
    }),
    { numRuns: RUNS },
  );
});

Deno.test("random histories: what stays allowed on every node is no reason to judge again", () => {
  fc.assert(
    fc.property(history, (all) => {
      const nodes = new Nodes(["n1"]);
      let before: PolicyTable = noPolicies();
      for (const api of all) {
        nodes.update(api);
        const table = nodes.tables.get("n1") ?? noPolicies();
        const passes = (one: PolicyTable, flow: Flow): boolean =>
          leaves(one, flow) && arrives(one, flow);
        const lost = FLOWS.some((flow) => passes(before, flow) && !passes(table, flow));
        if (lost) assert.ok(narrows(before, table), "a connection that is lost is judged again");
        before = table;
      }
    }),
    { numRuns: RUNS },
  );
});

Deno.test("random clusters: every chain and set that is spoken of is there, and no other", () => {
  fc.assert(
    fc.property(cluster, (api) => {
      for (const name of NODE_NAMES) {
        const { sets, chains, maps } = compile(readCluster(api), name);
        const rules = [...chains.values()].flatMap(({ rules }) => rules);
        const used = {
          chains: [
            ...Object.values(maps).flatMap((map) => [...map.values()]),
            ...rules.flatMap(({ verdict }) => verdict.kind === "jump" ? [verdict.chain] : []),
          ].filter((chain) => chain !== KNOWN_CHAIN),
          sets: [
            ...rules.flatMap(({ match }) => match.flatMap((one) => "set" in one ? [one.set] : [])),
            ...["loops4", "loops6", "senders4", "senders6"],
          ],
        };
        assert.deepEqual(new Set(used.chains), new Set(chains.keys()));
        assert.deepEqual(new Set(used.sets), new Set(sets.keys()));
      }
    }),
    { numRuns: RUNS },
  );
});

Deno.test("nothing leads from a table to itself; the same cluster again is no change", () => {
  const enforced = (table: PolicyTable): Enforced => ({
    ...table,
    options: { table: "inet twill-policy", ping: false },
    generation: 1,
  });
  fc.assert(
    fc.property(cluster, (api) => {
      const nodes = new Nodes(NODE_NAMES);
      nodes.update(api);
      const [first = noPolicies()] = nodes.tables.values();
      nodes.update(api);
      const [second = noPolicies()] = nodes.tables.values();
      assert.equal(narrows(first, second), false);
      assert.equal(deltaText(enforced(first), enforced(second)), "");
    }),
    { numRuns: RUNS },
  );
});

Deno.test("pods of other nodes are in no map", () => {
  fc.assert(
    fc.property(cluster, (api) => {
      for (const name of NODE_NAMES) {
        const { maps } = compile(readCluster(api), name);
        for (const ip of Object.values(maps).flatMap((map) => [...map.keys()])) {
          assert.equal(nodeOf(api, ip), name);
        }
      }
    }),
    { numRuns: RUNS },
  );
});
