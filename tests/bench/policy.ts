/**
 * NetworkPolicy: what a change costs from the cluster's word to the kernel, at several sizes; a whole
 * table; and what policies cost a packet.
 *
 * @module
 */

import { Enforcer } from "../../daemon/policy/enforcer.ts";
import { breathing } from "../../daemon/wait.ts";
import { Log } from "../../daemon/log.ts";
import { type Ip, ipFromNumber } from "../../engine/ip.ts";
import { type ClusterNews, PolicyCompiler } from "../../engine/policy/compile.ts";
import { keyOf, type Pod, type Policy } from "../../engine/policy/model.ts";
import { readNamespace, readPod } from "../../engine/policy/read_objects.ts";
import { readPolicy } from "../../engine/policy/read_policy.ts";
import { wholeText } from "../../engine/policy/render.ts";
import { policyTable } from "../../engine/policy/table.ts";
import { within } from "../../ffi/netns.ts";
import { nftProgram } from "../../ffi/nft.ts";
import { Poller } from "../../ffi/poll.ts";
import { run } from "../lab/command.ts";
import { Netns } from "../kernel/sandbox.ts";
import { datapath } from "./policy_datapath.ts";
import { Figures, percentiles } from "./table.ts";

/** Whom we are compared with. */
const OTHER = "the other";
/** So many pods on this node. */
const LOCAL = 110;

interface Size {
  readonly policies: number;
  readonly peers: number;
}

function pod(i: number, local: boolean, extra: Readonly<Record<string, string>> = {}): Pod {
  const ip = ipFromNumber(4, 0x0a000000n + BigInt(i)) as Ip;
  return readPod({
    metadata: {
      name: `p${i}`,
      namespace: `ns${i % 10}`,
      uid: `${i}`,
      labels: { app: `a${i % 50}`, ...extra },
    },
    spec: { nodeName: local ? "here" : "there" },
    status: { phase: "Running", podIPs: [{ ip }] },
  });
}

/** Each has a selector of its own that matches all peers, so that nothing can be shared. */
function policy(i: number): Policy {
  return readPolicy({
    metadata: { name: `policy${i}`, namespace: `ns${i % 10}` },
    spec: {
      podSelector: { matchLabels: { app: `a${i % 50}` } },
      policyTypes: ["Ingress"],
      ingress: [{
        from: [{
          namespaceSelector: {},
          podSelector: { matchExpressions: [{ key: `not${i}`, operator: "DoesNotExist" }] },
        }],
        ports: [{ protocol: "TCP", port: 80 + (i % 7) }],
      }],
    },
  });
}

/** The whole cluster as news. */
function cluster({ policies, peers }: Size): ClusterNews {
  const all = Array.from({ length: LOCAL + peers }, (_, i) => pod(i, i < LOCAL));
  const namespaces = Array.from(
    { length: 10 },
    (_, i) => readNamespace({ metadata: { name: `ns${i}`, labels: {} } }),
  );
  return {
    pods: new Map(all.map((one) => [keyOf(one), one])),
    namespaces: new Map(namespaces.map((one) => [one.name, one])),
    policies: new Map(
      Array.from({ length: policies }, (_, i) => policy(i)).map((one) => [keyOf(one), one]),
    ),
  };
}

const OPTIONS = { table: policyTable(""), ping: false } as const;

/** Brings news into the kernel of a namespace. */
interface Node extends Disposable {
  /** Resolves when the kernel has it. */
  take(news: ClusterNews): Promise<void>;
}

/** As the daemon does it. */
class Ours implements Node {
  readonly #compiler = new PolicyCompiler("here", [4]);
  readonly #enforcer: Enforcer;

  constructor(poller: Poller, netns: Netns) {
    const log = new Log({ format: "text", level: "warn", write: (line) => print(line) });
    const options = { ...OPTIONS, poller, log, touched: () => {} };
    this.#enforcer = within(netns.path, () => new Enforcer(options));
  }

  async take(news: ClusterNews): Promise<void> {
    await this.#enforcer.apply(await breathing(this.#compiler.steps(news)));
  }

  [Symbol.dispose](): void {
    this.#enforcer[Symbol.dispose]();
  }
}

/** A naive watcher, which knows as much and writes its one table anew with `nft -f`. */
class Naive implements Node {
  readonly #compiler = new PolicyCompiler("here", [4]);
  readonly #netns: Netns;

  constructor(netns: Netns) {
    this.#netns = netns;
  }

