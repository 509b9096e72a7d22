/** The real libcni, by its command line tool, on our program under the names of plugins. */

import assert from "node:assert/strict";
import type { Output } from "./command.ts";
import { addresses, device } from "./kernel_view.ts";
import { Lab } from "./lab.ts";
import type { Node } from "./node.ts";
import { type CniResult, type NetworkList, STOCK_LIST } from "./runtime.ts";

// What the daemon would write; these tests are about plugins alone.
const SUBNET_ENV = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

interface Row {
  readonly list: NetworkList;
  readonly ifname: string;
  /** The first address that is given. */
  readonly address: string;
  readonly mtu: number;
}

const ROWS: readonly Row[] = [
  {
    list: { ...STOCK_LIST, cniVersion: "1.0.0" },
    ifname: "eth0",
    address: "10.244.7.2/24",
    mtu: 1450,
  },
  {
    list: {
      cniVersion: "1.0.0",
      name: "plain",
      plugins: [{
        type: "bridge",
        bridge: "plain0",
        isDefaultGateway: true,
        ipam: { type: "host-local", ranges: [[{ subnet: "10.9.8.0/24" }]] },
      }],
    },
    ifname: "eth0",
    address: "10.9.8.2/24",
    mtu: 1500,
  },
  {
    list: { cniVersion: "1.0.0", name: "own", plugins: [{ type: "loopback" }] },
    ifname: "lo",
    address: "127.0.0.1/8",
    mtu: 65536,
  },
];

/** A node without a daemon, with a pod's namespace, and the list as its only configuration. */
async function prepare({ nodes }: Lab, list: NetworkList): Promise<Node> {
  const [node] = nodes;
  assert.ok(node);
  await node.must(["sh", "-ec", "rm /etc/cni/net.d/*; mkdir /run/flannel; ip netns add pod"]);
  node.write("/run/flannel/subnet.env", SUBNET_ENV);
  node.write(`/etc/cni/net.d/10-${list.name}.conflist`, JSON.stringify(list));
  return node;
}

function cnitool(node: Node, command: string, { list, ifname }: Row): Promise<Output> {
  const env = { CNI_PATH: "/opt/cni/bin", NETCONFPATH: "/etc/cni/net.d", CNI_IFNAME: ifname };
  return node.exec(["cnitool", command, list.name, "/var/run/netns/pod"], { env });
}

function assertFine({ code, stdout, stderr }: Output, what: string): void {
  assert.equal(code, 0, `${what}: ${stderr}${stdout}`);
}

/** Reservations of a list's addresses; never undefined. */
function reserved(node: Node, { list }: Row): string[] {
  return node.list(`/var/lib/cni/networks/${list.name}`).filter((name) => /^\d+\./.test(name));
}

for (const row of ROWS) {
  const { list, ifname, address, mtu } = row;
  const types = list.plugins.map(({ type }) => type).join(" and ");
  Deno.test(`cnitool: add, check and del of ${types} (${list.cniVersion})`, async () => {
    await using lab = await Lab.create({ nodes: ["solo"], network: false, outside: false });
    const node = await prepare(lab, list);

    const added = await cnitool(node, "add", row);
    assertFine(added, "add");
    const result = JSON.parse(added.stdout) as CniResult;
    assert.equal(result.cniVersion, "1.0.0");
    assert.equal(result.ips?.[0]?.address, address);
    const { stdout } = await node.exec(["ip", "-n", "pod", "-j", "-d", "address"]);
    const dev = JSON.parse(stdout).find((one: { ifname: string }) => one.ifname === ifname);
    assert.deepEqual([addresses(dev), dev.mtu], [[address], mtu]);
    const gateway = result.ips?.[0]?.gateway;
    if (gateway) {
      assertFine(await node.execInPod("pod", ["ping", "-c1", "-W5", gateway]), "ping the gateway");
      assert.deepEqual(reserved(node, row), [address.split("/")[0]]);
    }
    assertFine(await cnitool(node, "check", row), "check");

    await node.must(["ip", "-n", "pod", "link", "set", ifname, "down"]);
    await node.must(["ip", "-n", "pod", "address", "flush", "dev", ifname]);
    const broken = await cnitool(node, "check", row);
    assert.notEqual(broken.code, 0, "check finds fault with a device without address");

    assertFine(await cnitool(node, "del", row), "del");
    assertFine(await cnitool(node, "del", row), "del again");
    assert.deepEqual(reserved(node, row), []);
    if (ifname === "lo") return;
    const links = await node.must(["ip", "-n", "pod", "-br", "link"]);
    assert.doesNotMatch(links, /eth0/);
    const bridge = await device(node, list.name === "plain" ? "plain0" : "cni0");
    assert.ok(bridge, "the bridge stays");
    assert.equal(await node.must(["ip", "-br", "link", "show", "master", bridge.ifname]), "");
  });
}
