/**
 * Policies in a cluster of both families whose nodes have no br_netfilter.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../../command.ts";
import type { Cluster, RunningPod } from "../cluster.ts";
import { asks } from "../events.ts";
import type { KubeNode } from "../node.ts";
import { type KubeObject, pod } from "../objects.ts";

type Placed = [KubeNode, RunningPod];

/** The policy that there is: for one pod, by its name. */
function policy(target: string, from: readonly unknown[]): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "p", namespace: "default" },
    spec: {
      podSelector: { matchLabels: { name: target } },
      policyTypes: ["Ingress"],
      ingress: [{ from }],
    },
  };
}

/**
 * P24, P25: a block of one family opens that one alone, pods are let in with all their addresses.
 * P36: where netfilter does not see packets between pods of one bridge, these pass, and the node says so
 * in its probe, its status, its metrics, an event, and `inspect check`.
 */
export async function familiesAndBridge(
  cluster: Cluster,
  pods: ReadonlyMap<KubeNode, RunningPod>,
): Promise<void> {
  // Between the first two others count what is lost.
  const [[, other], , [node, target]] = [...pods] as [Placed, Placed, Placed];
  await cluster.apply(pod({ name: "neighbour", node: node.name }));
  const { neighbour } = await cluster.pods("neighbour");
  const opens = async (from: RunningPod, ip: string, wanted: boolean): Promise<void> => {
    const at = ip.includes(":") ? `[${ip}]:80` : `${ip}:80`;
    await until(`${from.name} ${wanted ? "reaches" : "does not reach"} ${at}`, async () => {
      const { code } = await from.exec(["probe", "udp", "-t", wanted ? "1" : "0.3", at]);
      return code === (wanted ? 0 : 2);
    }, { explain: () => node.tail("twill", 8) });
  };
  const [ip4 = "", ip6 = ""] = target.ips;
  assert.ok(!ip4.includes(":") && ip6.includes(":"), "IPv4 first");
  await cluster.apply(policy(target.name, [{ ipBlock: { cidr: `${other.ip}/32` } }]));
  await opens(other, ip6, false);
  await opens(other, ip4, true);
  await cluster.apply(
    policy(target.name, [{ podSelector: { matchLabels: { name: other.name } } }]),
  );
  await opens(other, ip6, true);
  await opens(other, ip4, true);
  await cluster.apply(policy(target.name, [{ podSelector: { matchLabels: { name: "nobody" } } }]));
  for (const ip of target.ips) {
    await opens(other, ip, false);
    await opens(neighbour, ip, true);
  }
  const words =
    /policies between pods of this node are not enforced: the kernel has no br_netfilter/i;
  await until("the daemon says so", async () => words.test(await asks(node, "/readyz")));
  assert.match(await asks(node, "/metrics"), /^twill_policy_state\{state="degraded"\} 1$/m);
  assert.match(node.tail("twill", 40), words);
  const status = await node.exec(["twill", "inspect", "status"]);
  assert.match(status.stdout, words);
  assert.equal(status.code, 1);
  const check = await node.exec(["twill", "inspect", "check", "-o", "json"]);
  assert.match(check.stdout, /"no-br-netfilter"/);
  await until("an event of the node says so", async () => {
    return (await cluster.list("events")).some(({ reason, message }) =>
      reason === "NetworkPolicyNotEnforced" && words.test(String(message))
    );
  }, { every: 200 });
  await cluster.kubectl(["delete", "networkpolicy", "p"]);
  await cluster.deletePods("neighbour");
}
