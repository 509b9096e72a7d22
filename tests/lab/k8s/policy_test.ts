/**
 * NetworkPolicy in a real cluster: all cases of the tables, made by the API and judged by real
 * packets between real pods.
 */

import assert from "node:assert/strict";
import { CASES } from "../../engine/policy/cases.ts";
import { type Expectation, expectation } from "../../engine/policy/language.ts";
import { Cluster } from "./cluster.ts";
import { TwillService } from "./networks.ts";
import { percentiles } from "../../bench/table.ts";
import { note } from "../notes.ts";
import { Arena } from "./policy/arena.ts";
import * as platform from "./policy/platform.ts";

const FULL = Deno.env.get("TWILL_FULL") !== undefined;
/** Until a change of the API must be in force, ms: far more than a machine under load needs. */
const DEADLINE = 10_000;

let cluster: Cluster;
let arena: Arena;

Deno.test.beforeAll(async () => {
  const kind = FULL ? { families: "dual", proxy: "nftables" } as const : {};
  cluster = await Cluster.create({ nodes: 2, network: new TwillService(), ...kind });
  arena = await Arena.create(cluster);
});

Deno.test.afterAll(async () => {
  await arena?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/**
 * Tries what an expectation says, between all pods; those that are wrong are tried again.
 *
 * @param families IPv4 alone, where policies name addresses of it.
 */
async function probe({ protocol, port, open }: Expectation, families: number): Promise<void> {
  if (protocol === "SCTP") return; // no sockets in this kernel; the tables are compared elsewhere
  const { names } = arena;
  let pairs = names.flatMap((source) =>
    names.filter((destination) => source !== destination).flatMap((destination) =>
      arena.ips(destination).slice(0, families).map((ip) => ({ source, destination, ip }))
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
  const logs = cluster.nodes.map((node) => node.tail("twill", 15));
  assert.fail([`${protocol}/${port}: ${words.join("; ")}`, ...logs].join("\n"));
}

/** A test that begins without policies. The agents' answers are read from one test to the next. */
function policyTest(name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: `k8s: policy ${name}`,
    sanitizeOps: false,
    fn: async () => {
      await arena.reset();
      await fn();
    },
  });
}

for (const { id, title, steps } of CASES) {
  policyTest(`${id}: ${title}`, async () => {
    const byAddress = steps.some(({ deeds }) => deeds.some((deed) => deed.includes("IP(")));
    for (const { deeds, expect } of steps) {
      for (const deed of deeds) await arena.do(deed);
      for (const one of expect.map(expectation)) await probe(one, byAddress ? 1 : 2);
    }
  });
}

policyTest("P26: a new pod is covered before its first packet", async () => {
  await platform.firstPackets(arena, FULL ? 10 : 3);
});

policyTest("P04: the kubelet's probes pass", () => platform.kubeletProbes(arena));

policyTest("P09, P10: behind a Service the pod's port counts", () => platform.services(arena));

policyTest("P33: a namespace made anew has its new labels", () => platform.namespaceAnew(arena));

policyTest(
  "P29 to P31: changes under load, daemons killed: nothing lost, nothing leaked",
  async () => {
    note(await platform.flood(arena, FULL ? 200 : 60));
  },
);

policyTest("a write to the API is in the kernel within a moment", async () => {
  for (const [name, values] of await platform.latencies(arena)) {
    const [p50, p90, p99] = percentiles(values);
    note(
      `${name}, write to kernel: p50 ${p50.toFixed(1)}, p90 ${p90.toFixed(1)}, p99 ${
        p99.toFixed(1)
      } ms`,
    );
    assert.ok(p50 < 200, "ten times of what we want");
  }
});

policyTest("P37: uninstall leaves no rules", () => platform.uninstalled(arena));
