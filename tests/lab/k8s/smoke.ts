/**
 * Whether a cluster does what a cluster must: pods on one node and across nodes, services, ports of
 * nodes, the way out, the API from within; and whether the deletion of pods leaves nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import type { Cluster, RunningPod } from "./cluster.ts";
import { underlay } from "./control_plane.ts";
import type { KubeNode } from "./node.ts";
import { pod, service } from "./objects.ts";

/** Hears of each check: that it passed, or why not. */
export type Report = (check: string, failure?: string) => void;

const NS = "smoke";
const NODE_PORT = 30080;
const HOST_PORT = 18081;

/** Something that can ask: a pod or a node. */
interface Asker {
  readonly name: string;
  must(command: readonly [string, ...string[]]): Promise<string>;
}

/**
 * Runs all checks in a cluster whose nodes are ready.
 *
 * @returns the checks that failed, with reasons
 */
export async function smoke(cluster: Cluster, report: Report = () => {}): Promise<string[]> {
  const failures: string[] = [];
  /** The check passes when `work` does within a few seconds. */
  const check = async (name: string, work: () => Promise<unknown>): Promise<void> => {
    try {
      await until(name, async () => (await work(), true), { seconds: 8, every: 200 });
      report(name);
    } catch (e) {
      const why = e instanceof Error ? e.message : String(e);
      failures.push(`${name}: ${why}`);
      report(name, why);
    }
  };
  const before = new Map<KubeNode, Traces>();
  for (const node of cluster.nodes) before.set(node, await traces(node));

  const [first, second = first] = cluster.nodes as [KubeNode, ...KubeNode[]];
  const last = cluster.nodes.at(-1) as KubeNode;
  const web = { app: "web" };
  await cluster.addNamespace(NS);
  await cluster.apply(
    pod({ name: "a1", namespace: NS, node: first.name, labels: web }),
    pod({ name: "a2", namespace: NS, node: first.name, labels: web, hostPort: HOST_PORT }),
    pod({ name: "b1", namespace: NS, node: second.name, labels: web }),
    service({ name: "web", namespace: NS, selector: web, nodePort: NODE_PORT }),
    service({ name: "only-a1", namespace: NS, selector: { name: "a1" } }),
    service({ name: "only-b1", namespace: NS, selector: { name: "b1" } }),
  );
  const pods = await cluster.pods("smoke/a1", "smoke/a2", "smoke/b1");
  const { "smoke/a1": a1, "smoke/a2": a2, "smoke/b1": b1 } = pods;
  report("three pods are Ready");

  for (const node of cluster.nodes) {
    await check(`${node.name}: a subnet, that of its podCIDR`, () => agrees(cluster, node));
    await check(`${node.name}: a route to the pods of each other node`, () => knows(cluster, node));
  }
  const outside: Asker = {
    name: "outside",
    must: (command) => cluster.plane.machine.must(command),
  };
  const server = await cluster.plane.machine.start("outside", ["probe", "serve", "8099"]);
  const addresses = new Map<string, readonly string[]>();
  for (const name of ["web", "only-a1", "only-b1"]) {
    const { spec } = await cluster.get(`-n ${NS} service ${name}`);
    addresses.set(name, spec?.clusterIPs as string[]);
  }
  for (const [i, ip] of a1.ips.entries()) {
    const v6 = ip.includes(":");
    const say = (text: string): string => v6 ? `IPv6: ${text}` : text;
    const at = (one: RunningPod): string => one.ips[i] ?? "";
    const cluster_ip = (name: string): string => addresses.get(name)?.[i] ?? "";
    const nodeIp = (node: KubeNode): string => v6 ? node.address6 : node.address;
    const asks = (
      asker: Asker,
      text: string,
      to: string,
      port: number,
      want: Answer,
    ): Promise<void> => check(say(`${asker.name} → ${text}`), () => answer(asker, to, port, want));
    await asks(a1, "a pod on its node, source kept", at(a2), 80, { from: "a2", to: at(a1) });
    await asks(a1, "a pod on another node, source kept", at(b1), 80, { from: "b1", to: at(a1) });
    await asks(b1, "a pod on another node, source kept", at(a1), 80, { from: "a1", to: at(b1) });
    await check(say("a1 → UDP to another node"), async () => {
      assert.match(await a1.must(["probe", "udp", url(at(b1), 80)]), /^b1 /);
    });
    await check(say("a1 → the largest packet to another node"), async () => {
      const mtu = Number(
        / mtu (\d+)/.exec(await a1.must(["ip", "-o", "link", "show", "eth0"]))?.[1],
      );
      const size = String(mtu - (v6 ? 48 : 28));
      await a1.must(["ping", "-c1", "-W2", "-M", "do", "-s", size, at(b1)]);
    });
    const node = { name: first.name, must: first.must.bind(first) };
    await asks(node, "a pod on it", at(a1), 80, { from: "a1" });
    await asks(node, "a pod on another node", at(b1), 80, { from: "b1" });
    const out = underlay(v6 ? "ipv6" : "ipv4", 1);
    await asks(b1, "outside, masqueraded as its node", out, 8099, {
      from: "cp",
      to: nodeIp(second),
    });
    await asks(a1, "a service with its pod on another node", cluster_ip("only-b1"), 80, {
      from: "b1",
      to: at(a1),
    });
    await asks(a1, "its own service (hairpin)", cluster_ip("only-a1"), 80, { from: "a1" });
    await asks(b1, "a service of three pods", cluster_ip("web"), 80, { from: "(a1|a2|b1)" });
    await asks(node, "a service", cluster_ip("only-b1"), 80, { from: "b1" });
    await asks(outside, "a NodePort of a node with pods", nodeIp(first), NODE_PORT, {
      from: "(a1|a2|b1)",
    });
    await asks(outside, "a NodePort of the last node", nodeIp(last), NODE_PORT, {
      from: "(a1|a2|b1)",
    });
    await asks(outside, "a hostPort", nodeIp(first), HOST_PORT, { from: "a2" });
  }
  await cluster.plane.machine.end(server, "SIGKILL");
  const api = await cluster.get("service kubernetes");
  await check("b1 → the API server by its service", async () => {
    await b1.must(["probe", "tcp", url(String(api.spec?.clusterIP), 443)]);
  });
  await check("kubectl exec and logs", async () => {
    const run = ["-n", NS, "exec", "a1", "--", "/bin/hostname"];
    assert.equal(await cluster.kubectl(run), "a1\n");
    await cluster.kubectl(["-n", NS, "logs", "a1"]);
  });

  await check("pods are deleted", () => cluster.deletePods("smoke/a1", "smoke/a2", "smoke/b1"));
  for (const node of cluster.nodes) {
    for (const kind of Object.keys(KINDS) as Kind[]) {
      await check(`${node.name}: no ${kind} is left`, async () => {
        const old = before.get(node)?.[kind] ?? [];
        const left = (await traces(node))[kind].filter((one) => !old.includes(one));
        assert.deepEqual(left, []);
      });
    }
  }
  await cluster.kubectl(["delete", "namespace", NS, "--wait=false"]);
  return failures;
}

