/** `twill inspect` on nodes with real daemons and pods: healthy, broken, and without a daemon. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT, type Node } from "./node.ts";

const FILE = "/etc/twill/leases.yaml";

function leaseFile({ nodes }: Lab): string {
  const entries = nodes.map(({ name, address }, i) =>
    `  - { name: ${name}, publicIP: ${address}, subnet: 10.244.${i + 1}.0/24 }\n`
  );
  return `config:\n  Network: 10.244.0.0/16\n  Backend: { Type: vxlan }\nnodes:\n${
    entries.join("")
  }`;
}

interface Document {
  readonly code: number;
  // deno-lint-ignore no-explicit-any -- each test looks at the few members it names
  readonly items: any[];
  /** `SUBJECT ID`. */
  readonly found: readonly string[];
  readonly commands: readonly string[];
  readonly sources: Readonly<Record<string, readonly string[]>>;
}

async function inspect(node: Node, ...args: readonly string[]): Promise<Document> {
  const { code, stdout } = await node.exec(["twill", "inspect", ...args, "-o", "json"]);
  const { items, findings, sources } = JSON.parse(stdout);
  const found = findings.map(({ subject, id }: { subject: string; id: string }) =>
    `${subject} ${id}`
  );
  return {
    code,
    items,
    found,
    commands: findings.map((one: { command: string }) => one.command),
    sources,
  };
}

Deno.test("inspect: two nodes, whole and broken, with and without their daemon", async () => {
  await using lab = await Lab.create({ nodes: ["one", "two"], network: false, outside: false });
  const [node, other] = lab.nodes;
  assert.ok(node && other);
  try {
    for (const each of lab.nodes) {
      await each.must(["mkdir", "/etc/twill"]);
      each.write(FILE, leaseFile(lab));
    }
    await lab.startDaemons([
      `--lease-file=${FILE}`,
      "--iface=eth0",
      "--ip-masq",
      `--healthz-port=${HEALTH_PORT}`,
    ]);
    const pod = await node.addPod("web");
    await other.addPod("api");

    // All is well, and everything has its name.
    for (const command of ["status", "subnet", "routes", "peers", "pods", "leases", "rules"]) {
      const { code, found } = await inspect(node, command);
      assert.deepEqual([code, found], [0, []], command);
    }
    const routes = await inspect(node, "routes");
    assert.deepEqual(
      routes.items.map(({ destination, node, owner }) => [destination, node, owner]),
      [["10.244.1.0/24", "one", "kernel"], ["10.244.2.0/24", "two", "twill"]],
    );
    const [peer] = (await inspect(node, "peers")).items;
    assert.deepEqual([peer.node, peer.publicIP], ["two", other.address]);
    assert.deepEqual(peer.wanted.map(({ state }: { state: string }) => state), ["ok", "ok", "ok"]);
    const { items: [shown] } = await inspect(node, "pods");
    assert.deepEqual([shown.ips, shown.bridge, shown.netns], [[pod.ip], "cni0", "/run/netns/web"]);
    assert.equal(typeof shown.veth, "string");
    assert.ok(shown.counters.sentPackets > 0);
    const leases = await inspect(node, "leases");
    assert.deepEqual(leases.sources.items, ["status socket"]);
    assert.deepEqual(leases.items.map(({ node, status }) => [node, status]), [
      ["one", "this node"],
      ["two", "ok"],
    ]);

    // Only root may ask the daemon.
    const nobody = ["setpriv", "--reuid=65534", "--clear-groups", "twill", "inspect", "leases"];
    assert.equal(
      (await node.exec([
        "curl",
        "-sfm2",
        "--unix-socket",
        "/run/twill/status.sock",
        "-XPOST",
        "http://twill/status",
      ])).code,
      22,
      "it can be read only",
    );
    assert.equal((await node.exec(nobody as [string, ...string[]])).code, 3);

    // A daemon that is gone repairs nothing; what is missing is named with what makes it whole.
    await until(
      "the snapshot is there",
      () => node.list("/var/lib/twill").includes("snapshot.json"),
    );
    await node.daemon!.stop("SIGTERM");
    assert.ok(!node.list("/run/twill").includes("status.sock"));
    await node.must([
      "sh",
      "-ec",
      `ip route del 10.244.2.0/24; ip neigh flush nud permanent dev flannel.1
      bridge fdb del $(bridge fdb show dev flannel.1 | cut -d' ' -f1) dev flannel.1`,
    ]);
    const broken = await inspect(node, "peers");
    assert.deepEqual(broken.found, ["10.244.2.0/24 not-programmed"]);
    assert.deepEqual((await inspect(node, "status")).found, [
      "daemon daemon-silent",
      "10.244.2.0/24 not-programmed",
    ]);
    assert.notEqual((await node.execInPod("web", ["ping", "-c1", "-W1", "10.244.2.2"])).code, 0);
    for (const command of broken.commands) await node.must(["sh", "-ec", command]);
    await node.must(["ip", "netns", "exec", "web", "ping", "-c1", "-W5", "10.244.2.2"]);
    const whole = await inspect(node, "leases");
    assert.deepEqual([whole.found, whole.sources.items], [[], ["snapshot"]]);

    // A pod that died without its plugin leaves its address behind.
    await node.must(["ip", "netns", "del", "web"]);
    await until("the pair is gone", async () => {
      const { found } = await inspect(node, "pods");
      return found.some((one) => one.endsWith(" leaked-address"));
    });
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});
