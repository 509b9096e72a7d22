/**
 * The daemon is killed again and again while a runtime asks for random things through the client:
 * no DEL fails, what is attached stays as it was, and nothing is left behind at the end.
 */

import assert from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import { Dice } from "./dice.ts";
import { type Reply, run } from "./plugins.ts";
import { ServerBench } from "./server_bench.ts";

libc(); // opened once and for good: inside the test it would count as a leak

/** The gate's run is always the same one; each long run is another. */
const LONG = Deno.env.get("TWILL_FULL") === "1";
const CALLS = Number(Deno.env.get("TWILL_CALLS") ?? (LONG ? 1000 : 100));
/** Pods, and calls that run at once. */
const [SLOTS, WORKERS] = [12, 4];
/** Milliseconds that a daemon lives at most, once it serves. */
const LIFE = 150;

/** A pod, as the runtime knows it. */
interface Pod {
  readonly netns: string;
  id: string;
  state: "new" | "attached" | "dirty";
  address?: string;
  busy: boolean;
  /** What the runtime asks of flannel beside the network: every second pod has a host port. */
  readonly wishes: Readonly<Record<string, unknown>>;
}

const LIMIT = { ingressRate: 1e9, ingressBurst: 1e7, egressRate: 1e9, egressBurst: 1e7 };

function wishesOf(slot: number): Pod["wishes"] {
  if (slot % 2 === 1) return {};
  const portMappings = [{ hostPort: 20_000 + slot, containerPort: 80, protocol: "tcp" }];
  return { runtimeConfig: { portMappings, ...(slot % 4 === 0 && { bandwidth: LIMIT }) } };
}

/** Rules and devices that were made for such wishes. */
function granted(): string[] {
  const rules = run("nft", "list", "ruleset").split("\n").filter((line) =>
    line.includes("dnat to")
  );
  const links: { ifname: string }[] = JSON.parse(run("ip", "-j", "link"));
  return [...rules, ...links.map(({ ifname }) => ifname).filter((name) => /^bwp/.test(name))];
}

/** The address of a pod's interface; undefined when there is none. */
function addressIn({ netns }: Pod): string | undefined {
  const [link] = JSON.parse(
    run("ip", "-n", netns.replace("/run/netns/", ""), "-j", "-4", "address", "show", "up") || "[]",
  ).filter(({ ifname }: { ifname: string }) => ifname === "eth0");
  const [inet] = link?.addr_info ?? [];
  return inet === undefined ? undefined : `${inet.local}/${inet.prefixlen}`;
}

async function life(bench: ServerBench, dice: Dice, calls: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  const count = (what: string): void => void counts.set(what, (counts.get(what) ?? 0) + 1);
  let serial = 0;
  const pods = Array.from({ length: SLOTS }, (_, slot): Pod => ({
    netns: bench.namespace(),
    id: `k${serial++}`,
    state: "new",
    busy: false,
    wishes: wishesOf(slot),
  }));
  const call = (pod: Pod, command: string): Promise<Reply> =>
    bench.call({
      plugin: "flannel",
      dir: bench.clients,
      config: bench.config(pod.wishes),
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: pod.id,
        CNI_NETNS: pod.netns,
        CNI_PATH: bench.clients,
      },
    });
  const del = async (pod: Pod): Promise<void> => {
    const reply = await call(pod, "DEL");
    count(`DEL ${reply.status}`);
    assert.equal(reply.status, 0, `DEL of ${pod.id}: ${JSON.stringify(reply)}`);
    assert.equal(addressIn(pod), undefined);
    Object.assign(pod, { id: `k${serial++}`, state: "new" });
  };
  const step = async (pod: Pod): Promise<void> => {
    if (pod.state === "new") {
      const reply = await call(pod, "ADD");
      count(`ADD ${reply.status}`);
      pod.state = reply.status === 0 ? "attached" : "dirty";
      if (reply.status !== 0) count(JSON.parse(reply.stdout).msg.slice(0, 60));
      else {
        pod.address = JSON.parse(reply.stdout).ips[0].address;
        assert.equal(addressIn(pod), pod.address, `ADD of ${pod.id}`);
      }
    } else if (pod.state === "attached" && dice.chance(0.3)) {
      // A second ADD is refused, and must not touch what is there.
      const reply = await call(pod, "ADD");
      count(`ADD again ${reply.status}`);
      assert.equal(reply.status, 1, `second ADD of ${pod.id}`);
      assert.equal(addressIn(pod), pod.address, `after the second ADD of ${pod.id}`);
    } else await del(pod);
  };
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const free = pods.filter(({ busy }) => !busy);
      const pod = free[dice.below(free.length)];
      assert.ok(pod !== undefined);
      pod.busy = true;
      await step(pod);
      pod.busy = false;
    }
  };
  let over = false;
  const killer = async (): Promise<void> => {
    while (!over) {
      await bench.startDaemon();
      await new Promise((resolve) => setTimeout(resolve, dice.below(LIFE)));
      await bench.stopDaemon();
      count("daemon killed");
    }
  };
  const killing = killer();
  try {
    await Promise.all(Array.from({ length: WORKERS }, worker));
  } finally {
    over = true;
    await killing;
  }
  for (const pod of pods) {
    if (pod.state === "attached") assert.equal(addressIn(pod), pod.address, "an older attachment");
  }
  for (const pod of pods) await del(pod);
  return counts;
}

Deno.test({
  name: `server: killed during ${CALLS} random calls${Deno.uid() === 0 ? "" : " (needs root)"}`,
  ignore: Deno.uid() !== 0,
  fn: async () => {
    const seed = Number(
      Deno.env.get("TWILL_SEED") ?? (LONG ? Math.trunc(Math.random() * 2 ** 32) : 1),
    );
    const bench = new ServerBench();
    try {
      const counts = await life(bench, new Dice(seed), CALLS);
      // deno-lint-ignore no-console -- a run that failed is repeated by its seed
      console.log(`seed ${seed}: ${[...counts].map(([what, n]) => `${n} ${what}`).join(", ")}`);
      assert.deepEqual(
        {
          ...{ owners: bench.owners(), ports: bench.ports() },
          ...{ records: bench.records(), granted: granted() },
        },
        { owners: [], ports: [], records: [], granted: [] },
        `seed ${seed}`,
      );
      assert.deepEqual([...Deno.readDirSync(`${bench.dir}/flannel`)], [], `seed ${seed}`);
    } finally {
      await bench.close();
    }
  },
});
