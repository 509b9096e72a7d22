/**
 * What a cluster adds to the case tables: pods that are just made, the daemon's end and return,
 * changes under load, Services, probes of the kubelet.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../../command.ts";
import type { KubeNode } from "../node.ts";
import { IMAGE, type KubeObject, pod } from "../objects.ts";
import type { Arena } from "./arena.ts";

/** One stream of datagrams from pod to pod, and whether policies allow it, now and always. */
interface Flow {
  readonly from: string;
  readonly to: string;
  readonly allowed: boolean;
}

/** Who may reach whom while policies change: on one node and across nodes. */
const FLOWS: readonly Flow[] = [
  { from: "x/c", to: "x/a", allowed: true },
  { from: "x/c", to: "y/b", allowed: true },
  { from: "y/a", to: "x/a", allowed: false },
  { from: "x/b", to: "x/a", allowed: false },
  { from: "z/a", to: "y/b", allowed: false },
];

/** Changes of policies and labels that are none for {@link FLOWS}. */
async function change(arena: Arena, i: number): Promise<void> {
  switch (i % 4) {
    case 0:
      return await arena.do(`x/extra on pod=a types Ingress; in: P(pod=nobody${i}) @ TCP/80`);
    case 1:
      return await arena.do(`pod z/c labels ${i % 8 === 1 ? "extra=on" : "-extra"}`);
    case 2:
      return await arena.do(
        `y/extra on pod=b types Ingress; in: N(all)+P(extra=on) @ TCP/${i + 1}`,
      );
    default:
      return await arena.do("delete x/extra");
  }
}

/** The daemon of a node is killed; its service starts it again. */
async function killDaemon(node: KubeNode): Promise<void> {
  const find = 'for p in /proc/[0-9]*; do set -- $(tr "\\0" " " <$p/cmdline); ' +
    'case "$1" in twill|*/twill) if [ "$2" = daemon ]; then kill -9 "${p#/proc/}"; fi;; esac; done';
  await node.must(["sh", "-c", find]);
}

/**
 * Changes one after the other under streams of datagrams, with the daemons killed in the middle:
 * no packet may be lost that is allowed, none may pass that is not.
 *
 * @returns what was counted, for people
 */
export async function flood(arena: Arena, changes: number): Promise<string> {
  await arena.do("x/keep on pod=a types Ingress; in: P(pod=c) @ any port");
  await arena.do("y/keep on pod=b types Ingress; in: N(ns=x)+P(pod=c) @ any port");
  const streams = FLOWS.flatMap(({ from, to, allowed }) =>
    [true, false].map((fresh) => ({ from, to, allowed, fresh, name: `${from} ${to} ${fresh}` }))
  );
  for (const { from, to, allowed } of FLOWS) {
    await until(`${from} → ${to} is ${allowed ? "open" : "closed"}`, async () => {
      const wish = allowed ? "soon" : "never";
      const question = {
        deed: "try",
        protocol: "UDP",
        ip: arena.ips(to)[0] ?? "",
        port: 80,
      } as const;
      return await arena.pod(from).ask(question, wish) === allowed;
    });
  }
  for (const { from, to, fresh, name } of streams) {
    const ip = arena.ips(to)[0] ?? "";
    await arena.pod(from).stream({ name, ip, port: 80, every: 20, fresh });
  }
  const began = performance.now();
  for (let i = 0; i < changes; i++) {
    if (i === Math.floor(changes / 3)) await killDaemon(arena.node("x/a"));
    if (i === Math.floor(changes / 2)) await killDaemon(arena.node("y/b"));
    await change(arena, i);
  }
  const seconds = (performance.now() - began) / 1000;
  const tallies = await Promise.all(
    streams.map(async (one) => ({ ...one, ...await arena.pod(one.from).count(one.name) })),
  );
  const wrong = tallies.filter(({ allowed, sent, answered }) => answered !== (allowed ? sent : 0));
  const words = wrong.map(({ name, sent, answered }) => `${name}: ${answered} of ${sent}`);
  assert.deepEqual(words, [], "allowed ones are all answered, the others never");
  const sum = (allowed: boolean): number =>
    tallies.filter((one) => one.allowed === allowed).reduce((all, { sent }) => all + sent, 0);
  return `${changes} changes in ${seconds.toFixed(1)} s, 2 daemons killed: ` +
    `0 of ${sum(true)} allowed datagrams lost, 0 of ${sum(false)} others passed`;
}

/** A pod whose init container asks for two seconds, from its first moment on. */
function eager(name: string, role: string, target: string): KubeObject {
  const ask =
    `i=0; while [ $i -lt 10 ]; do /bin/probe udp -t 0.2 ${target}:80; i=$((i+1)); done; true`;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "x", labels: { role } },
    spec: {
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      initContainers: [{ name: "eager", image: IMAGE, command: ["/bin/sh", "-c", ask] }],
      containers: [{ name: "main", image: IMAGE, command: ["/bin/sleep", "1000000"] }],
    },
  };
}

/** P26: pods that are made after a policy are covered before their first packet. */
export async function firstPackets(arena: Arena, count: number): Promise<void> {
  await arena.do("x/closed on role=closed types Egress; out: []");
  const target = arena.ips("y/b")[0] ?? "";
  const names = (role: string): string[] => Array.from({ length: count }, (_, i) => `${role}${i}`);
  const roles = ["closed", "open"];
  const objects = roles.flatMap((role) => names(role).map((name) => eager(name, role, target)));
  await arena.cluster.apply(...objects);
  const keys = roles.flatMap((role) => names(role).map((name) => `x/${name}`));
  const running = await arena.cluster.pods(...keys);
  const heard = await arena.pod("y/b").heard();
  const reached = keys.filter((key) => (heard[running[key]?.ip ?? ""] ?? 0) > 0);
  await arena.cluster.deletePods(...keys);
  assert.deepEqual(reached, names("open").map((name) => `x/${name}`), "who has reached the other");
}

