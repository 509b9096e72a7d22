/** Beside flanneld itself: one overlay of both programs, and each taking over from the other. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { Pinger } from "./faults/pinger.ts";
import { device, fdb, neighbours, type Route, routes } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import { Monitor } from "./monitor.ts";
import type { Node, Pod } from "./node.ts";
import { podNet } from "./rows_setup.ts";
import type { Service } from "./service.ts";
import type { Command } from "./space.ts";

/** Built by `tools/peers`, which `tools/test` calls. */
const FLANNELD: Command = ["flanneld"];

let lab: Lab;
let ours: Node;
let theirs: Node;
let pods: readonly [Pod, Pod];
let ping: Pinger;

Deno.test.beforeAll(async () => {
  const network = { Network: "10.244.0.0/16", Backend: { Type: "vxlan" } };
  lab = await Lab.create({ nodes: ["ours", "theirs"], network });
  [ours, theirs] = lab.nodes as [Node, Node];
});

Deno.test.afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

/** A test on the lab of the tests before. */
function onLab(name: string, run: () => Promise<void>): void {
  Deno.test(`flanneld: ${name}`, async () => {
    try {
      await run();
    } catch (cause) {
      throw new Error(explain(cause, lab), { cause });
    }
  });
}

async function startFlanneld(node: Node): Promise<void> {
  await node.startDaemon({ program: FLANNELD, flags: lab.flags });
  // It is ready before its peers are.
  await node.ready();
}

async function startTwill(node: Node): Promise<void> {
  await node.startDaemon({ flags: lab.flags });
  await node.ready();
}

/** What a node holds of its one peer. */
async function peersOf(node: Node): Promise<unknown> {
  const overlay = (await routes(node)).filter(({ dev }) => dev === "flannel.1");
  const known = (await neighbours(node, "flannel.1")).filter(({ state }) =>
    state.includes("PERMANENT")
  );
  return {
    routes: overlay.map(({ dst, gateway, flags }: Route) => ({ dst, gateway, flags })),
    neighbours: known.map(({ dst, lladdr }) => ({ dst, lladdr })),
    fdb: (await fdb(node, "flannel.1")).map(({ mac, dst, state }) => ({ mac, dst, state })),
  };
}

/** What two programs that agree leave on a node for this peer. */
async function wanted(peer: Node): Promise<unknown> {
  const mac = (await device(peer, "flannel.1"))!.address;
  const base = `${podNet(peer)}.0`;
  return {
    routes: [{ dst: `${base}/24`, gateway: base, flags: ["onlink"] }],
    neighbours: [{ dst: base, lladdr: mac }],
    fdb: [{ mac, dst: peer.address, state: "permanent" }],
  };
}

function read({ log }: Service): string {
  return Deno.readTextFileSync(log);
}

async function agree(): Promise<void> {
  for (const [node, peer] of [[ours, theirs], [theirs, ours]] as const) {
    const want = JSON.stringify(await wanted(peer));
    await until(
      `${node.name} knows ${peer.name}`,
      async () => JSON.stringify(await peersOf(node)) === want,
      {
        explain: () => node.daemon!.tail(),
      },
    );
  }
}

onLab("both form one overlay, and pods ping both ways in packets of the full size", async () => {
  await startTwill(ours);
  await startFlanneld(theirs);
  await agree();
  pods = [await ours.addPod("pod"), await theirs.addPod("pod")];
  for (const [node, { ip }] of [[ours, pods[1]], [theirs, pods[0]]] as const) {
    await node.must([
      "ip",
      "netns",
      "exec",
      "pod",
      "ping",
      "-c1",
      "-W5",
      "-M",
      "do",
      "-s",
      "1422",
      ip,
    ]);
  }
  ping = await Pinger.start(ours, ["ip", "netns", "exec", "pod"], pods[1].ip);
});

