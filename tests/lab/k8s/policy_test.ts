/**
 * NetworkPolicy in a real cluster: all cases of the tables, made by the API and judged by real
 * packets between real pods.
 */

import assert from "node:assert/strict";
import { CASES } from "../../engine/policy/cases.ts";
import { type Expectation, expectation } from "../../engine/policy/language.ts";
import { Cluster } from "./cluster.ts";
import { TwillService } from "./networks.ts";
import { Arena } from "./policy/arena.ts";

/** Until a change of the API must be in force, ms: ten times what we want. */
const DEADLINE = 3_000;

let cluster: Cluster;
let arena: Arena;

Deno.test.beforeAll(async () => {
  cluster = await Cluster.create({ nodes: 2, network: new TwillService() });
  arena = await Arena.create(cluster);
});

Deno.test.afterAll(async () => {
  await arena?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** Tries what an expectation says, between all pods; those that are wrong are tried again. */
async function probe({ protocol, port, open }: Expectation): Promise<void> {
  if (protocol === "SCTP") return; // no sockets in this kernel; the tables are compared elsewhere
  const { names } = arena;
  let pairs = names.flatMap((source) =>
    names.filter((destination) => source !== destination).flatMap((destination) =>
      arena.ips(destination).map((ip) => ({ source, destination, ip }))
    )
  );
  const end = performance.now() + DEADLINE;
  for (;;) {
    const tried = await Promise.all(pairs.map(async (pair) => {
      const want = open(pair.source, pair.destination);
      const got = await arena.pod(pair.source).ask(
        { deed: "try", protocol: protocol as "TCP" | "UDP", ip: pair.ip, port },
        want ? "soon" : "never",
      );
      return { ...pair, got, want };
    }));
    pairs = tried.filter(({ got, want }) => got !== want);
    if (pairs.length === 0) return;
    if (performance.now() > end) break;
  }
  const words = pairs.map(({ source, destination, ip }) =>
    `${source} → ${destination} (${ip}) is ${open(source, destination) ? "closed" : "open"}`
  );
  assert.fail(`${protocol}/${port}: ${words.join("; ")}`);
}

for (const { id, title, steps } of CASES) {
  Deno.test({
    name: `k8s: policy ${id}: ${title}`,
    // The agents' answers are read from one test to the next.
    sanitizeOps: false,
    fn: async () => {
      await arena.reset();
      for (const { deeds, expect } of steps) {
        for (const deed of deeds) await arena.do(deed);
        for (const one of expect.map(expectation)) await probe(one);
      }
    },
  });
}
