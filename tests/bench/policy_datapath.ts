/**
 * What policies cost packets between two pods of one node, beside one rule that only tracks
 * connections, or only drops.
 *
 * @module
 */

import { compile } from "../../engine/policy/compile.ts";
import { wholeText } from "../../engine/policy/render.ts";
import { policyTable } from "../../engine/policy/table.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { readCluster } from "../engine/policy/nodes.ts";
import { Field } from "../lab/policy/field.ts";
import { run } from "../lab/command.ts";
import type { Measure } from "./table.ts";

function bareTable(rule: string): string {
  return "table inet bare {\n\tchain c {\n\t\ttype filter hook forward priority filter; " +
    `policy accept;\n\t\t${rule}\n\t}\n}\n`;
}

/** Twenty policies that have no peer, as a pod of a busy namespace has them. */
const IDLE = Array.from(
  { length: 20 },
  (_, i) => `x/q${i} on all types Ingress; in: P(nobody=${i}) @ TCP/${i + 1}`,
);

const TRACKED = bareTable("ct state established,related accept");
const OPEN = tableText([
  "x/p on all types Ingress+Egress; in: P(all) @ any port; out: P(all) @ any port",
  ...IDLE,
]);
const ELSEWHERE = tableText(["z/p on all types Ingress+Egress; in: []; out: []"]);

/** Small packets that are dropped at the pod's own port, so that no answer is part of it. */
const PORT = 9000;

type Kind = "tcp" | "udp";

/** What is compared, ours with the other's rules; design: within 5 % of a bare conntrack rule. */
const ROWS: readonly {
  readonly name: string;
  readonly kind: Kind;
  readonly ours: string;
  readonly theirs: string;
  readonly ratio?: number;
}[] = [
  {
    name: "TCP, 1 Gbit: isolated pods, tracked only",
    kind: "tcp",
    ours: OPEN,
    theirs: TRACKED,
    ratio: 1.05,
  },
  { name: "  policies for others, tracked only", kind: "tcp", ours: ELSEWHERE, theirs: TRACKED },
  { name: "  isolated pods, no rules", kind: "tcp", ours: OPEN, theirs: "" },
  {
    name: "UDP 64 B: isolated pods, tracked only",
    kind: "udp",
    ours: OPEN,
    theirs: TRACKED,
    ratio: 1.05,
  },
  { name: "  policies for others, tracked only", kind: "udp", ours: ELSEWHERE, theirs: TRACKED },
  { name: "  isolated pods, no rules", kind: "udp", ours: OPEN, theirs: "" },
  {
    name: "  dropped, one rule that drops",
    kind: "udp",
    ours: tableText(["x/p on all types Ingress; in: []", ...IDLE]),
    theirs: bareTable(`udp dport ${PORT} drop`),
  },
];

function tableText(policies: readonly string[]): string {
  const { namespaces, pods } = new Scene();
  const cluster = readCluster({
    namespaces: [...namespaces.values()],
    pods: [...pods.values()],
    policies: policies.map(policyObject),
  });
  const options = { table: policyTable(""), ping: false };
  return wholeText({ ...compile(cluster, "node1"), options, generation: 1 });
}

/** What iperf3 prints. */
interface Report {
  /** No sum where it failed: its server is busy while it winds up a run. */
  readonly end: { readonly sum_received?: { readonly bits_per_second: number } };
}

/**
 * A figure: what it is, and what it took with our rules and the other ones at the least, since what
 * else the machine does only adds. The unit is the measure's.
 */
export interface Compared {
  readonly measure: Measure;
  readonly ours: number;
  readonly theirs: number;
}

/** Sends packets, many times with each of the rules in turns. */
export async function datapath(quick: boolean): Promise<Compared[]> {
  const folder = await Deno.makeTempDir({ prefix: "twill-bench-" });
  const { pods } = new Scene();
  const places = ["x/a", "x/c"].map((name) => ({
    name,
    node: 1,
    ips: pods.get(name)?.status?.podIPs?.map(({ ip }) => ip ?? "") ?? [],
  }));
  const target = places[0]?.ips[0] ?? "";
  const seconds = "1";
  const rounds = quick ? 3 : 7;
  const flood = `${folder}/flood`;
  const source = new URL("flood.c", import.meta.url).pathname;
  try {
    await run(["gcc", "-O2", "-o", flood, source]);
    await using field = await Field.create(folder, places);
    const [server, client] = [field.pod("x/a").space, field.pod("x/c").space];
    const iperf = await server.start("iperf3", ["iperf3", "-s"]);
    const sink = await server.start("sink", [flood, "sink", `${PORT}`]);
    const cost = {
      tcp: async () => {
        const report: Report = JSON.parse(
          await client.must(["iperf3", "-J", "-c", target, "-t", seconds]),
        );
        const rate = report.end.sum_received?.bits_per_second;
        return rate === undefined ? Infinity : 1e12 / rate; // ms for 10^9 bits
      },
      udp: async () => Number(await client.must([flood, target, `${PORT}`, seconds])) / 1e3, // µs
    } as const satisfies Record<Kind, () => Promise<number>>;
    const out: Compared[] = [];
    for (const { name, kind, ours, theirs, ratio } of ROWS) {
      const found = { ours: [] as number[], theirs: [] as number[] };
      for (let round = 0; round < rounds; round++) {
        for (const [who, rules] of [["theirs", theirs], ["ours", ours]] as const) {
          await field.nft(1, `flush ruleset\n${rules}`);
          found[who].push(await cost[kind]());
        }
      }
      const unit = kind === "tcp" ? "ms" : "µs";
      out.push({
        measure: { name, unit, ...(ratio === undefined ? {} : { ratio }) },
        ours: Math.min(...found.ours),
        theirs: Math.min(...found.theirs),
      });
    }
    await iperf.stop("SIGKILL");
    await sink.stop("SIGKILL");
    return out;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
