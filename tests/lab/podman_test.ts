/** Debian's podman with its CNI back end: bridge, portmap, firewall and tuning are ours. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { Lab } from "./lab.ts";
import type { Node } from "./node.ts";
import { Podman } from "./podman.ts";

async function withPodman(work: (node: Node, podman: Podman) => Promise<void>): Promise<void> {
  await using lab = await Lab.create({ nodes: ["solo"], network: false, outside: false });
  const [node] = lab.nodes;
  assert.ok(node);
  await using podman = await Podman.create(node);
  await work(node, podman);
}

/** Everything that containers leave on a node, if something is left. */
async function traces(node: Node): Promise<string[]> {
  const look = "iptables-save; nft list ruleset; ip -br link show type veth";
  const rules = (await node.must(["sh", "-c", look])).split("\n");
  const networks = node.list("/var/lib/cni/networks");
  return [
    ...rules.filter((line) => /CNI-[DS]N-|CNI-[0-9a-f]{24}|10\.88\.0\.|10\.90\.|veth/.test(line)),
    ...networks.flatMap((net) =>
      node.list(`/var/lib/cni/networks/${net}`).filter((name) => /^\d+\./.test(name))
    ),
    ...node.list("/var/lib/cni/results"),
    ...node.list("/run/netns"),
  ];
}

Deno.test("podman: the default network: containers reach each other, and leave nothing", async () => {
  await withPodman(async (node, podman) => {
    const names = await podman.must("network", "ls", "--format", "{{.Name}}");
    assert.deepEqual(names.trim().split("\n").sort(), ["cbr0", "podman"]);
    const a = await podman.run("a", "--mac-address", "02:00:00:00:00:0a");
    const b = await podman.run("b");
    assert.deepEqual([a.ips, b.ips], [{ podman: "10.88.0.2" }, { podman: "10.88.0.3" }]);
    for (const ip of ["10.88.0.3", "10.88.0.1"]) {
      await node.must(["nsenter", `--net=${a.netns}`, "ping", "-c1", "-W5", ip]);
    }
    const link = await node.must(["nsenter", `--net=${a.netns}`, "ip", "-br", "link"]);
    assert.match(link, /^eth0\S* +UP +02:00:00:00:00:0a/m);
    assert.notDeepEqual(await traces(node), [], "there is something to look for");
    await podman.remove("a", "b");
    assert.deepEqual(await traces(node), []);
  });
});

Deno.test("podman: a published port leads to the container, and goes with it", async () => {
  await withPodman(async (node, podman) => {
    const { netns } = await podman.run("web", "-p", "8080:80");
    const script = new URL("whoami.ts", import.meta.url).pathname;
    const flags = ["--quiet", "--no-config", "--no-lock", "--no-check", "--allow-net"];
    const server = await node.start("web", [
      "nsenter",
      `--net=${netns}`,
      ...[Deno.execPath(), "run", ...flags, script],
    ]);
    await until(
      "the server listens",
      () => Deno.readTextFileSync(server.log).includes("listening"),
    );
    assert.match(
      await node.must(["curl", "-sf", "-m5", "http://192.168.200.11:8080/"]),
      /^you are/,
    );
    await server.stop();
    await podman.remove("web");
    assert.deepEqual(await traces(node), []);
  });
});

Deno.test("podman: a network of one's own, a wanted address, two networks at once", async () => {
  await withPodman(async (node, podman) => {
    await podman.must("network", "create", "--subnet=10.90.0.0/24", "--opt=isolate=1", "own");
    const one = await podman.run("one", "--network=own", "--ip=10.90.0.77");
    assert.deepEqual(one.ips, { own: "10.90.0.77" });
    const two = await podman.run("two", "--network=podman,own");
    assert.deepEqual(Object.keys(two.ips).sort(), ["own", "podman"]);
    await node.must(["nsenter", `--net=${two.netns}`, "ping", "-c1", "-W5", "10.90.0.77"]);
    await podman.remove("one", "two");
    assert.deepEqual(await traces(node), []);
    await podman.must("network", "rm", "own");
  });
});