/** P04: what the kubelet asks its pods is always answered. */
export async function kubeletProbes(arena: Arena): Promise<void> {
  await arena.do("x/all on all types Ingress+Egress; in: []; out: []");
  await arena.cluster.apply(pod({ name: "probed", namespace: "x", node: "node1" }));
  await arena.cluster.pods("x/probed");
  await arena.cluster.deletePods("x/probed");
}

/** P09, P10: behind a Service the pod's port counts, not the Service's. */
export async function services(arena: Arena): Promise<void> {
  await arena.cluster.apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "behind", namespace: "y" },
    spec: {
      selector: { pod: "b" },
      ports: [{ name: "a", port: 8080, targetPort: 80 }, { name: "b", port: 8081, targetPort: 81 }],
    },
  });
  const { spec } = await arena.cluster.get("-n y service behind");
  const ip = String(spec?.clusterIP);
  const reaches = (port: number, wanted: boolean): Promise<unknown> =>
    until(`port ${port} of the Service is ${wanted ? "open" : "closed"}`, async () => {
      const wish = wanted ? "soon" : "never";
      const question = { deed: "try", protocol: "TCP", ip, port } as const;
      return await arena.pod("x/a").ask(question, wish) === wanted;
    });
  await reaches(8080, true);
  await reaches(8081, true);
  await arena.do("x/out on pod=a types Egress; out: N(ns=y)+P(pod=b) @ TCP/80");
  await reaches(8081, false);
  await reaches(8080, true);
  await arena.do("x/out on pod=a types Egress; out: N(ns=y)+P(pod=b) @ TCP/8080");
  await reaches(8080, false);
  await arena.cluster.kubectl(["-n", "y", "delete", "service", "behind"]);
}

/** P33: a namespace that comes back under its name has the labels that it has now. */
export async function namespaceAnew(arena: Arena): Promise<void> {
  const { cluster } = arena;
  await arena.do("x/p on pod=a types Ingress; in: N(team=red) @ any port");
  const make = async (team: string): Promise<boolean> => {
    await cluster.addNamespace("fleeting", { team });
    await cluster.apply(pod({ name: "p", namespace: "fleeting" }));
    const { "fleeting/p": asker } = await cluster.pods("fleeting/p");
    const wanted = team === "red";
    const ok = await until(`team ${team} is ${wanted ? "in" : "out"}`, async () => {
      const ask = ["probe", "tcp", "-t", "0.5", `${arena.ips("x/a")[0]}:80`] as const;
      return (await asker.exec([...ask])).code === 0 === wanted;
    });
    await cluster.kubectl(["delete", "namespace", "fleeting", "--wait"]);
    return ok;
  };
  assert.ok(await make("red"));
  assert.ok(await make("blue"));
}

/** So often each change is made when it is timed. */
const ROUNDS = 30;

/**
 * From a write to the API until the kernel of the node has told of the change, as `nft monitor`
 * shows it: with the way through `kubectl proxy`.
 *
 * @returns milliseconds of each change, by what it was
 */
export async function latencies(arena: Arena): Promise<ReadonlyMap<string, readonly number[]>> {
  await arena.do("x/timed on pod=a types Ingress; in: N(all)+P(timed=on) @ TCP/80");
  const { machine } = arena.node("x/a");
  await using monitor = await machine.start("monitor", ["nft", "monitor"]);
  const size = (): number => Deno.statSync(monitor.log).size;
  const settled = async (): Promise<number> => {
    let at = size();
    for (let same = 0; same < 5; same++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (size() !== at) [at, same] = [size(), 0];
    }
    return at;
  };
  const time = async (work: () => Promise<void>): Promise<number> => {
    const before = await settled();
    const began = performance.now();
    const done = work();
    await until("the kernel has told of it", () => size() > before, { every: 1 });
    const took = performance.now() - began;
    await done;
    return took;
  };
  const out = new Map<string, number[]>();
  const changes: Readonly<Record<string, (i: number) => Promise<void>>> = {
    "a policy": (i) => arena.do(`x/timed on pod=a types Ingress; in: P(timed=on) @ TCP/${i + 1}`),
    "a label": (i) => arena.do(`pod x/c labels ${i % 2 === 0 ? "timed=on" : "-timed"}`),
  };
  for (const [name, change] of Object.entries(changes)) {
    const values: number[] = [];
    for (let i = 0; i < ROUNDS; i++) values.push(await time(() => change(i)));
    out.set(name, values);
  }
  return out;
}

/** P37: uninstall leaves no table; who was closed is open. */
export async function uninstalled(arena: Arena): Promise<void> {
  await arena.do("x/p on pod=a types Ingress; in: []");
  const node = arena.node("x/a");
  const question = {
    deed: "try",
    protocol: "TCP",
    ip: arena.ips("x/a")[0] ?? "",
    port: 80,
  } as const;
  await until("closed", async () => !await arena.pod("x/c").ask(question, "never"));
  assert.match(await node.must(["nft", "list", "tables"]), /twill-policy/);
  await node.must(["systemctl", "disable", "--now", "twill"]);
  await node.must(["twill", "uninstall", "--force"]);
  assert.doesNotMatch(await node.must(["nft", "list", "tables"]), /twill-policy/);
}
