/**
 * The daemon beside flanneld, in one run on one machine: how long a node takes to be part of the
 * overlay, to follow a change, to repair itself, and what it costs while nothing happens.
 *
 * @module
 */

import { Lab } from "../lab/lab.ts";
import type { Etcd } from "../lab/etcd.ts";
import { timeChange } from "./change.ts";
import { countRoutes, fill, Program, timeUntil } from "./cluster.ts";
import { Figures, type Measure } from "./table.ts";

const quick = Deno.args.includes("--quick");

/** Number of peers, how often it is measured, and the largest ratio. */
const STARTS = [
  [10, quick ? 3 : 7, 1.25],
  [1_000, quick ? 1 : 5, 1 / 2],
  ...(quick ? [] : [[5_000, 3, 1 / 5]] as const),
] as const;
const CHANGES = quick ? 5 : 21;
const REPAIRS = quick ? 1 : 3;
const IDLE = quick ? 10 : 60;
/** What is not repaired by then is not repaired: ms. */
const NEVER = 10_000;

/** What is broken, and how one sees that it is whole. */
const HARMS: readonly {
  readonly name: string;
  readonly harm: string;
  readonly whole: (program: Program, peers: number) => boolean | Promise<boolean>;
}[] = [
  {
    name: "flannel.1 deleted",
    harm: "ip link delete flannel.1",
    whole: ({ node }, peers) => countRoutes(node) === peers,
  },
  {
    name: "flannel.1 down and up",
    harm: "ip link set flannel.1 down; ip link set flannel.1 up",
    whole: ({ node }, peers) => countRoutes(node) === peers,
  },
  {
    name: "routes flushed",
    harm: "ip route flush dev flannel.1",
    whole: ({ node }, peers) => countRoutes(node) === peers,
  },
  {
    name: "rules flushed",
    harm: "nft flush ruleset",
    whole: async ({ node, who }) => {
      const show = who === "twill" ? "nft list table inet twill" : "iptables-save -t nat";
      return (await node.exec(["sh", "-c", `${show} | grep -qi masquerade`])).code === 0;
    },
  },
];

async function measureStarts(lab: Lab, figures: Figures): Promise<number> {
  let filled = 0;
  for (const [peers, runs, ratio] of STARTS) {
    await fill(lab.etcd, filled, peers);
    filled = peers;
    const measure: Measure = { name: `start to ${peers} peers`, unit: "ms", ratio };
    for (let i = 0; i < runs; i++) {
      for (const program of programs(lab)) {
        // The other node's lease is a peer too, once it has been there.
        const others = await otherNodes(lab.etcd, program);
        await program.reset();
        const began = performance.now();
        await program.start();
        const took = await timeUntil(() => countRoutes(program.node) >= peers + others, began);
        figures.note(measure, program.who, took);
        await program.settled(peers + others);
        if (i === runs - 1) {
          const peak: Measure = { name: `peak memory with ${peers} peers`, unit: "MiB" };
          figures.note(peak, program.who, program.memory("VmHWM"));
        }
        await program.reset();
      }
      say(`start with ${peers} peers: ${i + 1} of ${runs}`);
    }
  }
  return filled;
}

async function measureRest(lab: Lab, figures: Figures, filled: number): Promise<void> {
  const peers = 1_000;
  await fill(lab.etcd, filled, peers);
  for (const program of programs(lab)) {
    const all = peers + await otherNodes(lab.etcd, program);
    await program.reset();
    await program.start();
    await program.settled(all);
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    await measureIdle(program, figures);
    for (let i = 0; i < CHANGES; i++) {
      for (const change of ["put", "delete"] as const) {
        const words = change === "put" ? "one lease comes" : "one lease goes";
        const took = await timeChange(lab.etcd, program.node, 9_000 + i, change);
        figures.note({ name: `${words}, 1000 peers`, unit: "ms", ratio: 1 }, program.who, took);
      }
    }
    say(`${program.who}: changes`);
    await measureRepairs(program, figures, all);
    await program.reset();
  }
}

async function measureRepairs(program: Program, figures: Figures, peers: number): Promise<void> {
  for (const { name, harm, whole } of HARMS) {
    for (let i = 0; i < REPAIRS; i++) {
      await program.node.exec(["sh", "-c", harm]);
      const took = await timeUntil(() => whole(program, peers), performance.now(), NEVER);
      figures.note({ name: `${name}, repaired`, unit: "ms", most: 500 }, program.who, took);
      if (took !== Infinity) continue;
      // It stays broken: made whole for the next measurement.
      await program.reset();
      await program.start();
      await program.settled(peers);
      break;
    }
    say(`${program.who}: ${name}`);
  }
}

async function measureIdle(program: Program, figures: Figures): Promise<void> {
  say(`${program.who}: idle for ${IDLE} s`);
  const before = program.processor();
  await new Promise((resolve) => setTimeout(resolve, IDLE * 1000));
  const idle: Measure = {
    name: `processor in ${IDLE} s idle, 1000 peers`,
    unit: "s",
    ratio: 1 / 10,
  };
  figures.note(idle, program.who, program.processor() - before);
  const memory: Measure = { name: "resident memory, 1000 peers", unit: "MiB", ratio: 2.2 };
  figures.note(memory, program.who, program.memory("VmRSS"));
  const anonymous: Measure = { name: "anonymous memory, 1000 peers", unit: "MiB" };
  figures.note(anonymous, program.who, program.memory("RssAnon"));
}

function programs(lab: Lab): Program[] {
  return [new Program("flanneld", lab), new Program("twill", lab)];
}

/** How many nodes of the lab itself have a lease, beside this one. */
async function otherNodes(etcd: Etcd, { node }: Program): Promise<number> {
  const all = await etcd.must("get", "--prefix", "/coreos.com/network/subnets/10.127.");
  const found = [...all.matchAll(/"PublicIP":"(192\.168\.200\.\d+)"/g)].map(([, ip]) => ip);
  return found.filter((ip) => ip !== node.address).length;
}

function say(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

const network = {
  Network: "10.64.0.0/10",
  SubnetMin: "10.127.0.0",
  SubnetMax: "10.127.255.0",
  Backend: { Type: "vxlan" },
};

if (import.meta.main) {
  await using lab = await Lab.create({ nodes: ["flanneld", "twill"], network });
  const figures = new Figures();
  const filled = await measureStarts(lab, figures);
  await measureRest(lab, figures, filled);
  Deno.stdout.writeSync(new TextEncoder().encode(`${figures.lines().join("\n")}\n`));
}
