/**
 * Pods that end, and pods that come in their place; policies that the API server should not hold.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../../command.ts";
import { type KubeObject, pod, type PodWish } from "../objects.ts";
import { ADDRESSES, type Arena } from "./arena.ts";

/** A pod with a specification of its own. */
function podWith(wish: PodWish, more: Readonly<Record<string, unknown>>): KubeObject {
  const object = pod(wish);
  return { ...object, spec: { ...object.spec as object, ...more } };
}

/** Waits until a pod of the tables does, or does not, reach an address. */
export async function reaches(
  arena: Arena,
  from: string,
  ip: string,
  wanted: boolean,
): Promise<void> {
  await until(`${from} ${wanted ? "reaches" : "does not reach"} ${ip}`, async () => {
    const question = { deed: "try", protocol: "UDP", ip, port: 80 } as const;
    return await arena.pod(from).ask(question, wanted ? "soon" : "never") === wanted;
  });
}

/** P27: a pod that is being deleted still is a target and a peer, to its end. */
export async function grace(arena: Arena): Promise<void> {
  const { cluster } = arena;
  await arena.do("x/p on role=slow types Ingress; in: P(pod=c) @ any port");
  await arena.do("x/q on pod=a types Ingress; in: P(role=slow) @ any port");
  const wish: PodWish = {
    name: "slow",
    namespace: "x",
    node: "node1",
    labels: { role: "slow" },
    command: ["/bin/sh", "-c", "trap '' TERM; /bin/probe serve 80 & wait"],
  };
  await cluster.apply(podWith(wish, { terminationGracePeriodSeconds: 300 }));
  const { "x/slow": slow } = await cluster.pods("x/slow");
  const holds = async (): Promise<void> => {
    await reaches(arena, "x/c", slow.ip, true);
    await reaches(arena, "y/a", slow.ip, false);
    const ask = ["probe", "udp", "-t", "1", `${arena.ips("x/a")[0]}:80`] as const;
    await until("it reaches x/a", async () => (await slow.exec([...ask])).code === 0);
    await reaches(arena, "y/a", arena.ips("x/a")[0] ?? "", false);
  };
  await holds();
  await cluster.kubectl(["-n", "x", "delete", "pod", "slow", "--wait=false"]);
  await until("all know that it ends", async () => {
    const known = await Promise.all(cluster.nodes.map((node) => arena.known(node)));
    return known.every(({ pods }) =>
      pods.some(({ name, terminating }) => name === "slow" && terminating)
    );
  });
  await holds();
  await cluster.kubectl(["-n", "x", "delete", "pod", "slow", "--force", "--grace-period=0"]);
}

/** P28: whoever gets the address of a pod that has completed inherits nothing of it. */
export async function reuse(arena: Arena): Promise<void> {
  const { cluster } = arena;
  await arena.do("x/p on role=old types Ingress+Egress; in: []; out: N(ns=y) @ any port");
  await arena.do("y/q on pod=a types Ingress; in: N(ns=x)+P(role=old) @ any port");
  const place = { namespace: "x", node: "node1" } as const;
  const old = { ...place, name: "old", labels: { role: "old" } };
  await cluster.apply(
    podWith({ ...old, command: ["/bin/sleep", "1"] }, { restartPolicy: "Never" }),
  );
  const ip = await until("it has completed", async () => {
    const { status } = await cluster.get("-n x pod old");
    return status?.phase === "Succeeded" && String(status.podIP);
  }, { every: 200, seconds: 60 });
  const node = cluster.node("node1");
  await until("its address is free", async () => {
    return (await node.exec(["test", "-e", `${ADDRESSES}/${ip}`])).code === 1;
  }, { every: 100, seconds: 60 });
  const before = ip.replace(/\d+$/, (last) => String(Number(last) - 1));
  await node.shell(`printf ${before} >${ADDRESSES}/last_reserved_ip.0`);
  const { status } = await cluster.get("-n x pod old");
  assert.equal(status?.podIP, ip, "the API still shows the address");
  await cluster.apply(pod({ ...place, name: "new", labels: { role: "new" } }));
  const { "x/new": heir } = await cluster.pods("x/new");
  assert.equal(heir.ip, ip, "it has the same address");
  await reaches(arena, "z/b", ip, true);
  await reaches(arena, "x/c", ip, true);
  const ask = (to: string) => ["probe", "udp", "-t", "0.5", `${arena.ips(to)[0]}:80`] as const;
  await until(
    "it reaches who takes all",
    async () => (await heir.exec([...ask("z/b")])).code === 0,
  );
  assert.equal(
    (await heir.exec([...ask("y/a")])).code,
    2,
    "it reaches who takes the old one alone",
  );
  await cluster.deletePods("x/old", "x/new");
}

/** How the API server keeps policies in etcd, which also reads JSON there. */
const REGISTRY = "/registry/networkpolicies";

/**
 * P34: a policy that no API server takes has got into its store (an older one was not so strict, or a
 * backup). It closes its own targets alone, and is told.
 */
export async function oddPolicy(arena: Arena): Promise<void> {
  const { cluster } = arena;
  await arena.do("x/p on pod=c types Ingress; in: P(pod=b) @ any port");
  const metadata = { name: "odd", namespace: "x", uid: crypto.randomUUID() };
  const spec = {
    podSelector: { matchLabels: { pod: "a" } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ ipBlock: { cidr: "10.244.0.0/160" } }] }],
  };
  const object = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec };
  await cluster.plane.etcdctl("put", `${REGISTRY}/x/odd`, JSON.stringify(object));
  const [a = "", c = ""] = [arena.ips("x/a")[0], arena.ips("x/c")[0]];
  await reaches(arena, "x/b", a, false);
  await reaches(arena, "x/c", a, false);
  await reaches(arena, "x/b", c, true);
  await reaches(arena, "y/a", c, false);
  await reaches(arena, "x/b", arena.ips("y/a")[0] ?? "", true);
  const node = arena.node("x/a");
  const { faults } = (await arena.status(node)).policy;
  assert.deepEqual(faults.map(({ policy }) => policy), ["x/odd"]);
  assert.match(
    faults[0]?.reason ?? "",
    /ipBlock\.cidr: want a network .* got "10\.244\.0\.0\/160"/,
  );
  assert.match(
    await node.must(["curl", "-s", arena.health("/readyz")]),
    /x\/odd cannot be enforced/,
  );
  assert.match(
    await node.must(["curl", "-s", arena.health("/metrics")]),
    /^twill_policies\{state="faulty"\} 1$/m,
  );
  await arena.do("x/odd on pod=a types Ingress; in: P(pod=b) @ any port");
  await reaches(arena, "x/b", a, true);
  await reaches(arena, "x/c", a, false);
}
