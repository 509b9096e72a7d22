/** A node that changes under its daemon: other address, other interface, other subnet. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { keyOf, readLeases, valueOf } from "./faults/oracle.ts";
import { addresses, device, fdb, type Route } from "./kernel_view.ts";
import { connect, explain, Lab } from "./lab.ts";
import { HEALTH_PORT, type Node } from "./node.ts";
import { subnetEnv } from "./rows_setup.ts";
import { Monitor } from "./monitor.ts";

/** Two nodes, each with a daemon; the first one's flags may differ. */
async function withTwo(
  flags: (lab: Lab) => readonly string[],
  test: (lab: Lab, one: Node, two: Node) => Promise<void>,
): Promise<void> {
  await using lab = await Lab.create({ nodes: ["one", "two"] });
  try {
    const [one, two] = lab.nodes as [Node, Node];
    await one.startDaemon({ flags: [...flags(lab)] });
    await two.startDaemon({ flags: lab.flags });
    for (const node of lab.nodes) await node.ready();
    for (const node of lab.nodes) await lab.knowsPeers(node);
    await test(lab, one, two);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
}

/** The lab's flags with another choice of the interface. */
function choosing(...choice: readonly string[]): (lab: Lab) => readonly string[] {
  return ({ flags }) => [...flags.filter((flag) => !flag.startsWith("--iface")), ...choice];
}

/** Waits until a node's VTEP answers to another node, through the tunnel. */
async function reaches(from: Node, to: Node): Promise<void> {
  const vtep = subnetEnv(to)["FLANNEL_SUBNET"]!.replace("1/24", "0");
  await until(
    `${from.name} reaches ${vtep}`,
    async () => (await from.exec(["ping", "-c1", "-W1", vtep])).code === 0,
  );
}

Deno.test("change: a node that gets another address tells its peers and keeps its subnet", async () => {
  await withTwo(({ flags }) => flags, async (lab, one, two) => {
    const before = subnetEnv(one);
    const mac = (await device(one, "flannel.1"))!.address;
    await one.ip(
      "address flush dev eth0",
      "address add 192.168.200.61/24 dev eth0",
      "route add default via 192.168.200.1",
    );
    await until(
      "the peer sends to the new address",
      async () =>
        (await fdb(two, "flannel.1")).some((one) =>
          one.mac === mac && one.dst === "192.168.200.61"
        ),
    );
    await reaches(two, one);
    await reaches(one, two);
    assert.deepEqual(subnetEnv(one), before);
    const leases = [...(await readLeases(lab.etcd)).values()];
    assert.deepEqual(
      leases.map(({ publicIp }) => publicIp).toSorted(),
      [two.address, "192.168.200.61"],
    );
    const info = (await device(one, "flannel.1"))!.linkinfo!.info_data!;
    assert.equal(info.local, "192.168.200.61");
  });
});

for (
  const [words, ...choice] of [
    ["its address", "--iface=192.168.200.11"],
    ["a pattern", "--iface-regex=^192\\.168\\.200\\."],
    ["where it leads", "--iface-can-reach=192.168.200.12"],
    ["the default route"],
  ] as const
) {
  Deno.test(`change: an interface chosen by ${words} may be renamed: nothing else changes`, async () => {
    await withTwo(choosing(...choice), async (_, one, two) => {
      const before = { env: subnetEnv(one), index: await indexOf(one, "flannel.1") };
      await one.ip(
        "link set eth0 down",
        "link set eth0 name uplink",
        "link set uplink up",
        "route add default via 192.168.200.1",
      );
      await reaches(one, two);
      await using monitor = await Monitor.start(two);
      await reaches(two, one);
      assert.deepEqual({ env: subnetEnv(one), index: await indexOf(one, "flannel.1") }, before);
      assert.deepEqual((await monitor.changes()).filter((line) => line.includes("flannel.1")), []);
      await until("the node is ready again", async () => (await one.health("/readyz")).code === 0);
    });
  });
}

async function indexOf(node: Node, name: string): Promise<string | undefined> {
  return node.read(`/sys/class/net/${name}/ifindex`) ??
    (await node.exec(["cat", `/sys/class/net/${name}/ifindex`])).stdout;
}

Deno.test("change: an address that moves to another interface takes the tunnel with it", async () => {
  await withTwo(choosing("--iface=192.168.200.11"), async (lab, one, two) => {
    const before = subnetEnv(one);
    await connect(lab.wire, one, { wire: "wire", dev: "eth1", addresses: [], mtu: lab.mtu });
    await one.ip(
      "address del 192.168.200.11/24 dev eth0",
      "address add 192.168.200.11/24 dev eth1",
      "link set eth0 down",
    );
    await until(
      "the tunnel stands on eth1",
      async () => (await device(one, "flannel.1"))?.linkinfo?.info_data?.["link"] === "eth1",
    );
    await reaches(one, two);
    await reaches(two, one);
    assert.deepEqual(subnetEnv(one), before);
  });
});

Deno.test("change: a default route by another interface takes the tunnel with it", async () => {
  await withTwo(choosing(), async (lab, one, two) => {
    const before = subnetEnv(one);
    const leg = { wire: "wire", dev: "eth1", addresses: ["192.168.200.71/24"], mtu: lab.mtu };
    await connect(lab.wire, one, leg);
    // Answers to the old address would come in by an interface that does not own it.
    await one.ip("route replace default via 192.168.200.1 dev eth1", "address flush dev eth0");
    await until(
      "the tunnel stands on eth1",
      async () => (await device(one, "flannel.1"))?.linkinfo?.info_data?.["link"] === "eth1",
    );
    await reaches(one, two);
    await reaches(two, one);
    assert.deepEqual(subnetEnv(one), before);
  });
});

Deno.test("change: an interface that is away holds nothing up, and is used when it is back", async () => {
  await withTwo(({ flags }) => flags, async (lab, one, two) => {
    const before = subnetEnv(one);
    await one.ip("link delete eth0");
    await until("the node says so", async () => {
      const url = `http://127.0.0.1:${HEALTH_PORT}/readyz`;
      return /cannot find an interface/i.test((await one.exec(["curl", "-s", url])).stdout);
    });
    assert.equal(one.daemon!.code, undefined);
    const leg = { wire: "wire", addresses: [`${one.address}/24`], mtu: lab.mtu };
    await connect(lab.wire, one, leg);
    await reaches(one, two);
    await reaches(two, one);
    assert.deepEqual(subnetEnv(one), before);
    await one.ready();
  });
});

/** The blackhole routes of a node. */
async function blackholes(node: Node): Promise<string[]> {
  const routes = await node.must(["ip", "-j", "route", "show", "type", "blackhole"]);
  return (JSON.parse(routes || "[]") as Route[]).map(({ dst }) => dst).filter(Boolean);
}

Deno.test("change: the blackhole route follows the subnet, and goes with its flag", async () => {
  const blackhole = ({ flags }: Lab): readonly string[] => [...flags, "--ip-blackhole-route"];
  await withTwo(blackhole, async (lab, one) => {
    const subnet = subnetEnv(one)["FLANNEL_SUBNET"]!.replace("1/24", "0/24");
    assert.deepEqual(await blackholes(one), [subnet]);
    await one.ip(`route del blackhole ${subnet} metric 4294967295`);
    await until("it is back", async () => (await blackholes(one)).length === 1);

    // Another node takes the subnet: this one has to find another.
    const other = { subnet, publicIp: "192.168.200.99", mac: "02:00:00:00:00:99" };
    await lab.etcd.must("put", keyOf(subnet), valueOf(other));
    const moved = await until("the node has another subnet", () => {
      const now = subnetEnv(one)["FLANNEL_SUBNET"]?.replace("1/24", "0/24");
      return now !== subnet && now;
    });
    assert.deepEqual(await blackholes(one), [moved]);
    assert.deepEqual(addresses(await device(one, "flannel.1")), [moved.replace("/24", "/32")]);

    await one.daemon!.stop("SIGTERM");
    assert.deepEqual(await blackholes(one), [moved], "it stays while the daemon is away");
    await one.startDaemon({ flags: lab.flags });
    await until("it goes", async () => (await blackholes(one)).length === 0);
  });
});

Deno.test("change: a daemon whose store is away starts from the last good snapshot", async () => {
  await withTwo(({ flags }) => flags, async (lab, one, two) => {
    await until(
      "the snapshot is written",
      () => one.list("/var/lib/twill").includes("snapshot.json"),
    );
    // The newest one, with the peer in it.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await one.daemon!.stop("SIGTERM");
    await lab.etcd.stop();
    const before = subnetEnv(one);
    const mac = (await device(one, "flannel.1"))!.address;
    // As after a restart of the machine.
    await one.ip("link delete flannel.1");
    await one.startDaemon({ flags: lab.flags });
    await reaches(one, two);
    assert.equal((await device(one, "flannel.1"))!.address, mac);
    const url = `http://127.0.0.1:${HEALTH_PORT}/readyz`;
    const { stdout } = await one.exec(["curl", "-s", "-w", "%{http_code}", url]);
    assert.match(stdout, /store etcd does not answer; the data plane follows the snapshot of/);
    assert.match(stdout, /503$/);
    await lab.etcd.start();
    await one.ready();
    assert.deepEqual(subnetEnv(one), before);
    await reaches(one, two);
  });
});
