/**
 * Nodes and the world outside: pods with the node's network, other nodes' addresses, ports of nodes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { policyObject } from "../../../engine/policy/language.ts";
import { until } from "../../command.ts";
import { underlay } from "../control_plane.ts";
import { pod } from "../objects.ts";
import type { Arena } from "./arena.ts";

/** Where programs run that ask a pod. */
interface Asker {
  exec(command: readonly [string, ...string[]]): Promise<{ readonly code: number }>;
}

/** Waits until an asker does, or does not, get an answer by TCP. */
async function gets(who: string, asker: Asker, at: string, wanted: boolean): Promise<void> {
  await until(`${who} ${wanted ? "reaches" : "does not reach"} ${at}`, async () => {
    const { code } = await asker.exec(["probe", "tcp", "-t", wanted ? "1" : "0.3", at]);
    return code === (wanted ? 0 : 2);
  });
}

/**
 * P01 to P03, P07, P08, P11: a node reaches its own pods; another node is named by the address of its
 * vxlan device, and by no label of a pod with its network; such a pod is no target. A pod reaches
 * itself.
 */
export async function nodesAndHostPods(arena: Arena): Promise<void> {
  const { cluster } = arena;
  const [own, other] = [arena.node("x/a"), arena.node("x/b")];
  const at = `${arena.ips("x/a")[0]}:80`;
  await cluster.apply(pod({
    name: "host",
    namespace: "x",
    node: other.name,
    labels: { pod: "b", role: "host" },
    hostNetwork: true,
    command: ["/bin/probe", "serve", "8088"],
  }));
  await cluster.pods("x/host");
  await arena.do("x/p on pod=a types Ingress; in: P(pod=b) @ any port");
  await gets("the other node", other, at, false);
  await gets("its own node", own, at, true);
  await until(
    "x/b, which the rule names",
    () =>
      arena.pod("x/b").ask({ deed: "try", protocol: "TCP", ip: arena.ips("x/a")[0]!, port: 80 }),
  );
  assert.equal(
    await arena.pod("x/a").ask(
      { deed: "try", protocol: "TCP", ip: arena.ips("x/a")[0]!, port: 80 },
    ),
    true,
    "itself",
  );
  const [, vxlan = ""] = /inet ([\d.]+)\/32/.exec(
    await other.must(["ip", "-4", "address", "show", "flannel.1"]),
  ) ?? [];
  // Not by a deed: there such an address stands for pods.
  await arena.putPolicy(policyObject(`x/q on pod=a types Ingress; in: IP(${vxlan}/32) @ any port`));
  await gets("the other node, named by its address", other, at, true);
  await arena.do("x/r on role=host types Ingress+Egress; in: []; out: []");
  await arena.heardByAll();
  await gets("its own node, a pod with the other's network", own, `${other.address}:8088`, true);
  await cluster.deletePods("x/host");
}

/**
 * P14, P15: who comes in by a node's port has its own address on the node of the pod, and the address of
 * the node that it came by on another.
 */
export async function nodePorts(arena: Arena): Promise<void> {
  const { cluster } = arena;
  const [own, other] = [arena.node("x/a"), arena.node("x/b")];
  await cluster.apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "port", namespace: "x" },
    spec: {
      type: "NodePort",
      selector: { pod: "a" },
      ports: [{ port: 80, nodePort: 30080 }],
    },
  });
  const { machine } = cluster.plane;
  for (const node of [own, other]) await gets("the world", machine, `${node.address}:30080`, true);
  await arena.do(`x/p on pod=a types Ingress; in: IP(${underlay("ipv4", 1)}/32) @ TCP/80`);
  await gets("the world, by the other node", machine, `${other.address}:30080`, false);
  await gets("the world, by the pod's node", machine, `${own.address}:30080`, true);
  await cluster.kubectl(["-n", "x", "delete", "service", "port"]);
}