  take(news: ClusterNews): Promise<void> {
    const text = wholeText({ ...this.#compiler.update(news), options: OPTIONS, generation: 1 });
    const { ok, error } = within(this.#netns.path, () => nftProgram(text));
    return ok ? Promise.resolve() : Promise.reject(new Error(error));
  }

  [Symbol.dispose](): void {}
}

/** Milliseconds until the kernel has it. */
async function time(node: Node, news: ClusterNews): Promise<number> {
  const began = performance.now();
  await node.take(news);
  return performance.now() - began;
}

/** What the cluster may say next, number `i` of its kind. */
const CHANGES = {
  "a policy comes": ({ policies }, i) => policyNews(policy(policies + i)),
  "a policy changes": (_, i) => {
    const ports = [{ first: i + 1, last: i + 1, kind: "range", protocol: "TCP" }];
    return policyNews({ ...policy(i % 10), ingress: [{ ports }] } as Policy);
  },
  "a label of a peer": (_, i) =>
    podNews(pod(LOCAL + (i % 10), false, i % 2 === 0 ? { [`not${i % 10}`]: "set" } : {})),
  "a peer comes": ({ peers }, i) => podNews(pod(LOCAL + peers + i, false)),
  "a pod of this node comes": ({ peers }, i) => podNews(pod(LOCAL + peers + 1000 + i, true)),
} as const satisfies Record<string, (size: Size, i: number) => ClusterNews>;

function podNews(one: Pod): ClusterNews {
  return { pods: new Map([[keyOf(one), one]]) };
}

function policyNews(one: Policy): ClusterNews {
  return { policies: new Map([[keyOf(one), one]]) };
}

/** So often each change is made: by us; by the naive watcher, which takes long. */
const ROUNDS = { ours: 40, naive: 5 } as const;
/** Largest time from the news to the kernel, ms; the API's own is on top of it. */
const MOST_CHANGE = 20;

/** Changes beside so many policies, by both in turns. */
async function changes(figures: Figures, poller: Poller, size: Size): Promise<void> {
  using spaces = new DisposableStack();
  const ours = spaces.use(new Ours(poller, spaces.use(new Netns())));
  const naive = spaces.use(new Naive(spaces.use(new Netns())));
  for (const node of [ours, naive]) await node.take(cluster(size));
  print(`\n${size.policies} policies, ${size.peers} peers: ms      p50      p90      p99`);
  for (const [name, next] of Object.entries(CHANGES)) {
    const measure = { name: `${name}, ${size.policies} policies`, unit: "ms" } as const;
    const found: number[] = [];
    for (let i = 0; i < ROUNDS.ours; i++) {
      const news = next(size, i);
      found.push(await time(ours, news));
      figures.note({ ...measure, most: MOST_CHANGE }, "twill", found.at(-1) ?? NaN);
      if (i < ROUNDS.naive) figures.note(measure, OTHER, await time(naive, news));
    }
    print(
      `  ${name.padEnd(26)}${percentiles(found).map((one) => one.toFixed(1).padStart(9)).join("")}`,
    );
  }
}

/** From nothing to the whole table, by both in turns; and how long others of the thread wait. */
async function whole(figures: Figures, poller: Poller, size: Size, most?: number): Promise<void> {
  const name = `full sync, ${size.policies} policies, ${size.peers} peers`;
  const sync = { name, unit: "ms", ...(most === undefined ? {} : { most }) } as const;
  const block = { name: `  longest wait of the daemon's loop`, unit: "ms", most: 50 } as const;
  for (let round = 0; round < 5; round++) {
    for (const who of [OTHER, "twill"]) {
      using netns = new Netns();
      using node = who === "twill" ? new Ours(poller, netns) : new Naive(netns);
      const news = cluster(size);
      const waits: number[] = [];
      let last = performance.now();
      const timer = setInterval(() => {
        waits.push(performance.now() - last);
        last = performance.now();
      }, 1);
      figures.note(sync, who, await time(node, news));
      clearInterval(timer);
      waits.push(performance.now() - last);
      figures.note({ ...block, name: `${block.name}, ${size.policies}` }, who, Math.max(...waits));
    }
  }
}

/** What a process needs that holds a table of this size; measured in one of its own. */
async function memory(figures: Figures, size: Size): Promise<void> {
  for (const who of [OTHER, "twill"]) {
    const args = ["run", "--quiet", "-A", import.meta.filename ?? "", "--memory", who];
    const output = await run([Deno.execPath(), ...args, `${size.policies}`, `${size.peers}`]);
    const [resident, peak] = output.stdout.trim().split(" ").map(Number);
    const name = `memory, ${size.policies} policies, ${size.peers} peers`;
    figures.note({ name, unit: "MiB" }, who, resident ?? NaN);
    figures.note({ name: `  its peak`, unit: "MiB" }, who, peak ?? NaN);
  }
}

/** The child of {@link memory}: prints MiB now, and at most. */
async function measureMemory([who, policies, peers]: readonly string[]): Promise<void> {
  await using poller = new Poller();
  using netns = new Netns();
  using node = who === "twill" ? new Ours(poller, netns) : new Naive(netns);
  await node.take(cluster({ policies: Number(policies), peers: Number(peers) }));
  const status = Deno.readTextFileSync("/proc/self/status");
  const of = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024;
  print(`${of("VmRSS")} ${of("VmHWM")}`);
}

function print(...lines: readonly string[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
}

/** Full syncs: with what must be met, ms. */
const SYNCS: readonly (Size & { readonly most?: number })[] = [
  { policies: 100, peers: 1_000, most: 500 },
  { policies: 500, peers: 1_000 },
];

const CHANGED: readonly Size[] = [
  { policies: 10, peers: 500 },
  { policies: 200, peers: 500 },
  { policies: 1_000, peers: 500 },
];

async function main(): Promise<void> {
  if (Deno.args[0] === "--memory") return await measureMemory(Deno.args.slice(1));
  const quick = Deno.args.includes("--quick");
  await using poller = new Poller();
  const figures = new Figures(OTHER);
  print(
    `${LOCAL} pods on the node; each policy has a selector of its own, which all peers match`,
    "the other: of changes and syncs a watcher that writes its table anew; of packets bare rules",
    "packets: least of several runs, everything else: medians",
  );
  for (const { most, ...size } of SYNCS) await whole(figures, poller, size, most);
  await memory(figures, { policies: 500, peers: 1_000 });
  for (const size of quick ? CHANGED.slice(0, 2) : CHANGED) await changes(figures, poller, size);
  for (const { measure, ours, theirs } of await datapath(quick)) {
    figures.note(measure, "twill", ours);
    figures.note(measure, OTHER, theirs);
  }
  print("", ...figures.lines(), `load average ${Deno.readTextFileSync("/proc/loadavg").trim()}`);
}

await main();
