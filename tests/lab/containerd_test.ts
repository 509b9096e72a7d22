/** Debian's containerd, with plugins and network as `twill install` puts them. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { Containerd } from "./containerd.ts";
import { addresses, device } from "./kernel_view.ts";
import { Lab } from "./lab.ts";
import type { Node } from "./node.ts";

const SUBNET_ENV = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

/** A node without plugins and network; the daemon's part is told. */
async function withContainerd(
  work: (node: Node, containerd: Containerd) => Promise<void>,
): Promise<void> {
  await using lab = await Lab.create({ nodes: ["solo"], network: false, outside: false });
  const [node] = lab.nodes;
  assert.ok(node);
  await node.must(["sh", "-ec", "rm -rf /opt/cni /etc/cni/net.d/*; mkdir /run/flannel"]);
  node.write("/run/flannel/subnet.env", SUBNET_ENV);
  await using containerd = await Containerd.start(node);
  await work(node, containerd);
}

async function networkReady(containerd: Containerd): Promise<boolean> {
  const all = await containerd.cri.conditions();
  return all.find(({ type }) => type === "NetworkReady")?.status ?? false;
}

async function install(node: Node, containerd: Containerd): Promise<void> {
  await node.must(["twill", "install"]);
  await until("containerd has seen the network", () => networkReady(containerd));
}

/** Everything that pods leave on a node, if something is left. */
async function traces(node: Node): Promise<string[]> {
  const rules = await node.must([
    "sh",
    "-c",
    "iptables-save; ip6tables-save; nft list ruleset; ip -br link show type veth",
  ]);
  return [
    ...rules.split("\n").filter((line) => /CNI-[DS]N-|dnat to|CNI-[0-9a-f]{24}|veth/.test(line)),
    ...node.list("/var/lib/cni/networks/cbr0").filter((name) => /^\d+\./.test(name)),
    ...node.list("/var/lib/cni/flannel"),
    ...node.list("/var/lib/cni/results"),
    ...node.list("/run/netns"),
  ];
}

Deno.test("containerd: NetworkReady comes with twill install and goes with twill uninstall", async () => {
  await withContainerd(async (node, containerd) => {
    assert.equal(await networkReady(containerd), false);
    await install(node, containerd);
    const id = await containerd.run("a");
    const refused = await node.exec(["twill", "uninstall"]);
    assert.match(refused.stderr, /^Cannot uninstall: a pod is alive on cni0/m);
    await containerd.remove(id);
    await node.must(["twill", "uninstall"]);
    await until("containerd sees no network", async () => !(await networkReady(containerd)));
    assert.deepEqual([node.list("/opt/cni/bin"), node.list("/etc/cni/net.d")], [[], []]);
  });
});

Deno.test("containerd: pods have addresses, reach each other, and leave nothing", async () => {
  await withContainerd(async (node, containerd) => {
    await install(node, containerd);
    const ids = await Promise.all(["a", "b", "c", "d"].map((name) => containerd.run(name)));
    const sandboxes = await Promise.all(ids.map((id) => containerd.cri.sandbox(id)));
    const ips = sandboxes.flatMap((sandbox) => sandbox.ips);
    assert.deepEqual(
      ips.toSorted(),
      ["2", "3", "4", "5"].map((last) => `10.244.7.${last}`),
    );
    for (const netns of containerd.namespaces()) {
      for (const ip of [...ips, "10.244.7.1"]) {
        await node.must(["ip", "netns", "exec", netns, "ping", "-c1", "-W5", ip]);
      }
      // containerd's own second network.
      await node.must(["ip", "netns", "exec", netns, "ping", "-c1", "-W5", "127.0.0.1"]);
    }
    const shown = JSON.parse(await node.must(["twill", "inspect", "pods", "-o", "json"]));
    assert.deepEqual(
      shown.items.map(({ pod, ips, veth, bridge, netns }: Record<string, unknown>) => [
        pod,
        ips,
        [typeof veth, bridge],
        containerd.namespaces().some((name) => String(netns).endsWith(`/${name}`)),
      ]),
      sandboxes.map(({ ips }, i) => ["abcd"[i], ips, ["string", "cni0"], true]),
    );
    assert.notDeepEqual(await traces(node), [], "there is something to look for");
    await Promise.all(ids.map((id) => containerd.remove(id)));
    assert.deepEqual(await traces(node), []);
    assert.deepEqual(addresses(await device(node, "cni0")), ["10.244.7.1/24"]);
  });
});

Deno.test("containerd: a host port leads to the pod, and goes with it", async () => {
  await withContainerd(async (node, containerd) => {
    await install(node, containerd);
    const id = await containerd.run("web", { 8080: 80 });
    const [netns = ""] = containerd.namespaces();
    const script = new URL("whoami.ts", import.meta.url).pathname;
    const flags = ["--quiet", "--no-config", "--no-lock", "--no-check", "--allow-net"];
    const inPod = ["ip", "netns", "exec", netns] as const;
    const server = await node.start("web", [...inPod, Deno.execPath(), "run", ...flags, script]);
    await until(
      "the pod's server listens",
      () => Deno.readTextFileSync(server.log).includes("listening"),
    );
    const said = await node.must(["curl", "-sf", "-m5", "http://192.168.200.11:8080/"]);
    assert.match(said, /^you are /);
    await server.stop();
    await containerd.remove(id);
    assert.deepEqual(await traces(node), []);
  });
});

Deno.test("containerd: a pod whose namespace has gone gives its address back", async () => {
  await withContainerd(async (node, containerd) => {
    await install(node, containerd);
    const id = await containerd.run("lost", { 8080: 80 });
    const [netns = ""] = containerd.namespaces();
    const path = `/run/netns/${netns}`;
    await node.must(["sh", "-ec", `umount -l ${path}; rm ${path}`]);
    await containerd.remove(id);
    assert.deepEqual(await traces(node), []);
  });
});

Deno.test("containerd: without the daemon's subnet file a pod fails, says why, leaves nothing", async () => {
  await withContainerd(async (node, containerd) => {
    await install(node, containerd);
    await node.must(["rm", "/run/flannel/subnet.env"]);
    await assert.rejects(containerd.run("early"), /RunPodSandbox: .*subnet\.env/);
    assert.deepEqual(await traces(node), []);
  });
});