onLab("leases, subnet files and devices are of one form", async () => {
  const form = (text: string): string =>
    text.replace(/([\da-f]{2}:){5}[\da-f]{2}/g, "MAC")
      .replace(/192\.168\.200\.\d+/g, "ADDRESS").replace(/10\.244\.[1-9]\d*\.(\d)/g, "NET.$1");
  const listing = await lab.etcd.must("get", "--prefix", "/coreos.com/network/subnets/");
  const [key1, value1, key2, value2] = listing.trimEnd().split("\n").map(form);
  assert.deepEqual([key1, value1], [key2, value2]);
  const files = lab.nodes.map((node) => form(node.read("/run/flannel/subnet.env")!));
  assert.equal(files[0], files[1]);
  const kind = async (node: Node): Promise<unknown> => {
    const { mtu, flags, linkinfo } = (await device(node, "flannel.1"))!;
    const { local: _, ...data } = linkinfo!.info_data!;
    return { mtu, flags, data };
  };
  assert.deepEqual(await kind(ours), await kind(theirs));
});

onLab("a flanneld that restarts disturbs nobody", async () => {
  await ping.lost();
  await theirs.daemon!.stop("SIGTERM");
  await startFlanneld(theirs);
  await agree();
  assert.equal(await ping.lost(), 0, "ms without an answer");
});

onLab(
  "twill takes a node over from flanneld in place: only the routes' protocol changes",
  async () => {
    const file = theirs.read("/run/flannel/subnet.env");
    await ping.lost();
    await using monitor = await Monitor.start(theirs);
    await using rules = await theirs.start("rules", ["nft", "monitor"]);
    await theirs.daemon!.stop("SIGKILL");
    await startTwill(theirs);
    await agree();
    await until(
      "routes are ours",
      async () =>
        (await routes(theirs)).some(({ dev, protocol }) =>
          dev === "flannel.1" && protocol === "146"
        ),
    );
    assert.equal(await ping.lost(), 0, "ms without an answer");
    // Of its own accord the kernel completes the IPv6 address of a young device.
    const changes = (await monitor.changes()).filter((line) =>
      line.includes("flannel.1") && !line.includes("fe80:")
    );
    const route = `${podNet(ours)}.0/24 via ${podNet(ours)}.0 dev flannel.1 proto 146 onlink`;
    assert.deepEqual(changes.map((line) => line.replaceAll(/\\|\s+/g, " ").trim()), [route]);
    assert.equal(theirs.read("/run/flannel/subnet.env"), file);
    await until("all is heard", () => /delete chain ip nat FLANNEL-POSTRTG/.test(read(rules)));
    const heard = read(rules);
    const [added, deleted] = ["add rule inet twill postrouting", "delete rule ip nat FLANNEL"];
    assert.ok(heard.includes(added) && heard.indexOf(added) < heard.indexOf(deleted), heard);
    const chains = await theirs.must(["sh", "-c", "iptables-save | grep FLANNEL || true"]);
    assert.equal(chains, "", "flanneld's rules are gone, ours stand in their place");
  },
);

onLab("flanneld takes the node back, and loses no packet either", async () => {
  const file = theirs.read("/run/flannel/subnet.env");
  await ping.lost();
  await theirs.daemon!.stop("SIGTERM");
  await startFlanneld(theirs);
  await agree();
  assert.equal(await ping.lost(), 0, "ms without an answer");
  assert.equal(theirs.read("/run/flannel/subnet.env"), file);
  // A peer that comes later is heard by both.
  const value = '{"PublicIP":"192.168.200.99","PublicIPv6":null,"BackendType":"vxlan",' +
    '"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}}';
  await lab.etcd.must("put", "/coreos.com/network/subnets/10.244.0.0-24", value);
  for (const node of lab.nodes) {
    await until(
      `${node.name} has the late peer's route`,
      async () => (await routes(node)).some(({ dst }) => dst === "10.244.0.0/24"),
    );
  }
  await ping[Symbol.asyncDispose]();
});
