/** IPv6: beside IPv4 with leases in etcd, and alone with a lease file. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { device } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT, type Node } from "./node.ts";
import { subnetEnv } from "./rows_setup.ts";

/** A pod's address in a family, as the plugin told it. */
function addressOf(pod: Awaited<ReturnType<Node["addPod"]>>, family: 4 | 6): string {
  const all = (pod.result.ips ?? []).map(({ address }) => address.split("/")[0]!);
  return all.find((address) => address.includes(":") === (family === 6)) ?? "none";
}

async function ping(node: Node, target: string, size: number): Promise<void> {
  // IPv6's header is 40 bytes, IPv4's 20; ICMP's 8 in both.
  const payload = size - (target.includes(":") ? 48 : 28);
  const command = ["ping", "-c1", "-W1", "-M", "do", "-s", String(payload), target] as const;
  await until(
    `a pod of ${node.name} reaches ${target} with ${size} bytes`,
    async () => (await node.execInPod("pod", command)).code === 0,
  );
}

/** IPv6 entries of a node's VTEP: routes, neighbours, forwarding. */
async function overlay6(node: Node): Promise<string> {
  const dev = "flannel-v6.1";
  return await node.must([
    "sh",
    "-c",
    `
    ip -6 route show dev ${dev} proto 146
    ip -6 neighbour show dev ${dev} nud permanent
    bridge fdb show dev ${dev} | grep permanent`,
  ]);
}

Deno.test("dual stack: pods reach each other in both families, and each family heals alone", async () => {
  const network = {
    Network: "10.244.0.0/16",
    EnableIPv6: true,
    IPv6Network: "fd00:10:244::/56",
    Backend: { Type: "vxlan" },
  };
  await using lab = await Lab.create({ nodes: ["one", "two"], network, ipv6: true });
  try {
    await lab.startDaemons();
    const [one, two] = lab.nodes as [Node, Node];
    for (const node of lab.nodes) {
      const env = subnetEnv(node);
      assert.equal(env["FLANNEL_IPV6_NETWORK"], "fd00:10:244::/56");
      assert.match(env["FLANNEL_IPV6_SUBNET"]!, /^fd00:10:244:.*::1\/64$/);
      // The outer header of IPv6 is the larger one; all packets have to fit.
      assert.equal(env["FLANNEL_MTU"], "1430");
    }
    const leases = await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/");
    assert.match(leases, /subnets\/10\.244\.\d+\.0-24&fd00:10:244:[\da-f:]+-64\n/);
    assert.match(leases, /"PublicIPv6":"fd00:200::11".*"BackendV6Data":\{"VNI":1,"VtepMAC":"/);

    const pods = [await one.addPod("pod"), await two.addPod("pod")];
    for (const family of [4, 6] as const) {
      await ping(one, addressOf(pods[1]!, family), 1430);
      await ping(two, addressOf(pods[0]!, family), 1430);
    }

    const v4 = await one.must(["ip", "route", "show", "dev", "flannel.1"]);
    const v6 = await overlay6(one);
    assert.match(v6, /via .* onlink/);
    const harms = [
      ["ip", "link", "delete", "flannel-v6.1"],
      ["ip", "-6", "route", "flush", "dev", "flannel-v6.1", "proto", "146"],
      ["ip", "-6", "neighbour", "flush", "dev", "flannel-v6.1", "nud", "permanent"],
      ["ip", "link", "set", "flannel-v6.1", "down"],
    ] as const;
    for (const harm of harms) {
      await one.must(harm);
      await until(`IPv6 is whole after ${harm.join(" ")}`, async () => await overlay6(one) === v6);
      assert.equal(await one.must(["ip", "route", "show", "dev", "flannel.1"]), v4);
      await ping(two, addressOf(pods[0]!, 6), 1430);
    }

    // A peer that has no IPv6 data is reached over IPv4 all the same.
    const half = '{"PublicIP":"192.168.200.99","PublicIPv6":"fd00:200::99","BackendType":"vxlan",' +
      '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"},"BackendV6Data":null}';
    const key = "/coreos.com/network/subnets/10.244.99.0-24&fd00:10:244:99::-64";
    await lab.etcd.must("put", key, half);
    await until(
      "the peer's IPv4 subnet is reached",
      async () =>
        (await one.must(["ip", "route"])).includes("10.244.99.0/24 via 10.244.99.0 dev flannel.1"),
    );
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});

Deno.test("IPv6 alone: pods reach each other from a lease file, in packets of the full size", async () => {
  await using lab = await Lab.create({ nodes: ["one", "two"], network: false, ipv6: true });
  try {
    const config = {
      EnableIPv4: false,
      EnableIPv6: true,
      IPv6Network: "fd00:10:244::/56",
      Backend: { Type: "vxlan" },
    };
    const nodes = lab.nodes.map(({ name, address6 }, i) => ({
      name,
      publicIPv6: address6,
      ipv6Subnet: `fd00:10:244:${i + 1}::/64`,
    }));
    const flags = [
      "--lease-file=/etc/leases.json",
      "--iface=eth0",
      "--ip-masq",
      `--healthz-port=${HEALTH_PORT}`,
    ];
    for (const node of lab.nodes) {
      node.write("/etc/leases.json", JSON.stringify({ config, nodes }));
      await node.startDaemon({ flags: [...flags, `--node-name=${node.name}`] });
    }
    for (const node of lab.nodes) await node.ready();
    const [one, two] = lab.nodes as [Node, Node];
    const { FLANNEL_MTU, FLANNEL_IPV6_SUBNET, FLANNEL_SUBNET } = subnetEnv(one);
    assert.deepEqual(
      [FLANNEL_MTU, FLANNEL_IPV6_SUBNET, FLANNEL_SUBNET],
      ["1430", "fd00:10:244:1::1/64", undefined],
    );
    assert.equal(await device(one, "flannel.1"), undefined);
    const pods = [await one.addPod("pod"), await two.addPod("pod")];
    await ping(one, addressOf(pods[1]!, 6), 1430);
    await ping(two, addressOf(pods[0]!, 6), 1430);
    const before = await overlay6(one);
    await one.must(["ip", "link", "delete", "flannel-v6.1"]);
    await until("the device is back", async () => await overlay6(one) === before);
    await ping(one, addressOf(pods[1]!, 6), 1430);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});
