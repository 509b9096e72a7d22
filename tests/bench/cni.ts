/**
 * `tools/bench cni [--against DIR] [--rounds N]`: what a pod costs, beside the plugins in DIR
 * (Debian's /usr/lib/cni unless told otherwise), in one run that alternates between them.
 *
 * DIR's chain is flannel → bridge → host-local, then portmap, as in flannel's list. Where DIR has no
 * flannel (Debian's has not), its chain begins with bridge and the document that flannel would hand
 * it: one process less, so the comparison flatters DIR.
 *
 * @module
 */

import assert from "node:assert/strict";
import { run } from "../kernel/plugins.ts";
import { exists, ServerBench } from "../kernel/server_bench.ts";

/** Starts processes and takes the time; see caller.c. */
class Caller {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncIterator<string>;

  constructor(dir: string) {
    const source = new URL("caller.c", import.meta.url).pathname;
    run("gcc", "-O2", "-Wall", "-o", `${dir}/caller`, source);
    this.#child = new Deno.Command(`${dir}/caller`, { stdin: "piped", stdout: "piped" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = linesOf(this.#child.stdout)[Symbol.asyncIterator]();
  }

  /** Runs chains at once; returns milliseconds, and KiB of the largest process. */
  async run(chains: readonly (readonly Step[])[]): Promise<{ ms: number; rss: number }> {
    const [first] = chains;
    assert.ok(first !== undefined);
    const steps = chains.flat().map(({ program, stdin, env }) => `${program} ${stdin} ${env}\n`);
    const text = `${chains.length} ${first.length}\n${steps.join("")}`;
    await this.#writer.write(new TextEncoder().encode(text));
    const { value } = await this.#lines.next();
    const [us = 0, failed = 0, rss = 0] = String(value).split(" ").map(Number);
    assert.equal(failed, 0, `${failed} of ${steps.length} calls failed: ${steps[0]}`);
    return { ms: us / 1000, rss };
  }

  async close(): Promise<void> {
    await this.#writer.close();
    await this.#child.status;
    await this.#lines.return?.();
  }
}

interface Step {
  readonly program: string;
  /** Files. */
  readonly stdin: string;
  readonly env: string;
}

async function* linesOf(stream: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** One way to serve pods. */
interface Way {
  readonly name: string;
  readonly dir: string;
  /** Environment beside that of CNI. */
  readonly env: Readonly<Record<string, string>>;
  readonly config: (bench: ServerBench) => Readonly<Record<string, unknown>>;
  readonly plugin: string;
}

/** What flannel hands to bridge on this bench's node. */
function bridgeDocument(bench: ServerBench): Readonly<Record<string, unknown>> {
  return {
    cniVersion: "0.3.1",
    name: "reference",
    type: "bridge",
    bridge: "cni1",
    hairpinMode: true,
    isDefaultGateway: true,
    isGateway: true,
    ipMasq: false,
    mtu: 1500,
    ipam: {
      type: "host-local",
      ranges: [[{ subnet: "10.78.0.0/16" }]],
      routes: [{ dst: "10.77.0.0/16" }],
      dataDir: `${bench.dir}/reference`,
    },
  };
}

const PREVIOUS = {
  cniVersion: "0.3.1",
  interfaces: [{ name: "eth0", sandbox: "/run/netns/x" }],
  ips: [{ version: "4", interface: 0, address: "10.77.1.9/24", gateway: "10.77.1.1" }],
  dns: {},
};

let files = 0;

/** The chain of one command for a pod. */
function chain(bench: ServerBench, way: Way, command: string, id: string, netns: string): Step[] {
  const file = (text: string): string => {
    const path = `${bench.dir}/call-${files++ % 4096}`;
    Deno.writeTextFileSync(path, text);
    return path;
  };
  const env = file(
    Object.entries({
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      CNI_COMMAND: command,
      CNI_CONTAINERID: id,
      CNI_NETNS: netns,
      CNI_IFNAME: "eth0",
      CNI_PATH: way.dir,
      ...way.env,
    }).map(([name, value]) => `${name}=${value}\n`).join(""),
  );
  const portmap = { cniVersion: "0.3.1", name: "served", type: "portmap", prevResult: PREVIOUS };
  const steps = [
    { program: `${way.dir}/${way.plugin}`, stdin: file(JSON.stringify(way.config(bench))), env },
    { program: `${way.dir}/portmap`, stdin: file(JSON.stringify(portmap)), env },
  ];
  return command === "ADD" ? steps : steps.reverse();
}

function percentile(values: readonly number[], share: number): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = Math.min(sorted.length - 1, Math.floor(share * sorted.length));
  return (sorted[at] ?? NaN).toFixed(2).padStart(8);
}

