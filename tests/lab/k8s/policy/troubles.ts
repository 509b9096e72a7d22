/**
 * The API is away or refuses, and pods are added all the same: what was enforced still is.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../../command.ts";
import { apiOutage, daemonReady, giveRights } from "../events.ts";
import type { KubeNode } from "../node.ts";
import type { Arena } from "./arena.ts";
import { reaches } from "./lives.ts";

/** x/a takes x/c alone. */
async function holds(arena: Arena): Promise<void> {
  const [ip = ""] = arena.ips("x/a");
  for (const far of ["x/b", "y/a"]) await reaches(arena, far, ip, false);
  await reaches(arena, "x/c", ip, true);
}

const POLICY = "x/p on pod=a types Ingress; in: P(pod=c) @ any port";

/** Restarts a daemon. @param flags instead of those that it was given here before */
async function restart(node: KubeNode, ...flags: readonly string[]): Promise<void> {
  const unit = "/etc/systemd/system/twill.service";
  const words = flags.map((flag) => ` ${flag}`).join("");
  await node.shell(
    `sed -i -e "s/ --network-policy=[a-z]*//" -e "s/^ExecStart=.*/&${words}/" ${unit}`,
  );
  await node.must(["systemctl", "restart", "twill"]);
}

/**
 * The API refuses one of the lists: what was enforced still is, and status, metrics, probes and an
 * event name the right that is missing.
 */
export async function refused(arena: Arena, resources: readonly string[]): Promise<void> {
  const { cluster } = arena;
  const node = arena.node("x/a");
  await arena.do(POLICY);
  await holds(arena);
  try {
    for (const resource of resources) {
      const words = new RegExp(`Cannot list ${resource}: .*forbidden`);
      await giveRights(cluster, [resource, "list"]);
      // A watch that stands goes on: rights are missed at the next list.
      await restart(node, "--network-policy=auto");
      const state = await until(`the daemon says that it may not list ${resource}`, async () => {
        const { policy } = await arena.status(node);
        return policy.reasons.some((reason) => words.test(reason)) && policy;
      }, { every: 100, explain: () => node.tail("twill") });
      assert.equal(state.state, "degraded");
      assert.match(state.reasons.join(), /twill manifest/, "and what to do about it");
      const [ready, metrics] = [arena.health("/readyz"), arena.health("/metrics")];
      assert.match(await node.must(["curl", "-s", ready]), words);
      assert.match(
        await node.must(["curl", "-s", metrics]),
        /^twill_policy_state\{state="degraded"\} 1$/m,
      );
      assert.match(node.tail("twill", 40), /NetworkPolicy is not fully enforced/);
      await until("an event of the node tells it", async () => {
        return (await cluster.list("events")).some(({ reason, message, involvedObject }) =>
          reason === "NetworkPolicyNotEnforced" && words.test(String(message)) &&
          (involvedObject as { name?: string } | undefined)?.name === node.name
        );
      }, { every: 200 });
      await holds(arena);
    }
  } finally {
    await giveRights(cluster);
  }
}

/** What `--network-policy` does to a node whose API refuses a list, and to one that has all rights. */
export async function modes(arena: Arena): Promise<void> {
  const { cluster } = arena;
  const node = arena.node("x/a");
  const [ip = ""] = arena.ips("x/a");
  const state = async (wanted: string): Promise<void> => {
    await until(`policies are ${wanted}`, async () => {
      return (await arena.status(node)).policy.state === wanted;
    }, { every: 50, explain: () => node.tail("twill") });
  };
  await arena.do(POLICY);
  await holds(arena);
  try {
    await giveRights(cluster, ["networkpolicies", "list"]);
    await restart(node, "--network-policy=on");
    await state("degraded");
    await holds(arena);
    await restart(node, "--network-policy=off");
    await state("off");
    assert.doesNotMatch(await node.must(["nft", "list", "tables"]), /twill-policy/);
    await reaches(arena, "x/b", ip, true);
    await added(arena, node, "x", true);
  } finally {
    await giveRights(cluster);
  }
  await restart(node, "--network-policy=on");
  await state("on");
  await holds(arena);
  await restart(node);
  await state("on");
}

