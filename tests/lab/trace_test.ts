/**
 * `twill inspect trace` on nodes of the lab: what it says is what packets do, on healthy nodes and
 * on such with faults.
 */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { device } from "./kernel_view.ts";
import { explain, Lab, OUTSIDE } from "./lab.ts";
import { HEALTH_PORT, type Node, type Pod } from "./node.ts";

let lab: Lab;
let worker: Node;
let worker2: Node;
let web: Pod;
let shop: Pod;
let api: Pod;

Deno.test.beforeAll(async () => {
  lab = await Lab.create();
  await lab.startDaemons();
  [worker, worker2] = [lab.node("worker"), lab.node("worker2")];
  web = await worker.addPod("web");
  shop = await worker.addPod("shop");
  api = await worker2.addPod("api");
});

Deno.test.afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

interface Hop {
  readonly step: string;
  readonly at: string;
  readonly entry: string | null;
}

interface Traced {
  readonly code: number;
  readonly ending: string;
  readonly steps: readonly string[];
  readonly hops: readonly Hop[];
  readonly mayAct: number;
  readonly findings: readonly string[];
  /** How it ends on the next node, where that was asked. */
  readonly elsewhere: string | undefined;
}

async function trace(node: Node, ...words: readonly string[]): Promise<Traced> {
  const { code, stdout, stderr } = await node.exec([
    "twill",
    "inspect",
    "trace",
    ...words,
    "-o",
    "json",
  ]);
  assert.ok(code === 0 || code === 1, `exit status ${code}\n${stdout}${stderr}`);
  const { items: [item], findings } = JSON.parse(stdout);
  return {
    code,
    ending: item.ending,
    steps: item.hops.map(({ step }: Hop) => step),
    hops: item.hops,
    mayAct: item.hops.flatMap(({ mayAct }: { mayAct: unknown[] }) => mayAct).length,
    elsewhere: item.elsewhere?.ending,
    findings: findings.map(({ id }: { id: string }) => id),
  };
}

/** Whether packets really get there. */
async function passes(node: Node, pod: Pod, to: string, size = 56): Promise<boolean> {
  const ping = ["ping", "-c1", "-W0.4", "-M", "do", "-s", String(size), to] as const;
  return (await node.execInPod(pod.name, ping)).code === 0;
}

/** On a machine under load an answer may come later than {@link passes} waits. */
async function untilPasses(node: Node, pod: Pod, to: string, size?: number): Promise<void> {
  await until(`packets to ${to} pass`, () => passes(node, pod, to, size));
}

function onLab(name: string, run: () => Promise<void>): void {
  Deno.test(`trace: ${name}`, async () => {
    try {
      await run();
    } catch (cause) {
      throw new Error(explain(cause, lab), { cause });
    }
  });
}

onLab("a pod of this node is reached over the bridge", async () => {
  const told = await trace(worker, "web", shop.ip);
  assert.deepEqual([told.ending, told.code, told.mayAct], ["delivered", 0, 0]);
  assert.deepEqual(told.steps, [
    "pod-route",
    "veth",
    "bridge",
    "prerouting",
    "forward",
    "postrouting",
    "deliver",
  ]);
  await untilPasses(worker, web, shop.ip);
});

onLab(
  "a pod of another node is reached over the VTEP, by the entries that the kernel has",
  async () => {
    const told = await trace(worker, "web", api.ip, "80");
    assert.equal(told.ending, "leaves");
    const entryOf = (step: string): string =>
      told.hops.find((hop) => hop.step === step)?.entry ?? "";
    const mac = (await device(worker2, "flannel.1"))!.address;
    const base = api.ip.replace(/\.\d+$/, ".0");
    assert.equal(entryOf("pod-route").split(" ")[0], "10.244.0.0/16");
    assert.equal(entryOf("route"), `${base}/24 via ${base} dev flannel.1`);
    assert.equal(entryOf("neighbour"), `${base} lladdr ${mac} PERMANENT`);
    assert.equal(entryOf("fdb"), `${mac} dev flannel.1 dst ${worker2.address}`);
    assert.equal(entryOf("next-node"), `lease of ${base}/24`);
    assert.equal(told.mayAct, 0);
    await untilPasses(worker, web, api.ip);
    // The other half, on the other node.
    const rest = await trace(worker2, web.ip, "api", "80");
    assert.equal(rest.ending, "delivered");
  },
);