async function main(): Promise<void> {
  const option = (name: string, usual: string): string => {
    const at = Deno.args.indexOf(name);
    return at < 0 ? usual : Deno.args[at + 1] ?? usual;
  };
  const against = option("--against", "/usr/lib/cni");
  const rounds = Number(option("--rounds", "40"));
  const bench = new ServerBench();
  const caller = new Caller(bench.dir);
  const say = (line: string): void => {
    Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
  };
  try {
    await bench.startDaemon();
    const own = (name: string, env: Way["env"]): Way => ({
      name,
      dir: bench.clients,
      env,
      config: (b) => b.config(),
      plugin: "flannel",
    });
    const hasFlannel = exists(`${against}/flannel`);
    const ways: Way[] = [
      {
        name: hasFlannel ? "reference" : "reference, no flannel",
        dir: against,
        env: {},
        config: hasFlannel ? (b) => b.config({ name: "reference" }) : bridgeDocument,
        plugin: hasFlannel ? "flannel" : "bridge",
      },
      own("ours, daemon", {}),
      own("ours, cold", { TWILL_DIRECT: "1" }),
    ];
    const pods = Array.from({ length: 30 }, () => bench.namespace());
    const times = new Map<string, { add: number[]; del: number[]; many: number[]; rss: number }>();
    for (const { name } of ways) times.set(name, { add: [], del: [], many: [], rss: 0 });
    const one = async (way: Way, round: number): Promise<void> => {
      const [netns = ""] = pods;
      const time = times.get(way.name);
      const id = `b${round}`;
      const add = await caller.run([chain(bench, way, "ADD", id, netns)]);
      const del = await caller.run([chain(bench, way, "DEL", id, netns)]);
      if (round < 0 || time === undefined) return;
      time.add.push(add.ms);
      time.del.push(del.ms);
      time.rss = Math.max(time.rss, add.rss);
    };
    for (let round = -3; round < rounds; round++) for (const way of ways) await one(way, round);
    for (let round = 0; round < 3; round++) {
      for (const way of ways) {
        const all = (command: string): Step[][] =>
          pods.map((netns, n) => chain(bench, way, command, `m${n}`, netns));
        times.get(way.name)?.many.push((await caller.run(all("ADD"))).ms);
        await caller.run(all("DEL"));
      }
    }
    const floor: number[] = [];
    const empty = chain(bench, ways[1] as Way, "ADD", "f", "/none").slice(0, 1)
      .map((step) => ({ ...step, program: "/bin/true" }));
    for (let n = 0; n < rounds; n++) floor.push((await caller.run([empty])).ms);

    say(`ms; ${rounds} rounds, alternating; flannel's stock list (${against} for the reference)`);
    say(`${"".padEnd(24)}  ADD p50   p90   p99 |  DEL p50   p90   p99 | 30 at once | KiB`);
    for (const [name, { add, del, many, rss }] of times) {
      const three = (v: number[]): string => [0.5, 0.9, 0.99].map((s) => percentile(v, s)).join("");
      say(`${name.padEnd(22)}${three(add)} |${three(del)} | ${percentile(many, 0.5)}   | ${rss}`);
    }
    say(`floor: /bin/true ${percentile(floor, 0.5).trim()} ms, two of them a pod`);
  } finally {
    await caller.close();
    await bench.close();
    new Deno.Command("ip", { args: ["link", "del", "cni1"], stderr: "null" }).outputSync();
  }
}

await main();