/**
 * P30, P32: the API is away and a daemon is started anew: both the old state and new pods are
 * covered, by the daemon and by a plugin without one.
 */
export async function outage(arena: Arena, seconds: number): Promise<void> {
  const node = arena.node("x/a");
  await arena.do(POLICY);
  await holds(arena);
  await arena.heardByAll();
  await apiOutage(arena.cluster, seconds, async () => {
    await holds(arena);
    await restart(node);
    await until("the daemon waits for the API", async () => {
      return (await arena.status(node)).policy.state !== "on";
    }, { every: 50, explain: () => node.tail("twill") });
    await holds(arena);
    await addedEitherWay(arena, node);
  });
  await until("kubectl proxy answers", async () => (await arena.api("GET", "/version")).ok);
  await daemonReady(node);
  await arena.heardByAll();
  await holds(arena);
}

/**
 * A pod that the API does not have: its labels never come. Its ADD is answered; where there are
 * policies it is closed.
 */
export async function unknownPods(arena: Arena): Promise<void> {
  const node = arena.node("x/a");
  await arena.do(POLICY);
  await arena.heardByAll();
  await addedEitherWay(arena, node);
  await until("policies are on", async () => (await arena.status(node)).policy.state === "on");
  await added(arena, node, "x", false);
  const { policy } = await arena.status(node);
  assert.ok(policy.held.length > 0, "the status names the address");
  assert.match(
    await node.must(["curl", "-s", arena.health("/metrics")]),
    new RegExp(`^twill_policy_held_addresses ${policy.held.length}$`, "m"),
  );
  await holds(arena);
}

/** By the daemon, and by a plugin without one: where there are policies, and where there are none. */
async function addedEitherWay(arena: Arena, node: KubeNode): Promise<void> {
  await added(arena, node, "x", false);
  await added(arena, node, "z", true);
  await node.must(["systemctl", "stop", "twill"]);
  await holds(arena);
  await added(arena, node, "x", false);
  await added(arena, node, "z", true);
  await node.must(["systemctl", "start", "twill"]);
}

let ghosts = 0;

/**
 * Adds a pod that the API knows nothing of, as a runtime does it, and takes it away again.
 *
 * @param open whether it then reaches another pod; if not, nothing is allowed for it
 */
async function added(
  arena: Arena,
  node: KubeNode,
  namespace: string,
  open: boolean,
): Promise<void> {
  const name = `ghost${++ghosts}`;
  const list = JSON.parse(node.read("/etc/cni/net.d/10-flannel.conflist") ?? "");
  const stdin = JSON.stringify({
    ...list.plugins[0],
    cniVersion: list.cniVersion,
    name: list.name,
  });
  const call = (verb: string): Promise<string> =>
    node.must([
      "env",
      `CNI_COMMAND=${verb}`,
      `CNI_CONTAINERID=${name}`,
      `CNI_NETNS=/run/netns/${name}`,
      "CNI_IFNAME=eth0",
      "CNI_PATH=/opt/cni/bin",
      `CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}`,
      `/opt/cni/bin/${list.plugins[0].type}`,
    ], { stdin, seconds: 20 });
  await node.must(["ip", "netns", "add", name]);
  try {
    await call("ADD");
    // Outside the tables' policies, on the other node: the first answer of a new way may be late.
    const ask = ["probe", "udp", "-t", open ? "1" : "0.5", `${arena.ips("z/b")[0]}:80`] as const;
    const at = ["nsenter", `--net=/run/netns/${name}`] as const;
    if (open) {
      await until(`${name} reaches z/b`, async () => (await node.exec([...at, ...ask])).code === 0);
    } else assert.equal((await node.exec([...at, ...ask])).code, 2, `${name} reaches z/b`);
    await call("DEL");
  } finally {
    await node.must(["ip", "netns", "del", name]);
  }
}
