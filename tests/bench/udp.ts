/**
 * The relays of backend udp, in one run on one machine: two nodes with flanneld's, then with ours,
 * in turns. A TCP stream and a ping between two pods; the processor is that of both daemons.
 *
 * @module
 */

import { Lab } from "../lab/lab.ts";
import type { Node } from "../lab/node.ts";
import { median } from "./table.ts";

const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 2 : 5;
const SECONDS = quick ? 3 : 10;
/** `sysconf(_SC_CLK_TCK)` of every Linux that Deno runs on. */
const TICKS = 100;

/** Whose daemons run. */
export type Who = "flanneld" | "twill";
const PROGRAMS: readonly Who[] = ["flanneld", "twill"];

/** What is noted of each round. */
export interface Round {
  /** Mbit/s of payload. */
  readonly rate: number;
  /** Seconds of processor for each gigabyte, of both daemons together. */
  readonly cost: number;
  /** Milliseconds, there and back, with nothing else under way. */
  readonly ping: number;
}

/** Seconds of processor that a process has used. */
function used(pid: number): number {
  const text = Deno.readTextFileSync(`/proc/${pid}/stat`);
  // Fields behind the name in parentheses: state is 3, utime 14, stime 15.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

async function start(lab: Lab, who: Who): Promise<number[]> {
  const pids = [];
  for (const node of lab.nodes) {
    const program = who === "twill" ? {} : { program: ["flanneld"] as const };
    const { pid } = await node.startDaemon({ flags: lab.flags, ...program });
    await node.ready();
    pids.push(pid);
  }
  return pids;
}

async function measure(lab: Lab, who: Who, target: string): Promise<Round> {
  const pids = await start(lab, who);
  const one = lab.nodes[0] as Node;
  const inPod = (...words: readonly string[]): Promise<string> =>
    one.must(["ip", "netns", "exec", "pod", ...words]);
  await inPod("ping", "-c1", "-w20", target);
  const pings = await inPod("ping", "-n", "-c", "50", "-i", "0.02", target);
  const ping = median([...pings.matchAll(/time=([\d.]+)/g)].map(([, ms]) => Number(ms)));
  const before = pids.map(used);
  const text = await inPod("iperf3", "-c", target, "-t", String(SECONDS), "-J");
  const cost = pids.reduce((sum, pid, i) => sum + used(pid) - (before[i] ?? 0), 0);
  const { bytes, bits_per_second: rate } = JSON.parse(text).end.sum_received;
  for (const node of lab.nodes) await node.daemon!.stop("SIGTERM");
  return { rate: rate / 1e6, cost: cost / (bytes / 1e9), ping };
}

/** All rounds with a backend, in turns, on nodes of their own. */
export async function measureAll(
  backend: Readonly<Record<string, unknown>>,
): Promise<Record<Who, Round[]>> {
  const network = { Network: "10.244.0.0/16", Backend: backend };
  await using lab = await Lab.create({ nodes: ["one", "two"], network });
  const [one, two] = lab.nodes as [Node, Node];
  await start(lab, "twill");
  await one.addPod("pod");
  const { ip } = await two.addPod("pod");
  for (const node of lab.nodes) await node.daemon!.stop("SIGTERM");
  await two.start("iperf", ["ip", "netns", "exec", "pod", "iperf3", "-s"]);
  const rounds: Record<Who, Round[]> = { flanneld: [], twill: [] };
  for (let i = 0; i < ROUNDS; i++) {
    for (const who of PROGRAMS) rounds[who].push(await measure(lab, who, ip));
  }
  return rounds;
}

if (import.meta.main) {
  const rounds = await measureAll({ Type: "udp" });
  const middle = (who: Who, key: keyof Round): number =>
    median(rounds[who].map((round) => round[key]));
  const rows = [
    ["TCP between pods", "rate", "Mbit/s", 0],
    ["processor of both daemons", "cost", "s/GB", 2],
    ["ping between pods", "ping", "ms", 3],
  ] as const;
  const lines = rows.map(([name, key, unit, digits]) => {
    const [theirs, ours] = [middle("flanneld", key), middle("twill", key)];
    const shown = [theirs, ours].map((value) => `${value.toFixed(digits)} ${unit}`.padStart(14));
    return `${name.padEnd(28)}${shown.join("")}${(ours / theirs).toFixed(2).padStart(8)}`;
  });
  const head = `${"measure (median)".padEnd(28)}${"flanneld".padStart(14)}${"twill".padStart(14)}` +
    "ratio".padStart(8);
  Deno.stdout.writeSync(new TextEncoder().encode(`${[head, ...lines].join("\n")}\n`));
}
