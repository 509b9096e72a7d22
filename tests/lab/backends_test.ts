/** The ways packets go: host-gw, vxlan with DirectRouting, alloc; and several overlays on one host. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { Capture } from "./capture.ts";
import { device, devices, fdb, neighbours, type Route, routes } from "./kernel_view.ts";
import { explain, Lab, type LabOptions } from "./lab.ts";
import { HEALTH_PORT, type Node, type Pod } from "./node.ts";
import { subnetEnv } from "./rows_setup.ts";

/** A lab whose daemons are ready, and what went wrong with their logs. */
async function withLab(
  options: LabOptions,
  test: (lab: Lab) => Promise<void>,
): Promise<void> {
  await using lab = await Lab.create(options);
  try {
    await test(lab);
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
}

async function start({ nodes, flags }: Lab): Promise<void> {
  for (const node of nodes) await node.startDaemon({ flags });
  for (const node of nodes) await node.ready();
}

function network(backend: Record<string, unknown>): Record<string, unknown> {
  return { Network: "10.244.0.0/16", Backend: backend };
}

/** `10.244.7.0/24` of a node. */
function subnetOf(node: Node): string {
  return subnetEnv(node)["FLANNEL_SUBNET"]!.replace("1/24", "0/24");
}

/** Waits until a node has a route to another one's pods. */
function routeTo(from: Node, to: Node): Promise<Route> {
  return until(
    `${from.name} has a route to ${to.name}`,
    async () => (await routes(from)).find(({ dst }) => dst === subnetOf(to)),
  );
}

async function ping(node: Node, pod: Pod, size?: number): Promise<void> {
  const whole = size === undefined ? [] : ["-M", "do", "-s", String(size - 28)];
  await until(
    `a pod of ${node.name} reaches ${pod.ip}`,
    async () => (await node.execInPod("pod", ["ping", "-c1", "-W1", ...whole, pod.ip])).code === 0,
  );
}

Deno.test("host-gw: pods reach each other by plain routes, with the MTU of the wire", async () => {
  await withLab({ nodes: ["one", "two"], network: network({ Type: "host-gw" }) }, async (lab) => {
    await start(lab);
    const [one, two] = lab.nodes as [Node, Node];
    const route = await routeTo(one, two);
    await routeTo(two, one);
    assert.deepEqual([route.gateway, route.dev, route.protocol], [two.address, "eth0", "146"]);
    assert.equal(subnetEnv(one)["FLANNEL_MTU"], "1500");
    assert.equal(await device(one, "flannel.1"), undefined);
    const pods = [await one.addPod("pod"), await two.addPod("pod")];
    await ping(one, pods[1]!, 1500);
    await ping(two, pods[0]!, 1500);
    assert.match(
      await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/"),
      /"PublicIP":"192\.168\.200\.11","PublicIPv6":null,"BackendType":"host-gw"/,
    );

    await one.ip(`route del ${subnetOf(two)}`);
    await routeTo(one, two);
    await one.ip(`route replace ${subnetOf(two)} via 192.168.200.1 proto 146`);
    await until(
      "it leads to the peer again",
      async () => (await routeTo(one, two)).gateway === two.address,
    );

    // What another made in its place is not ours to take away: it is named.
    await one.daemon!.stop("SIGTERM");
    await one.ip(
      `route del ${subnetOf(two)}`,
      `route add ${subnetOf(two)} via 192.168.200.1 proto static`,
    );
    await one.startDaemon({ flags: lab.flags });
    const url = `http://127.0.0.1:${HEALTH_PORT}/readyz`;
    await until(
      "the peer is named",
      async () =>
        /is not reached: its place is taken by .* via 192\.168\.200\.1/.test(
          (await one.exec(["curl", "-s", url])).stdout,
        ),
    );
    assert.equal((await routeTo(one, two)).gateway, "192.168.200.1");
  });
});

Deno.test("host-gw: a public address that is not the interface's is refused, with what to do", async () => {
  const options = { nodes: ["one"], network: network({ Type: "host-gw" }), outside: false };
  await withLab(options, async (lab) => {
    const [one] = lab.nodes as [Node];
    await one.startDaemon({ flags: [...lab.flags, "--public-ip=198.51.100.7"] });
    const words = /you're on a NAT, which is not supported by host-gw backend/;
    await until("the daemon says why", () => words.test(one.daemon!.tail(50)));
    assert.match(one.daemon!.tail(50), /Remove --public-ip, .* or use backend vxlan/);
    assert.equal(one.read("/run/flannel/subnet.env"), undefined);
  });
});

Deno.test("vxlan DirectRouting: plain on one link, encapsulated across a router", async () => {
  const options: LabOptions = {
    nodes: ["one", "two", { name: "three", far: true }],
    network: network({ Type: "vxlan", DirectRouting: true }),
  };
  await withLab(options, async (lab) => {
    await start(lab);
    const [one, two, three] = lab.nodes as [Node, Node, Node];
    const direct = await routeTo(one, two);
    const tunnelled = await routeTo(one, three);
    await routeTo(two, one);
    await routeTo(three, one);
    assert.deepEqual([direct.gateway, direct.dev], [two.address, "eth0"]);
    assert.deepEqual([tunnelled.dev, tunnelled.flags], ["flannel.1", ["onlink"]]);
    const base = (node: Node): string => subnetOf(node).split("/")[0]!;
    const known = (await neighbours(one, "flannel.1")).filter(({ state }) =>
      state.includes("PERMANENT")
    );
    assert.deepEqual(known.map(({ dst }) => dst), [base(three)]);
    assert.deepEqual((await fdb(one, "flannel.1")).map(({ dst }) => dst), [three.address]);

    const pods = [];
    for (const node of lab.nodes) pods.push(await node.addPod("pod"));
    const [here, near, far] = pods as [Pod, Pod, Pod];
    await using inner = await Capture.start(one, "eth0", "icmp", "and", "host", near.ip);
    await using outer = await Capture.start(one, "eth0", "udp", "port", "8472");
    await ping(one, near, 1450);
    await inner.sees(/> .*ICMP echo reply/);
    assert.deepEqual(outer.lines, [], "nothing to the near node is encapsulated");
    await ping(one, far, 1450);
    await outer.sees(new RegExp(`VXLAN.*${here.ip} > ${far.ip}`));
    await ping(three, here);
    await ping(two, far);

    // A node that moves behind the router, or back, is reached the other way.
    await two.ip(`address flush dev eth0`, "address add 192.168.200.12/32 dev eth0");
    await two.ip(
      "route add 192.168.200.0/24 dev eth0 scope link",
      "route add default via 192.168.200.1",
    );
    await until(
      "a node without neighbours of its own uses the tunnel",
      async () => (await routeTo(two, one)).dev === "flannel.1",
    );
  });
});

Deno.test("alloc: a node gets a subnet and its file, and nothing else", async () => {
  await withLab({ nodes: ["one", "two"], network: network({ Type: "alloc" }) }, async (lab) => {
    await start(lab);
    for (const node of lab.nodes) {
      const { FLANNEL_SUBNET, FLANNEL_MTU } = subnetEnv(node);
      assert.match(FLANNEL_SUBNET!, /^10\.244\.\d+\.1\/24$/);
      assert.equal(FLANNEL_MTU, "1500");
      const names = (await devices(node)).map(({ ifname }) => ifname).toSorted();
      assert.deepEqual(names, ["eth0", "lo"]);
      assert.deepEqual((await routes(node)).filter(({ protocol }) => protocol === "146"), []);
    }
    const values = await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/");
    assert.match(values, /\{"PublicIP":"192\.168\.200\.11","PublicIPv6":null\}/);
  });
});

Deno.test("another backend needs no hand: a restart moves the routes, and pods reach each other", async () => {
  await withLab({ nodes: ["one", "two"] }, async (lab) => {
    await start(lab);
    const [one, two] = lab.nodes as [Node, Node];
    const pods = [await one.addPod("pod"), await two.addPod("pod")];
    await ping(one, pods[1]!);
    for (const type of ["udp", "host-gw", "vxlan", "host-gw", "udp", "vxlan"]) {
      const config = JSON.stringify(network({ Type: type }));
      await lab.etcd.must("put", "/coreos.com/network/config", config);
      for (const node of lab.nodes) await node.daemon!.stop("SIGTERM");
      await start(lab);
      const [dst, dev] = type === "udp"
        ? ["10.244.0.0/16", "flannel0"]
        : [subnetOf(two), type === "vxlan" ? "flannel.1" : "eth0"];
      await until(`the routes are those of ${type}`, async () => {
        const ours = (await routes(one)).filter(({ protocol }) => protocol === "146");
        return ours.length === 1 && ours[0]?.dst === dst && ours[0].dev === dev;
      });
      await ping(one, pods[1]!);
      await ping(two, pods[0]!);
    }
  });
});

Deno.test("vxlan: another MTU, VNI or port needs no hand: a restart is enough", async () => {
  await withLab({ nodes: ["one", "two"] }, async (lab) => {
    await start(lab);
    const [one, two] = lab.nodes as [Node, Node];
    const before = subnetEnv(one);
    const backend = { Type: "vxlan", MTU: 1400, VNI: 7, Port: 4789, GBP: true, Learning: true };
    const config = JSON.stringify(network(backend));
    await lab.etcd.must("put", "/coreos.com/network/config", config);
    for (const node of lab.nodes) {
      await node.daemon!.stop("SIGTERM");
      await node.startDaemon({ flags: lab.flags });
    }
    await until("the pods' MTU follows", () => subnetEnv(one)["FLANNEL_MTU"] === "1350");
    assert.equal(subnetEnv(one)["FLANNEL_SUBNET"], before["FLANNEL_SUBNET"]);
    const { mtu, linkinfo } = (await device(one, "flannel.7"))!;
    const { id, port, learning, gbp } = linkinfo!.info_data!;
    assert.deepEqual([mtu, id, port, learning, gbp], [1350, 7, 4789, true, true]);
    assert.equal((await routeTo(one, two)).dev, "flannel.7");
    await lab.etcd.must(
      "put",
      "/coreos.com/network/config",
      JSON.stringify(network({ Type: "vxlan", VNI: 7, Port: 4789 })),
    );
    await one.daemon!.stop("SIGTERM");
    await one.startDaemon({ flags: lab.flags });
    await until("the device is made again without them", async () => {
      const now = await device(one, "flannel.7");
      return now?.mtu === 1450 && now.linkinfo!.info_data!["gbp"] !== true;
    });
  });
});

Deno.test("instances: two daemons on one host serve two overlays; without a name the second is refused", async () => {
  await withLab({ nodes: ["one", "two"] }, async (lab) => {
    await start(lab);
    const blue = { Network: "10.100.0.0/16", Backend: { Type: "vxlan", VNI: 2 } };
    await lab.etcd.must("put", "/blue/network/config", JSON.stringify(blue));
    const [one, two] = lab.nodes as [Node, Node];
    const flags = [
      `--etcd-endpoints=${lab.etcd.endpoint}`,
      "--etcd-prefix=/blue/network",
      "--iface=eth0",
      "--ip-masq",
      "--subnet-file=/run/flannel/blue.env",
      "--healthz-port=8091",
    ];
    const second = await one.start("second", ["twill", "daemon", ...flags]);
    assert.equal(await second.ended(), 1);
    assert.match(second.tail(), /second daemon.*give each its own --instance NAME/s);

    const before = await overlayOf(one, "flannel.1", "twill");
    for (const node of lab.nodes) {
      await node.start("blue", ["twill", "daemon", "--instance=blue", ...flags]);
    }
    for (const node of lab.nodes) {
      await until(
        `${node.name} is ready in the second overlay`,
        async () => (await node.exec(["curl", "-sf", "http://127.0.0.1:8091/readyz"])).code === 0,
      );
    }
    const base = (node: Node): string =>
      /FLANNEL_SUBNET=(\S+)1\/24/.exec(node.read("/run/flannel/blue.env")!)![1] + "0";
    for (const [from, to] of [[one, two], [two, one]] as const) {
      await until(
        `${from.name} reaches ${base(to)}`,
        async () => (await from.exec(["ping", "-c1", "-W1", base(to)])).code === 0,
      );
    }
    assert.deepEqual(await overlayOf(one, "flannel.1", "twill"), before);
    const blueOnes = await overlayOf(one, "flannel.2", "twill-blue");
    // Each repairs its own, and leaves the other's alone.
    await one.must(["nft", "delete table inet twill-blue"]);
    await one.ip("link delete flannel.2");
    await until("the second overlay is whole again", async () => {
      const now = await overlayOf(one, "flannel.2", "twill-blue").catch(() => undefined);
      return now !== undefined && now.join("\n") === blueOnes.join("\n");
    });
    assert.deepEqual(await overlayOf(one, "flannel.1", "twill"), before);
  });
});

/** Routes over a device and the rules of a table, as text. */
async function overlayOf(node: Node, dev: string, table: string): Promise<string[]> {
  const shown = await node.must(["ip", "route", "show", "dev", dev]);
  return [
    ...shown.trimEnd().split("\n").toSorted(),
    await node.must(["nft", "list", "table", "inet", table]),
  ];
}