onLab("with --probe the daemon of the other node tells the rest of the way", async () => {
  const probe = ["--probe", `--health-port=${HEALTH_PORT}`];
  const told = await trace(worker, "web", api.ip, "80", ...probe);
  assert.deepEqual([told.code, told.elsewhere], [0, "delivered"]);
  await sh(worker2, "sysctl -qw net.ipv4.ip_forward=0");
  const closed = await trace(worker, "web", api.ip, "80", ...probe);
  await sh(worker2, "sysctl -qw net.ipv4.ip_forward=1");
  assert.deepEqual([closed.code, closed.elsewhere], [1, "fails"]);
  assert.deepEqual(closed.findings, ["no-forwarding"]);
  // Only nodes are answered, and pods are none.
  const url = `http://${worker2.address}:${HEALTH_PORT}/trace?src=${web.ip}&dst=${api.ip}`;
  const asked = await worker2.execInPod("api", ["curl", "-s", url]);
  assert.match(asked.stdout, /only nodes of the overlay are answered/);
});

onLab("the world is reached with the node's address", async () => {
  const told = await trace(worker, "web", OUTSIDE, "tcp/443");
  assert.equal(told.ending, "leaves");
  assert.ok(told.steps.includes("masquerade"));
  await untilPasses(worker, web, OUTSIDE);
});

onLab("the node and its pods reach each other", async () => {
  assert.equal((await trace(worker, "node", web.ip)).ending, "delivered");
  assert.equal((await trace(worker, "web", worker.address)).ending, "delivered");
  assert.equal((await trace(worker, "node", api.ip)).ending, "leaves");
});

const sh = (node: Node, script: string): Promise<string> => node.must(["sh", "-ec", script]);
const base2 = (): string => api.ip.replace(/\.\d+$/, ".0");
const mac2 = async (): Promise<string> => (await device(worker2, "flannel.1"))!.address;

/** A fault on `worker`, the hop at which the packet ends, and how it is undone. */
interface Fault {
  readonly finding: string;
  readonly seed: () => Promise<unknown>;
  readonly undo: () => Promise<unknown>;
  /** Bytes of the ping that must fail; default a small one. */
  readonly size?: number;
}

const FAULTS: Readonly<Record<string, Fault>> = {
  "missing FDB entry": {
    finding: "no-fdb",
    seed: async () =>
      sh(worker, `bridge fdb del ${await mac2()} dev flannel.1 dst ${worker2.address}`),
    undo: async () =>
      sh(worker, `bridge fdb append ${await mac2()} dev flannel.1 dst ${worker2.address}`),
  },
  "missing neighbour": {
    finding: "no-neighbour",
    seed: () => sh(worker, `ip neighbour del ${base2()} dev flannel.1`),
    undo: async () => sh(worker, neighbour(await mac2())),
  },
  "wrong MAC address": {
    finding: "wrong-mac",
    seed: () =>
      sh(
        worker,
        `${neighbour("02:00:00:00:00:99")}
         bridge fdb append 02:00:00:00:00:99 dev flannel.1 dst ${worker2.address}`,
      ),
    undo: async () =>
      sh(
        worker,
        `${neighbour(await mac2())}
         bridge fdb del 02:00:00:00:00:99 dev flannel.1 dst ${worker2.address}`,
      ),
  },
  "missing route": {
    finding: "no-route",
    seed: () => sh(worker, `ip route del ${base2()}/24`),
    undo: () =>
      sh(worker, `ip route add ${base2()}/24 via ${base2()} dev flannel.1 onlink proto 146`),
  },
  "MTU of the uplink too small": {
    finding: "vtep-mtu",
    size: 1450 - 28,
    seed: () => sh(worker, "ip link set eth0 mtu 1400"),
    undo: () => sh(worker, "ip link set eth0 mtu 1500"),
  },
  "UDP blocked": {
    finding: "udp-blocked",
    seed: () => sh(worker, table("output", "udp dport 8472 drop")),
    undo: () => sh(worker, "nft delete table inet seeded"),
  },
  "a firewall before ours": {
    finding: "dropped-by-rule",
    seed: () => sh(worker, table("forward", `ip saddr ${web.ip} drop`)),
    undo: () => sh(worker, "nft delete table inet seeded"),
  },
  "rp_filter": {
    finding: "rp-filter",
    seed: () =>
      sh(worker, `sysctl -qw net.ipv4.conf.cni0.rp_filter=1; ip route add ${web.ip}/32 dev eth0`),
    undo: () =>
      sh(worker, `ip route del ${web.ip}/32 dev eth0; sysctl -qw net.ipv4.conf.cni0.rp_filter=0`),
  },
  "ip_forward off": {
    finding: "no-forwarding",
    seed: () => sh(worker, "sysctl -qw net.ipv4.ip_forward=0"),
    undo: () => sh(worker, "sysctl -qw net.ipv4.ip_forward=1"),
  },
  "veth unplugged": {
    finding: "veth-unplugged",
    seed: async () => sh(worker, `ip link set ${await vethOf()} nomaster`),
    undo: async () =>
      sh(
        worker,
        `ip link set ${await vethOf()} master cni0; bridge link set dev ${await vethOf()} hairpin on`,
      ),
  },
};

