/**
 * The smoke test in clusters of every kind: how twill came to the nodes, families, rules, back ends.
 * The gate takes those that differ most.
 */

import assert from "node:assert/strict";
import { Cluster, type ClusterOptions } from "./cluster.ts";
import { onePodEach, PodStream, powerCut, sandboxFailures } from "./events.ts";
import { nextBuild, twillImage } from "./images.ts";
import { Flannel, rolledOut, TwillDaemonSet, TwillService } from "./networks.ts";
import { Pings } from "./pings.ts";
import type { KubeNode } from "./node.ts";
import { smoke } from "./smoke.ts";

const full = Deno.env.get("TWILL_FULL") === "1";

interface Variant extends Omit<ClusterOptions, "network"> {
  readonly name: string;
  readonly as: "file" | "DaemonSet";
  /** For `--set`. */
  readonly settings?: readonly string[];
  /** Also in the gate. */
  readonly gate?: boolean;
}

const VARIANTS: readonly Variant[] = [
  { name: "as most have it", as: "DaemonSet", gate: true },
  { name: "no br_netfilter, kube-proxy with iptables", as: "file", bridgeNetfilter: false },
  { name: "IPv6 only", as: "file", families: "ipv6" },
  {
    name: "IPv6 only, kube-proxy with nftables",
    as: "DaemonSet",
    families: "ipv6",
    proxy: "nftables",
  },
  { name: "dual stack, host-gw", as: "file", families: "dual", settings: ["backend=host-gw"] },
  {
    name: "host-gw, kube-proxy with nftables",
    as: "DaemonSet",
    proxy: "nftables",
    settings: ["backend=host-gw"],
  },
  { name: "direct routing", as: "file", settings: ["directRouting=true"] },
  { name: "rules in iptables", as: "file", settings: ["nftables=false"] },
  {
    name: "rules in flannel's nftables",
    as: "DaemonSet",
    settings: ["nftables=true"],
    families: "dual",
  },
  { name: "not privileged", as: "DaemonSet", settings: ["privileged=false"] },
  {
    name: "not privileged, dual stack, rules in iptables",
    as: "DaemonSet",
    families: "dual",
    settings: ["privileged=false", "nftables=false"],
  },
  { name: "ten nodes", as: "DaemonSet", nodes: 10 },
];

/** What became of the runtime's calls on a node, as the daemon's status tells it. */
async function callsOn(node: KubeNode): Promise<{ served: number; left: Record<string, number> }> {
  const ask = ["curl", "-s", "--unix-socket", "/run/twill/status.sock", "http://twill/status"];
  const { plugins } = JSON.parse(await node.must(ask as [string, ...string[]]));
  return plugins;
}

for (const { name, as, settings = [], gate = false, ...options } of VARIANTS) {
  if (!gate && !full) continue;
  Deno.test(`k8s: twill as a ${as}, ${name}: passes the smoke test`, async () => {
    const network = as === "file" ? new TwillService(settings) : new TwillDaemonSet(settings);
    await using cluster = await Cluster.create({ nodes: 2, ...options, network });
    assert.deepEqual(await smoke(cluster), []);
    const unable = settings.includes("privileged=false");
    for (const node of cluster.nodes) {
      const { served, left } = await callsOn(node);
      if (!unable) {
        assert.deepEqual(left, {}, node.name);
        assert.ok(served > 0, node.name);
      } else {
        assert.equal(served, 0, node.name);
        assert.match(Object.keys(left).join(), /^[^,]*CAP_SYS_ADMIN[^,]*$/, node.name);
      }
    }
  });
}

if (full) {
  Deno.test("k8s: twill as a DaemonSet is upgraded under a stream of pods", async () => {
    await using cluster = await Cluster.create({ nodes: 2, network: new TwillDaemonSet() });
    const pods = await onePodEach(cluster);
    await using pings = await Pings.start([...pods.values()]);
    const image = await twillImage(await nextBuild(), "next");
    for (const node of cluster.nodes) await node.importImage(image.path);
    {
      await using stream = new PodStream(cluster, cluster.node("node1"));
      await stream.more(1);
      const both = ["kube-flannel", "install-cni-plugin"].map((name) => `${name}=twill:next`);
      await cluster.kubectl(["-n", "kube-flannel", "set", "image", "ds/kube-flannel-ds", ...both]);
      await rolledOut(cluster);
      await stream.more(1);
    }
    assert.deepEqual(await sandboxFailures(cluster), []);
    await pings.unharmed();
    await powerCut(cluster, cluster.node("node2"), "node2");
  });

  Deno.test("k8s: a node with flannel joins nodes with twill: passes the smoke test", async () => {
    await using cluster = await Cluster.create({ nodes: 2, network: new TwillService() });
    await cluster.addNode(new Flannel());
    await cluster.nodesReady();
    assert.deepEqual(await smoke(cluster), []);
  });
}