/** Who must answer, and which client it must see. */
interface Answer {
  /** A pattern. */
  readonly from: string;
  readonly to?: string;
}

async function answer(asker: Asker, ip: string, port: number, want: Answer): Promise<void> {
  const got = (await asker.must(["probe", "get", url(ip, port)])).trim();
  assert.match(got, new RegExp(`^${want.from} `));
  if (want.to !== undefined) assert.equal(got.split(" ")[1], want.to);
}

function url(ip: string, port: number): string {
  return `${ip.includes(":") ? `[${ip}]` : ip}:${port}`;
}

/** The subnets of a node, as its subnet file has them. */
export function subnetsOf(node: KubeNode): readonly string[] {
  const text = node.read("/run/flannel/subnet.env") ?? assert.fail(`${node.name}: no subnet.env`);
  const found = text.matchAll(/^FLANNEL(?:_IPV6)?_SUBNET=(.+?)1\/(\d+)$/gm);
  return [...found].map(([, base, length]) => `${base}${base?.includes(":") ? "" : "0"}/${length}`);
}

async function agrees(cluster: Cluster, node: KubeNode): Promise<void> {
  const { spec } = await cluster.get(`node ${node.name}`);
  const cidrs = spec?.podCIDRs as string[] | undefined;
  const subnets = subnetsOf(node);
  // Without podCIDRs the subnet is of another store.
  if (cidrs === undefined) assert.equal(subnets.length, 1);
  else assert.deepEqual(subnets.toSorted(), cidrs.toSorted());
}

async function knows(cluster: Cluster, node: KubeNode): Promise<void> {
  const routes = await node.shell("ip route; ip -6 route");
  for (const other of cluster.nodes) {
    if (other === node) continue;
    for (const subnet of subnetsOf(other)) {
      assert.ok(
        routes.split("\n").some((line) => line.startsWith(`${subnet} `)),
        `no route to ${subnet} in:\n${routes}`,
      );
    }
  }
}

/** What pods leave on a node if something goes wrong: a command for each kind, one line each. */
const KINDS = {
  "network namespace of a pod": "ls /run/netns",
  "port on cni0": "for p in /sys/class/net/cni0/brif/*; do [ ! -e $p ] || basename $p; done",
  "cgroup of a pod":
    "find /sys/fs/cgroup/memory/kubepods /sys/fs/cgroup/kubepods -mindepth 1 -maxdepth 2 -name 'pod*' 2>/dev/null || true",
  "reserved address":
    "ls /var/lib/cni/networks/*/ 2>/dev/null | grep -E '^[0-9a-f]+[.:][0-9a-f.:]+$' || true",
  "saved configuration":
    "ls /var/lib/cni/flannel /var/lib/cni/results 2>/dev/null | grep -v : || true",
  "rule of a hostPort":
    `{ iptables-save; ip6tables-save; nft list ruleset; } 2>/dev/null | grep -E 'dport ${HOST_PORT}|dport [{] ${HOST_PORT}|\\b${HOST_PORT} :' || true`,
} as const;
type Kind = keyof typeof KINDS;
type Traces = Readonly<Record<Kind, readonly string[]>>;

/** What is there now of each kind. */
export async function traces(node: KubeNode): Promise<Traces> {
  const script = Object.values(KINDS).map((command) => `${command}; echo ==`).join("\n");
  const parts = (await node.must(["sh", "-c", script])).split("==\n");
  const lines = Object.keys(KINDS).map((kind, i) => [
    kind,
    (parts[i] ?? "").split("\n").filter((line) => line !== ""),
  ]);
  return Object.fromEntries(lines) as Traces;
}
