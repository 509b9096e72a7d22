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
import { PolicyCompiler } from "../../engine/policy/compile.ts";
import { keyOf, type Pod, type Policy } from "../../engine/policy/model.ts";
import { readNamespace, readPod } from "../../engine/policy/read_objects.ts";
import { readPolicy } from "../../engine/policy/read_policy.ts";
import { policyTable } from "../../engine/policy/table.ts";
import { within } from "../../ffi/netns.ts";
import { Poller } from "../../ffi/poll.ts";
import { Netns } from "../kernel/sandbox.ts";
import { datapath } from "./policy_datapath.ts";
import { percentiles } from "./table.ts";

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

/** A node whose table is whole. */
class Bench implements Disposable {
  readonly compiler = new PolicyCompiler("here", [4]);
  readonly #enforcer: Enforcer;
  /** Milliseconds: to compile all, and to have it in the kernel. */
  full = { compile: NaN, total: NaN };
  readonly #size: Size;

  constructor(poller: Poller, size: Size) {
    this.#size = size;
    const log = new Log({ format: "text", level: "info", write: () => {} });
    this.#enforcer = new Enforcer({
      table: policyTable(""),
      ping: false,
      poller,
      log,
      touched: () => {},
    });
  }

  /** From nothing to the whole. */
  async begin(): Promise<void> {
    const { policies, peers } = this.#size;
    const all = Array.from({ length: LOCAL + peers }, (_, i) => pod(i, i < LOCAL));
    const news = {
      pods: new Map(all.map((one) => [keyOf(one), one])),
      namespaces: new Map(
        Array.from({ length: 10 }, (_, i) => [
          `ns${i}`,
          readNamespace({ metadata: { name: `ns${i}`, labels: {} } }),
        ]),
      ),
      policies: new Map(
        Array.from({ length: policies }, (_, i) => policy(i)).map((one) => [keyOf(one), one]),
      ),
    };
    const began = performance.now();
    const table = await breathing(this.compiler.steps(news));
    const compiled = performance.now();
    await this.#enforcer.apply(table);
    this.full = { compile: compiled - began, total: performance.now() - began };
  }

  get elements(): number {
    return this.#enforcer.counts().elements;
  }

  /** Milliseconds from the news to the kernel. */
  async time(news: Parameters<PolicyCompiler["update"]>[0]): Promise<number> {
    const began = performance.now();
    await this.#enforcer.apply(this.compiler.update(news));
    return performance.now() - began;
  }

  [Symbol.dispose](): void {
    this.#enforcer[Symbol.dispose]();
  }
}

/** So often each change is made. */
const ROUNDS = 40;

async function changes(bench: Bench, size: Size): Promise<(readonly [string, number[]])[]> {
  const rounds = async (work: (i: number) => Promise<number>): Promise<number[]> => {
    const values: number[] = [];
    for (let i = 0; i < ROUNDS; i++) values.push(await work(i));
    return values;
  };
  const fresh = LOCAL + size.peers;
  return [
    [
      "a policy comes",
      await rounds((i) => {
        const one = policy(size.policies + i);
        return bench.time({ policies: new Map([[keyOf(one), one]]) });
      }),
    ],
    [
      "a policy changes",
      await rounds((i) => {
        const one = policy(i % 10);
        const ingress = [{
          ports: [{ first: i + 1, last: i + 1, kind: "range", protocol: "TCP" }],
        }];
        return bench.time({
          policies: new Map([[keyOf(one), { ...one, ingress } as Policy]]),
        });
      }),
    ],
    [
      "a label of a peer",
      await rounds((i) => {
        const one = pod(LOCAL + (i % 10), false, i % 2 === 0 ? { [`not${i}`]: "set" } : {});
        return bench.time({ pods: new Map([[keyOf(one), one]]) });
      }),
    ],
    [
      "a peer comes",
      await rounds((i) => {
        const one = pod(fresh + i, false);
        return bench.time({ pods: new Map([[keyOf(one), one]]) });
      }),
    ],
    [
      "a pod of this node comes",
      await rounds((i) => {
        const one = pod(fresh + 1000 + i, true);
        return bench.time({ pods: new Map([[keyOf(one), one]]) });
      }),
    ],
  ];
}

function print(...lines: readonly string[]): void {
  Deno.stdout.writeSync(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
}

const SIZES: readonly Size[] = [
  { policies: 10, peers: 1_000 },
  { policies: 100, peers: 1_000 },
  { policies: 200, peers: 500 },
  { policies: 500, peers: 1_000 },
  { policies: 1_000, peers: 500 },
];

async function main(): Promise<void> {
  const quick = Deno.args.includes("--quick");
  await using poller = new Poller();
  const ms = (value: number): string => value.toFixed(value < 10 ? 1 : 0).padStart(8);
  print(`${LOCAL} pods on the node; each policy has a selector of its own, which all peers match`);
  for (const size of quick ? SIZES.slice(0, 3) : SIZES) {
    using netns = new Netns();
    using bench = within(netns.path, () => new Bench(poller, size));
    await bench.begin();
    const { compile, total } = bench.full;
    const rss = Deno.memoryUsage().rss / 2 ** 20;
    print(
      "",
      `${size.policies} policies, ${size.peers} peers (${bench.elements} elements)`,
      `  whole table: compiled in ${ms(compile)} ms, in the kernel after ${ms(total)} ms; ` +
        `resident ${rss.toFixed(0)} MiB`,
      "  news to kernel, ms                p50      p90      p99",
      ...(await changes(bench, size)).map(([name, values]) =>
        `    ${name.padEnd(26)}${percentiles(values).map(ms).join(" ")}`
      ),
    );
  }
  print("", ...await datapath(quick));
}

await main();
