/**
 * What policies cost packets between two pods of one node, beside one rule that only tracks
 * connections.
 *
 * @module
 */

import { compile } from "../../engine/policy/compile.ts";
import { wholeText } from "../../engine/policy/render.ts";
import { policyTable } from "../../engine/policy/table.ts";
import { policyObject, Scene } from "../engine/policy/language.ts";
import { readCluster } from "../engine/policy/nodes.ts";
import { Field } from "../lab/policy/field.ts";
import { median } from "./table.ts";

/** What stands on the node. */
const RULES = {
  "tracked only":
    "table inet bare {\n\tchain c {\n\t\ttype filter hook forward priority filter; policy accept;\n" +
    "\t\tct state established,related accept\n\t}\n}\n",
  "policies, none for them": tableText(["z/p on all types Ingress+Egress; in: []; out: []"]),
  "policies, both isolated": tableText([
    "x/p on all types Ingress+Egress; in: P(all) @ any port; out: P(all) @ any port",
    ...Array.from(
      { length: 20 },
      (_, i) => `x/q${i} on all types Ingress; in: P(nobody=${i}) @ TCP/${i + 1}`,
    ),
  ]),
} as const;

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

interface Report {
  readonly end: {
    readonly sum_received?: { readonly bits_per_second: number };
    readonly sum: {
      readonly packets: number;
      readonly seconds: number;
      readonly lost_packets: number;
    };
  };
}

/** The lines of a table: TCP throughput and small UDP packets, ratios to the first row. */
export async function datapath(quick: boolean): Promise<string[]> {
  const folder = await Deno.makeTempDir({ prefix: "twill-bench-" });
  const { pods } = new Scene();
  const places = ["x/a", "x/c"].map((name) => ({
    name,
    node: 1,
    ips: pods.get(name)?.status?.podIPs?.map(({ ip }) => ip ?? "") ?? [],
  }));
  const seconds = quick ? "1" : "3";
  const rounds = quick ? 3 : 5;
  try {
    await using field = await Field.create(folder, places);
    const server = await field.pod("x/a").space.start("iperf3", ["iperf3", "-s"]);
    const run = async (...args: readonly string[]): Promise<Report> => {
      const command = ["iperf3", "-J", "-c", places[0]?.ips[0] ?? "", "-t", seconds, ...args];
      return JSON.parse(await field.pod("x/c").space.must(command as [string, ...string[]]));
    };
    const found = new Map<string, { tcp: number[]; udp: number[] }>();
    // In turns, so that what else the machine does hits all alike.
    for (let round = 0; round < rounds; round++) {
      for (const [name, rules] of Object.entries(RULES)) {
        await field.nft(1, `flush ruleset\n${rules}`);
        const tcp = (await run()).end.sum_received?.bits_per_second ?? 0;
        const { sum } = (await run("-u", "-b", "0", "-l", "64")).end;
        const udp = (sum.packets - sum.lost_packets) / sum.seconds;
        const all = found.get(name) ?? { tcp: [], udp: [] };
        found.set(name, { tcp: [...all.tcp, tcp / 1e9], udp: [...all.udp, udp / 1e3] });
      }
    }
    await server.stop("SIGKILL");
    const [base] = found.values();
    const cell = (values: readonly number[], of: readonly number[]): string =>
      `${median(values).toFixed(1).padStart(8)} ${(median(values) / median(of)).toFixed(2)}`;
    return [
      "two pods on one bridge           TCP Gbit/s  ratio   UDP 64 B kpps  ratio",
      ...[...found].map(([name, { tcp, udp }]) =>
        `  ${name.padEnd(30)}${cell(tcp, base?.tcp ?? [])}      ${cell(udp, base?.udp ?? [])}`
      ),
    ];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
