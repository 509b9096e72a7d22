/** The udp backend: a relay in the daemon, beside itself and beside flanneld. */

import assert from "node:assert/strict";
import { Capture } from "./capture.ts";
import { until } from "./command.ts";
import { Pinger } from "./faults/pinger.ts";
import { device, devices, type Route, routes } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import type { Node, Pod } from "./node.ts";
import { podNet, subnetEnv } from "./rows_setup.ts";

const NETWORK = { Network: "10.244.0.0/16", Backend: { Type: "udp" } };

/** A lab, and what went wrong with its logs. */
async function withLab(test: (lab: Lab, one: Node, two: Node) => Promise<void>): Promise<void> {
  await using lab = await Lab.create({ nodes: ["one", "two"], network: NETWORK });
  try {
    await test(lab, ...lab.nodes as [Node, Node]);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
}

/** What a node holds of the overlay. */
async function overlayOf(node: Node): Promise<unknown> {
  const tun = await device(node, "flannel0");
  return {
    mtu: tun?.mtu,
    up: tun?.flags.includes("UP"),
    addresses: tun?.addr_info.filter(({ family }) => family === "inet")
      .map(({ local, prefixlen }) => `${local}/${prefixlen}`),
    routes: (await routes(node)).filter(({ dev }) => dev === "flannel0")
      .map(({ dst, gateway }: Route) => ({ dst, gateway })),
  };
}

/** What a node must hold. */
function wanted(node: Node): unknown {
  return {
    mtu: 1472,
    up: true,
    addresses: [`${podNet(node)}.0/32`],
    routes: [{ dst: "10.244.0.0/16", gateway: undefined }],
  };
}

/** Waits until a node holds what it must; then all packets that follow arrive. */
async function whole(node: Node): Promise<void> {
  await until(
    `${node.name} is whole`,
    async () => JSON.stringify(await overlayOf(node)) === JSON.stringify(wanted(node)),
  );
}

function ping(node: Node, pod: Pod, ...options: readonly string[]): Promise<void> {
  return until(
    `a pod of ${node.name} reaches ${pod.ip}`,
    async () =>
      (await node.execInPod("pod", ["ping", "-c1", "-W1", ...options, pod.ip])).code === 0,
  ).then(() => {});
}

Deno.test("udp: pods reach each other through the daemons, and each fault heals", async () => {
  await withLab(async (lab, one, two) => {
    for (const node of lab.nodes) await node.startDaemon({ flags: lab.flags });
    for (const node of lab.nodes) await node.ready();
    for (const node of lab.nodes) {
      await whole(node);
      assert.equal(subnetEnv(node)["FLANNEL_MTU"], "1472");
    }
    assert.match(
      await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/"),
      /\{"PublicIP":"192\.168\.200\.11","PublicIPv6":null\}/,
    );
    const [here, there] = [await one.addPod("pod"), await two.addPod("pod")];
    const well = await until("status finds nothing wrong", async () => {
      const { code, stdout } = await one.exec(["twill", "inspect", "status"]);
      return code === 0 && stdout;
    });
    assert.match(well, /1 of 1 subnets of other nodes reached/);
    {
      await using wire = await Capture.start(one, "eth0", "udp", "port", "8285");
      await ping(one, there, "-M", "do", "-s", "1444");
      await ping(two, here);
      await wire.sees(/192\.168\.200\.11\.8285 > 192\.168\.200\.12\.8285: UDP, length 1472/);
    }

    // Each node and each end of the relay is a hop.
    await ping(one, there, "-t", "5");
    assert.notEqual(
      (await one.execInPod("pod", ["ping", "-c1", "-W1", "-t", "4", there.ip])).code,
      0,
    );
    const nobody = await one.execInPod("pod", ["curl", "-sSm", "20", "http://10.244.0.9/"]);
    assert.match(nobody.stderr, /(No route to host|Network is unreachable|Couldn't connect)/);
    assert.doesNotMatch(nobody.stderr, /timed out/);
    const { stdout: metrics } = await one.health("/metrics");
    for (const fate of ["sent", "received", "unreachable"]) {
      assert.match(metrics, new RegExp(`^twill_udp_packets_total\\{fate="${fate}"\\} [1-9]`, "m"));
    }

    await using pinger = await Pinger.start(one, ["ip", "netns", "exec", "pod"], there.ip);
    // What the relay has to do keeps the daemon from nothing else.
    const flood = ["ip", "netns", "exec", "pod", "ping", "-fq", "-s", "1000", there.ip] as const;
    const flooding = await one.start("flood", flood);
    for (
      const fault of [
        "link delete flannel0",
        "link set flannel0 down",
        "route flush dev flannel0",
        "address flush dev flannel0",
        "link set flannel0 mtu 1400",
        "route replace 10.244.0.0/16 via 192.168.200.1 proto 146",
      ]
    ) {
      await one.ip(fault);
      await whole(one);
      await pinger.lost();
    }
    await flooding.stop("SIGINT");

    await two.daemon!.stop("SIGKILL");
    assert.equal(await device(two, "flannel0"), undefined);
    const { stdout } = await two.exec(["twill", "inspect", "status"]);
    assert.match(stdout, /0 of 1 subnets of other nodes reached/);
    assert.match(stdout, /nothing reaches other nodes' pods: the backend is udp/);
    await two.startDaemon({ flags: lab.flags });
    await whole(two);
    await pinger.lost();

    // A node that moves tells its peers, and listens at the new address.
    await two.ip(
      "address del 192.168.200.12/24 dev eth0",
      "address add 192.168.200.77/24 dev eth0",
      "route replace default via 192.168.200.1",
    );
    await pinger.lost();
  });
});

Deno.test("udp: one overlay with flanneld, and each takes over from the other", async () => {
  await withLab(async (lab, one, two) => {
    await one.startDaemon({ flags: lab.flags });
    await two.startDaemon({ program: ["flanneld"], flags: lab.flags });
    for (const node of lab.nodes) await node.ready();
    for (const node of lab.nodes) await whole(node);
    const [here, there] = [await one.addPod("pod"), await two.addPod("pod")];
    await ping(one, there, "-M", "do", "-s", "1444");
    await ping(two, here, "-M", "do", "-s", "1444");
    const values = await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/");
    const forms = values.match(/\{.*\}/g)!.map((value) => value.replace(/200\.\d+/, "ADDRESS"));
    assert.equal(forms[0], forms[1]);

    await using pinger = await Pinger.start(one, ["ip", "netns", "exec", "pod"], there.ip);
    const file = two.read("/run/flannel/subnet.env");
    await two.daemon!.stop("SIGTERM");
    await two.startDaemon({ flags: lab.flags });
    await whole(two);
    await pinger.lost();
    assert.equal(two.read("/run/flannel/subnet.env"), file);
    await one.daemon!.stop("SIGTERM");
    await one.startDaemon({ program: ["flanneld"], flags: lab.flags });
    await whole(one);
    await pinger.lost();
    assert.deepEqual(
      (await devices(one)).map(({ ifname }) => ifname).filter((name) => name.startsWith("flannel")),
      ["flannel0"],
    );
  });
});
