/**
 * `tools/bench cni [--against DIR] [--rounds N] [--quick]`: what a pod costs, beside the plugins in
 * DIR, in one run that alternates between them. DIR is what `tools/peers` built unless told
 * otherwise: the reference plugins and a stand-in for flannel's. Debian's plugins run along as a
 * second reference; they have no flannel, so their list begins with bridge and the document that
 * flannel would hand it: one process less, which flatters them.
 *
 * @module
 */

import { Kernel } from "../../ffi/kernel.ts";
import type { Cidr, Inet, Ip } from "../../engine/ip.ts";
import type { Change } from "../../engine/plan.ts";
import { run } from "../kernel/plugins.ts";
import { exists, ServerBench } from "../kernel/server_bench.ts";
import { Caller, type Took } from "./caller.ts";
import { Figures, type Measure, median, percentiles } from "./table.ts";
import { Chains, type List, type Way } from "./ways.ts";

const quick = Deno.args.includes("--quick");
const REFERENCE = "reference";
/** Rounds before anything is counted: a daemon is warm after its first pods. */
const WARM = quick ? 10 : 60;
/** How many pods at once, and how often. */
const CROWDS = quick ? [[30, 2]] as const : [[30, 5], [100, 2]] as const;

/** Medians that design §6 sets a target for: the way, its list, the reference's list. */
const TARGETS: readonly (Measure & { readonly way: string; readonly list: List })[] = [
  { name: "ADD, stock list", way: "daemon", list: "stock", unit: "ms", ratio: 1 / 7 },
  { name: "DEL, stock list", way: "daemon", list: "stock", unit: "ms", ratio: 0.75 },
  { name: "ADD, own list", way: "daemon, one exec", list: "stock", unit: "ms" },
  { name: "DEL, own list", way: "daemon, one exec", list: "stock", unit: "ms" },
  { name: "ADD, a host port", way: "daemon, one exec", list: "port", unit: "ms", ratio: 1 / 8 },
  { name: "DEL, a host port", way: "daemon, one exec", list: "port", unit: "ms", ratio: 1 / 4 },
  { name: "ADD, a host port, stock list", way: "daemon", list: "port", unit: "ms" },
  { name: "DEL, a host port, stock list", way: "daemon", list: "port", unit: "ms" },
  { name: "ADD, no daemon, stock list", way: "cold", list: "stock", unit: "ms", ratio: 2 },
  { name: "ADD, no daemon, flannel alone", way: "cold", list: "alone", unit: "ms", ratio: 1.6 },
];

/** Times of one way and list, ms. */
interface Times {
  readonly add: number[];
  readonly del: number[];
}

