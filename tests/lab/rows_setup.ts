/**
 * The first half of what a reader of flannel's tutorials sees: files, daemons, devices.
 *
 * @module
 */

import { addresses, device, devices } from "./kernel_view.ts";
import type { Node } from "./node.ts";
import { PluginError } from "./runtime.ts";
import type { Row, Tour } from "./tour.ts";

/** `/run/flannel/subnet.env` of a node, by variable; empty when there is none. */
export function subnetEnv(node: Node): Readonly<Record<string, string>> {
  const lines = (node.read("/run/flannel/subnet.env") ?? "").trimEnd().split("\n");
  return Object.fromEntries(lines.map((line) => line.split("=", 2)));
}

/** First three numbers of a node's pod addresses: "10.244.7". */
export function podNet(node: Node): string {
  return /^(\d+\.\d+\.\d+)\.1\/24$/.exec(subnetEnv(node)["FLANNEL_SUBNET"] ?? "")?.[1] ?? "none";
}

/** Before the daemon: see {@link Row}. */
async function noDaemonYet(tour: Tour): Promise<void> {
  const worker = tour.lab.node("worker");
  await tour.run(worker, ["ls", "/etc/cni/net.d", "/run"]);
  tour.note("the container runtime asks for a pod's network");
  let error: unknown;
  try {
    await worker.addPod("early");
  } catch (e) {
    error = e;
  }
  if (!(error instanceof PluginError)) throw error ?? new Error("ADD worked without a daemon");
  tour.showOutput(error.output.stdout);
  const { msg = "" } = error.answer ?? {};
  tour.check("ADD fails, and the message names subnet.env", msg.includes("subnet.env"), msg);
  const left = [
    ...worker.list("/run/netns"),
    ...worker.list("/var/lib/cni/networks/cbr0").filter((name) => name !== "lock"),
    ...worker.list("/var/lib/cni/flannel"),
    ...(await devices(worker)).map(({ ifname }) => ifname).filter((n) => !/^(?:lo|eth0)$/.test(n)),
  ];
  tour.equal("nothing is left of the attempt", left, []);
  await tour.run(worker, ["ping", "-c1", "-W5", tour.lab.node("worker2").address]);
  tour.check("the nodes themselves reach each other", true);
}

/** Plugins: see {@link Row}. */
async function nothingToDownload(tour: Tour): Promise<void> {
  const worker = tour.lab.node("worker");
  await tour.run(worker, ["ls", "-l", "--time-style=+", "/opt/cni/bin"]);
  for (const name of ["flannel", "bridge", "host-local", "portmap", "loopback"]) {
    const env = { CNI_COMMAND: "VERSION" };
    const { stdout } = await worker.exec([`/opt/cni/bin/${name}`], { env });
    tour.check(`${name} speaks 0.3.1 and 1.0.0`, /"0\.3\.1".*"1\.0\.0"/s.test(stdout), stdout);
  }
}

/** The daemons: see {@link Row}. */
async function subnetFiles(tour: Tour): Promise<void> {
  const { lab } = tour;
  for (const { name } of lab.nodes) tour.showCommand(name, ["twill", "daemon", ...lab.flags, "&"]);
  await lab.startDaemons();
  for (const node of lab.nodes) {
    await tour.run(node, ["cat", "/run/flannel/subnet.env"]);
    const { FLANNEL_SUBNET: _, ...rest } = subnetEnv(node);
    tour.equal("network, MTU (50 less than the wire's) and masquerade are as they must be", rest, {
      FLANNEL_NETWORK: "10.244.0.0/16",
      FLANNEL_MTU: String(lab.mtu - 50),
      FLANNEL_IPMASQ: "true",
    });
    tour.check(`${node.name} has a /24`, podNet(node).startsWith("10.244."), subnetEnv(node));
  }
  const all = lab.nodes.map(podNet);
  tour.check("each node has another one", new Set(all).size === all.length, all);
  await tour.run(lab.node("worker"), ["twill", "inspect", "subnet"]);
}

/** Devices without pods: see {@link Row}. */
async function beforeTheFirstPod(tour: Tour): Promise<void> {
  for (const node of tour.lab.nodes.slice(1)) {
    await tour.run(node, ["ip", "-br", "address"]);
    const overlay = await device(node, "flannel.1");
    const { id, port, local, link, learning } = overlay?.linkinfo?.info_data ?? {};
    tour.equal(
      "flannel.1 is a VXLAN device on eth0 with VNI 1 and port 8472, which learns nothing",
      { id, port, local, link, learning },
      { id: 1, port: 8472, local: node.address, link: "eth0", learning: false },
    );
    tour.check("it is up", overlay?.flags.includes("UP") === true, overlay?.flags);
    tour.equal("its MTU is 50 less than the wire's", overlay?.mtu, tour.lab.mtu - 50);
    tour.equal("its address is the subnet's first", addresses(overlay), [`${podNet(node)}.0/32`]);
    tour.equal("there is no cni0 yet", await device(node, "cni0"), undefined);
  }
}

/** Pods: see {@link Row}. */
async function firstPods(tour: Tour): Promise<void> {
  for (const [place, name] of [["worker", "web"], ["worker2", "api"]] as const) {
    const node = tour.lab.node(place);
    const net = podNet(node);
    const { ip, attachment } = await tour.addPod(node, name);
    await tour.run(node, ["ip", "-n", name, "-br", "address"]);
    tour.check(`"${name}" has an address of ${place}`, ip.startsWith(`${net}.`), ip);
    const eth0 = await device(node, "eth0", tour.pod(name));
    tour.equal("it is on the pod's eth0", addresses(eth0), [`${ip}/24`]);
    tour.equal("the pod's MTU is the overlay's", eth0?.mtu, tour.lab.mtu - 50);
    const reserved = node.read(`/var/lib/cni/networks/cbr0/${ip}`);
    tour.equal("it is reserved in host-local's way", reserved, `${attachment.containerId}\r\neth0`);
    await tour.run(node, ["ip", "-br", "address", "show", "dev", "cni0"]);
    const bridge = await device(node, "cni0");
    tour.equal("cni0 has the gateway's address", addresses(bridge), [`${net}.1/24`]);
    await tour.run(node, ["ip", "-br", "link", "show", "master", "cni0"]);
    const [port, ...more] = (await devices(node)).filter(({ master }) => master === "cni0");
    tour.check("one veth is plugged into it", port !== undefined && more.length === 0, more);
    const { hairpin } = port?.linkinfo?.info_slave_data ?? {};
    tour.equal("with hairpin mode, as the stock list wants it", hairpin, true);
  }
}

/** Rows 1 to 5. */
export const SETUP_ROWS: readonly Row[] = [
  { number: 1, title: "before the daemon runs, a pod is told why it waits", run: noDaemonYet },
  { number: 2, title: "no plugin has to be downloaded", run: nothingToDownload },
  { number: 3, title: "each node leases a subnet and writes it down", run: subnetFiles },
  { number: 4, title: "before the first pod: flannel.1, and no cni0 yet", run: beforeTheFirstPod },
  { number: 5, title: "one pod on worker, one on worker2", run: firstPods },
];