function neighbour(mac: string): string {
  return `ip neighbour replace ${base2()} lladdr ${mac} dev flannel.1 nud permanent`;
}

function table(hook: string, rule: string): string {
  return `nft -f - <<'END'
table inet seeded {
  chain c {
    type filter hook ${hook} priority 10
    ${rule}
  }
}
END`;
}

async function vethOf(): Promise<string> {
  const { stdout } = await worker.exec(["twill", "inspect", "pods", web.ip, "-o", "json"]);
  return JSON.parse(stdout).items[0].veth;
}

interface Live {
  readonly seen: readonly { hook: string; iif: string | null; oif: string | null }[];
  readonly dropped: { table: string; chain: string; rule: string } | null;
  readonly answered: boolean;
}

async function live(...words: readonly string[]): Promise<Live & { readonly code: number }> {
  const flags = ["--live", "--probe", `--health-port=${HEALTH_PORT}`, "-o", "json"];
  const { code, stdout, stderr } = await worker.exec([
    "twill",
    "inspect",
    "trace",
    ...words,
    ...flags,
  ]);
  assert.ok(code === 0 || code === 1, `exit status ${code}\n${stdout}${stderr}`);
  return { ...JSON.parse(stdout).live, code };
}

/** On a machine under load an answer may come late. */
function answered(...words: readonly string[]): ReturnType<typeof live> {
  return until(`${words.join(" ")} is answered`, async () => {
    const told = await live(...words);
    return told.answered && told;
  }, { seconds: 60 });
}

const hooks = ({ seen }: Live): string[] =>
  seen.map(({ hook, iif, oif }) => [hook, iif ?? "-", oif ?? "-"].join(" "));

onLab("--live: a packet is seen at each hook, inside VXLAN too, and answered", async () => {
  for (const port of [[], ["tcp/80"]]) {
    const told = await answered("web", api.ip, ...port);
    assert.deepEqual(hooks(told), [
      "prerouting cni0 -",
      "forward cni0 flannel.1",
      "postrouting cni0 flannel.1",
      "outer-output - eth0",
      "outer-postrouting flannel.1 eth0",
    ]);
    assert.deepEqual([told.answered, told.dropped, told.code], [true, null, 0]);
  }
  const bridged = await answered("web", shop.ip);
  assert.deepEqual(hooks(bridged), [
    "prerouting cni0 -",
    "forward cni0 cni0",
    "postrouting - cni0",
  ]);
  assert.equal(bridged.answered, true);
  const own = await answered("node", api.ip);
  assert.equal(own.seen[0]?.hook, "output");
  assert.equal(own.answered, true);
});

onLab("--live: a drop is named with its rule, and no table is left, whatever happens", async () => {
  await sh(worker, table("forward", `ip daddr ${api.ip} meta length > 1 drop`));
  try {
    const told = await live("web", api.ip);
    assert.deepEqual(told.dropped, {
      table: "inet seeded",
      chain: "c",
      rule: `ip daddr ${api.ip} meta length > 1 drop`,
    });
    assert.deepEqual([told.answered, told.code], [false, 1]);
    // Killed while it waits for the answer.
    await worker.exec([
      "timeout",
      "-s",
      "KILL",
      "0.7",
      "twill",
      "inspect",
      "trace",
      "web",
      api.ip,
      "--live",
      "--probe",
    ]);
  } finally {
    await sh(worker, "nft delete table inet seeded");
  }
  assert.doesNotMatch(await worker.must(["nft", "list", "tables"]), /twill-trace/);
});

onLab("the daemon is stopped: faults stay", async () => {
  const snapshot = "/var/lib/twill/snapshot.json";
  await until("leases are remembered", () => worker.read(snapshot)?.includes(worker2.address));
  await worker.daemon!.stop("SIGTERM");
  assert.equal((await trace(worker, "web", api.ip)).ending, "leaves");
});

for (const [name, { finding, seed, undo, size }] of Object.entries(FAULTS)) {
  onLab(
    `${name}: the packet ends where trace says, and passes again when it is undone`,
    async () => {
      await seed();
      try {
        const told = await trace(worker, "web", api.ip);
        assert.deepEqual([told.ending, told.code, told.findings], ["fails", 1, [finding]]);
        assert.equal(await passes(worker, web, api.ip, size), false);
      } finally {
        await undo();
      }
      assert.equal((await trace(worker, "web", api.ip)).ending, "leaves");
      await untilPasses(worker, web, api.ip, size);
    },
  );
}