function option(name: string, usual: string): string {
  const at = Deno.args.indexOf(name);
  return at < 0 ? usual : Deno.args[at + 1] ?? usual;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** See the module. */
class PodBench {
  readonly bench = new ServerBench();
  readonly #caller = new Caller(this.bench.dir);
  readonly #chains = new Chains(this.bench);
  readonly #pods: readonly string[];
  readonly #ways: readonly (readonly [Way, readonly List[]])[];
  readonly #times = new Map<string, Times>();
  readonly #figures = new Figures(REFERENCE);

  constructor(against: string) {
    const most = Math.max(...CROWDS.map(([pods]) => pods));
    this.#pods = Array.from({ length: most }, () => this.bench.namespace());
    const own = this.bench.clients;
    const all = ["alone", "stock", "port"] as const;
    this.#ways = [
      [{ name: REFERENCE, dir: against, flannel: exists(`${against}/flannel`) }, all],
      ...(exists("/usr/lib/cni/bridge") && against !== "/usr/lib/cni"
        ? [[{ name: "Debian's", dir: "/usr/lib/cni", flannel: false }, ["stock"]] as const]
        : []),
      [{ name: "daemon", dir: own }, all],
      [{ name: "daemon, one exec", dir: own, single: true }, ["stock", "port"]],
      [{ name: "cold", dir: own, env: { TWILL_DIRECT: "1" } }, ["alone", "stock"]],
    ];
  }

  /** One pod after the other. */
  async sequence(rounds: number): Promise<void> {
    for (let round = -WARM; round < rounds; round++) {
      for (const [way, lists] of this.#ways) {
        const warms = way.name.startsWith("daemon");
        if (round < -2 && !warms) continue;
        for (const list of lists) await this.#one(way, list, round);
      }
    }
  }

  async #one(way: Way, list: List, round: number): Promise<void> {
    const [netns = ""] = this.#pods;
    const call = async (command: "ADD" | "DEL"): Promise<number> => {
      const chain = this.#chains.of(way, list, command, `b${round + WARM}`, netns);
      return (await this.#caller.run([chain])).total;
    };
    const [add, del] = [await call("ADD"), await call("DEL")];
    if (round < 0) return;
    const key = `${way.name}: ${list}`;
    const times = this.#times.get(key) ?? { add: [], del: [] };
    this.#times.set(key, times);
    times.add.push(add);
    times.del.push(del);
    for (const target of TARGETS) {
      const reference = way.name === REFERENCE && list === target.list;
      if (!reference && (target.way !== way.name || target.list !== list)) continue;
      const value = target.name.startsWith("ADD") ? add : del;
      this.#figures.note(target, reference ? REFERENCE : "twill", value);
    }
  }

  /** Many pods at once: time, then the same again while memory is looked at. */
  async crowd(count: number, rounds: number): Promise<void> {
    say(`\n${count} ADDs at once, ms       total   each p50   p90   p99 | MiB of all processes`);
    const total = { name: `${count} ADDs at once`, unit: "ms", ratio: 1 / 4 } as const;
    const memory = { name: `their peak memory`, unit: "MiB", ratio: 1 / 20 } as const;
    const measures = [total, { ...memory, name: `${memory.name}, ${count} at once` }] as const;
    for (const [way, lists] of this.#ways) {
      if (way.name === "Debian's" || way.name === "cold" && count > 30) continue;
      const list = lists.find((one) => one === "stock");
      if (list === undefined) continue;
      const took: Took[] = [];
      for (let round = 0; round <= rounds; round++) {
        const all = (command: "ADD" | "DEL") =>
          this.#pods.slice(0, count).map((netns, n) =>
            this.#chains.of(way, list, command, `m${n}`, netns)
          );
        took.push(await this.#caller.run(all("ADD"), round === rounds));
        await this.#caller.run(all("DEL"));
      }
      const timed = took.slice(0, -1);
      const peak = (took.at(-1)?.peak ?? NaN) / 1024;
      const figures = [median(timed.map((one) => one.total)), peak] as const;
      const each = percentiles(timed.flatMap((one) => one.each));
      say(`${way.name.padEnd(22)}${show([figures[0], ...each])} |${show([peak])}`);
      if (way.name !== REFERENCE && way.name !== "daemon") continue;
      const who = way.name === REFERENCE ? REFERENCE : "twill";
      measures.forEach((measure, n) => this.#figures.note(measure, who, figures[n] ?? NaN));
    }
  }

  /** What nobody can do better. */
  async floors(rounds: number): Promise<void> {
    const empty = `${this.bench.dir}/empty`;
    const source = `${empty}.c`;
    Deno.writeTextFileSync(
      source,
      'void _start(void) { __asm__ volatile("syscall" :: "a"(231), "D"(0)); }\n',
    );
    run("gcc", "-O2", "-static", "-nostdlib", "-o", empty, source);
    const exec: number[] = [];
    for (let n = 0; n < rounds; n++) {
      exec.push((await this.#caller.run([[this.#chains.plain(empty)]])).total);
    }
    const [netns = ""] = this.#pods;
    const links = Array.from({ length: rounds }, (_, n) => timeLinks(netns, n));
    say("\nfloors, ms                p50     p90     p99");
    say(`an empty program      ${show(percentiles(exec))}`);
    say(`the links of an ADD   ${show(percentiles(links.map(([add]) => add)))}`);
    say(`their deletion        ${show(percentiles(links.map(([, del]) => del)))}`);
  }

  report(rounds: number): void {
    say(`\n${rounds} pods one after the other, ms`);
    say("                          ADD p50     p90     p99 | DEL p50     p90     p99");
    for (const [name, { add, del }] of this.#times) {
      say(`${name.padEnd(25)}${show(percentiles(add))} |${show(percentiles(del))}`);
    }
    say("");
    for (const line of this.#figures.lines()) say(line);
    say(`load average ${Deno.readTextFileSync("/proc/loadavg").trim()}`);
  }

  async close(): Promise<void> {
    await this.#caller.close();
    await this.bench.close();
    new Deno.Command("ip", { args: ["link", "del", "cni1"], stderr: "null" }).outputSync();
  }
}

function show(values: readonly number[]): string {
  return values.map((value) => value.toFixed(2).padStart(8)).join("");
}

/** The kernel's work for a pod, by the very same messages: made and deleted, ms. */
function timeLinks(netns: string, round: number): [number, number] {
  const host = `floor${round}`;
  const dev = "eth0";
  using kernel = Kernel.open({ pod: netns });
  const timed = (facts: readonly (Change & { readonly op: "put" })["fact"][]): number => {
    const began = performance.now();
    for (const { error } of kernel.apply(facts.map((fact) => ({ op: "put", fact })))) {
      if (error !== undefined) throw error;
    }
    return performance.now() - began;
  };
  const add = timed([
    {
      kind: "link",
      where: "pod",
      name: dev,
      driver: { kind: "veth", peer: host, peerWhere: "host" },
    },
    { kind: "port", where: "host", dev: host, bridge: "cni0", hairpin: true, isolated: false },
    { kind: "up", where: "host", dev: host, up: true },
    { kind: "address", where: "pod", dev, inet: "10.77.1.5/24" as Inet },
    { kind: "up", where: "pod", dev, up: true },
    { kind: "route", where: "pod", dst: "0.0.0.0/0" as Cidr, dev, via: "10.77.1.1" as Ip },
  ]);
  const began = performance.now();
  kernel.apply([{
    op: "delete",
    fact: { kind: "link", where: "pod", name: dev, driver: { kind: "veth" } },
  }]);
  return [add, performance.now() - began];
}

async function main(): Promise<void> {
  const rounds = Number(option("--rounds", quick ? "15" : "60"));
  const usual = Deno.env.get("TWILL_CNI_PLUGINS") ?? "/usr/lib/cni";
  const pods = new PodBench(option("--against", usual));
  try {
    await pods.bench.startDaemon();
    await pods.sequence(rounds);
    for (const [count, often] of CROWDS) await pods.crowd(count, often);
    await pods.floors(rounds);
    pods.report(rounds);
  } finally {
    await pods.close();
  }
}

await main();
