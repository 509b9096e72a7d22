/**
 * The second half of what a reader of flannel's tutorials sees: routes, packets, leases.
 *
 * @module
 */

import { Capture } from "./capture.ts";
import { device, devices, fdb, neighbours, type Route, routes } from "./kernel_view.ts";
import { OUTSIDE, PREFIX } from "./lab.ts";
import type { Node } from "./node.ts";
import { podNet } from "./rows_setup.ts";
import type { Row, Tour } from "./tour.ts";

/** A route in few words, to compare. */
function brief({ dst, dev, gateway, prefsrc, protocol, scope, flags }: Route): string {
  const parts = [
    dst,
    gateway && `via ${gateway}`,
    `dev ${dev}`,
    protocol && protocol !== "boot" && `proto ${protocol}`,
    scope && `scope ${scope}`,
    prefsrc && `src ${prefsrc}`,
    ...flags.filter((flag) => flag === "onlink"),
  ];
  return parts.filter(Boolean).join(" ");
}

/** Routes in a pod: see {@link Row}. */
async function podRoutes(tour: Tour): Promise<void> {
  for (const name of ["web", "api"]) {
    await tour.runInPod(name, ["ip", "route"]);
    const pod = tour.pod(name);
    const net = podNet(tour.node(name));
    const seen = (await routes(tour.node(name), pod)).map(brief).sort();
    tour.equal(
      `"${name}" sends everything to cni0, its neighbours apart`,
      seen,
      [
        `10.244.0.0/16 via ${net}.1 dev eth0`,
        `${net}.0/24 dev eth0 proto kernel scope link src ${pod.ip}`,
        `default via ${net}.1 dev eth0`,
      ].sort(),
    );
  }
}

/** Routes, neighbours and forwarding entries of a node: see {@link Row}. */
async function nodeRoutes(tour: Tour): Promise<void> {
  const worker = tour.lab.node("worker");
  const net = podNet(worker);
  const peers = tour.lab.nodes.filter((node) => node !== worker);
  await tour.run(worker, ["ip", "route"]);
  const seen = (await routes(worker)).map(brief).sort();
  const toPeers = peers.map(podNet).map((p) =>
    `${p}.0/24 via ${p}.0 dev flannel.1 proto 146 onlink`
  );
  tour.equal(
    "there is one route per other node, one to the pods here, and the wire",
    seen,
    [
      "default via 192.168.200.1 dev eth0",
      `${net}.0/24 dev cni0 proto kernel scope link src ${net}.1`,
      `192.168.200.0/24 dev eth0 proto kernel scope link src ${worker.address}`,
      ...toPeers,
    ].sort(),
  );
  await tour.run(worker, ["ip", "neighbour", "show", "dev", "flannel.1"]);
  await tour.run(worker, ["bridge", "fdb", "show", "dev", "flannel.1"]);
  const known = (await neighbours(worker, "flannel.1"))
    .filter(({ lladdr }) => lladdr !== undefined)
    .map(({ dst, lladdr, state }) => `${dst} ${lladdr} ${state.join()}`).sort();
  const entries = (await fdb(worker, "flannel.1"))
    .map(({ mac, dst, flags, state }) => `${mac} ${dst} ${flags.join()} ${state}`).sort();
  const macs = await Promise.all(peers.map(async (peer) => {
    return { peer, mac: (await device(peer, "flannel.1"))?.address };
  }));
  tour.equal(
    "each route's gateway has the MAC of that node's flannel.1",
    known,
    macs.map(({ peer, mac }) => `${podNet(peer)}.0 ${mac} PERMANENT`).sort(),
  );
  tour.equal(
    "each MAC is behind that node's address",
    entries,
    macs.map(({ peer, mac }) => `${mac} ${peer.address} self permanent`).sort(),
  );
  await tour.run(worker, ["twill", "inspect", "routes"]);
  await tour.run(worker, ["twill", "inspect", "peers"]);
}

/** What to look for on an interface, and whether a ping is to be seen there. */
interface Watch {
  readonly filter: readonly string[];
  readonly sees: boolean;
}

const PLAIN: Watch = { filter: ["icmp"], sees: true };
const TUNNEL: Watch = { filter: ["udp", "port", "8472"], sees: true };
const NOT_PLAIN: Watch = { filter: ["icmp"], sees: false };
const NOT_AT_ALL: Watch = { filter: ["icmp", "or", "udp", "port", "8472"], sees: false };

/** Captures on interfaces of a node while one of its pods pings another pod: what each saw. */
async function watchPing(
  tour: Tour,
  from: string,
  to: string,
  watches: Readonly<Record<string, Watch>>,
): Promise<Record<string, readonly string[]>> {
  const node = tour.node(from);
  await using stack = new AsyncDisposableStack();
  const captures = await Promise.all(
    Object.entries(watches).map(async ([dev, watch]) => {
      const capture = stack.use(await Capture.start(node, dev, ...watch.filter));
      return { dev, watch, capture };
    }),
  );
  for (const { capture } of captures) tour.showCommand(node.name, [...capture.command, "&"]);
  await tour.runInPod(from, ["ping", "-c1", "-W5", tour.pod(to).ip]);
  const seen: Record<string, readonly string[]> = {};
  for (const { dev, watch, capture } of captures) {
    if (watch.sees) await capture.sees(/echo reply/);
    const { lines, received } = await capture.stop();
    // The kernel counts as packets pass, so nothing is still on its way to tcpdump.
    if (!watch.sees) tour.equal(`the kernel counts no such packet on ${dev}`, received, 0);
    for (const line of lines) tour.showOutput(`${dev.padEnd(9)} ${line}`);
    seen[dev] = lines;
  }
  return seen;
}

/** Within one node: see {@link Row}. */
async function sameNode(tour: Tour): Promise<void> {
  await tour.addPod(tour.lab.node("worker"), "shell");
  const [from, to] = [tour.pod("shell").ip, tour.pod("web").ip];
  const seen = await watchPing(tour, "shell", "web", {
    cni0: PLAIN,
    "flannel.1": NOT_PLAIN,
    eth0: NOT_AT_ALL,
  });
  tour.check(
    "both packets passed cni0",
    seen["cni0"]?.some((line) => line.startsWith(`IP ${from} > ${to}: ICMP echo request`)) ===
        true &&
      seen["cni0"].some((line) => line.startsWith(`IP ${to} > ${from}: ICMP echo reply`)),
    seen["cni0"],
  );
}

/** From node to node: see {@link Row}. */
async function otherNode(tour: Tour): Promise<void> {
  const [from, to] = [tour.pod("web").ip, tour.pod("api").ip];
  const seen = await watchPing(tour, "web", "api", {
    cni0: PLAIN,
    "flannel.1": PLAIN,
    eth0: TUNNEL,
  });
  const ping = [
    `IP ${from} > ${to}: ICMP echo request`,
    `IP ${to} > ${from}: ICMP echo reply`,
  ] as const;
  const has = (dev: string, start: RegExp, text: string): boolean =>
    seen[dev]?.some((line) => start.test(line) && line.includes(text)) ?? false;
  for (const dev of ["cni0", "flannel.1"]) {
    const both = ping.every((text) => has(dev, /^IP/, text));
    tour.check(`${dev} saw the ping with the pods' own addresses`, both, seen[dev]);
  }
  const outer = (a: Node, b: Node): RegExp =>
    new RegExp(`^IP ${a.address}\\.\\d+ > ${b.address}\\.8472: VXLAN, .*vni 1: IP`);
  const [here, there] = [tour.node("web"), tour.node("api")];
  tour.check(
    "eth0 saw it as VXLAN with VNI 1 on UDP port 8472, from node to node",
    has("eth0", outer(here, there), ping[0]) && has("eth0", outer(there, here), ping[1]),
    seen["eth0"],
  );
}

/** To the world: see {@link Row}. */
async function outside(tour: Tour): Promise<void> {
  const node = tour.node("web");
  await using capture = await Capture.start(node, "eth0", "tcp", "port", "80");
  tour.showCommand(node.name, [...capture.command, "&"]);
  const answer = await tour.runInPod("web", ["curl", "-s", "-m10", `http://${OUTSIDE}/`]);
  await capture.sees(/Flags \[F/);
  const { lines } = await capture.stop();
  tour.showOutput(`eth0      ${lines[0]}`);
  tour.equal("the host outside sees the node's address", answer, `you are ${node.address}\n`);
  const from = new RegExp(`^IP ${node.address}\\.\\d+ > ${OUTSIDE}\\.80: Flags \\[S\\]`);
  tour.check("and so does eth0: the pod's is replaced here", from.test(lines[0] ?? ""), lines);
  const leak = lines.filter((line) => line.includes(tour.pod("web").ip));
  tour.equal("no packet left with the pod's address", leak, []);
  await tour.runInPod("web", ["ping", "-c1", "-W5", OUTSIDE]);
}

/** The end of a pod: see {@link Row}. */
async function podGone(tour: Tour): Promise<void> {
  const node = tour.node("shell");
  const { ip, attachment } = tour.pod("shell");
  const ports = async (): Promise<number> =>
    (await devices(node)).filter(({ master }) => master === "cni0").length;
  const before = await ports();
  await tour.delPod("shell");
  await tour.run(node, ["ip", "-br", "link", "show", "master", "cni0"]);
  tour.equal("its veth is gone", await ports(), before - 1);
  await tour.run(node, ["ls", "/var/lib/cni/networks/cbr0", "/var/lib/cni/flannel"]);
  tour.equal("its address is free", node.read(`/var/lib/cni/networks/cbr0/${ip}`), undefined);
  const notes = node.list("/var/lib/cni/flannel")
    .filter((name) => name.includes(attachment.containerId));
  tour.equal("what DEL had to know is forgotten", notes, []);
  const rules = await node.must(["nft", "list", "ruleset"]);
  tour.check("no rule names it", !new RegExp(`\\b${ip}\\b`).test(rules), rules);
  const next = await tour.addPod(node, "next");
  tour.showOutput(`"shell" had ${ip}, "next" has ${next.ip}`);
  tour.check("the address is not handed out again at once", next.ip !== ip);
}

/** The store: see {@link Row}. */
async function leases(tour: Tour): Promise<void> {
  const { etcd, nodes } = tour.lab;
  const [first] = nodes;
  const prefix = `${PREFIX}/subnets`;
  const shown = await tour.run(first!, etcd.command("get", "--prefix", prefix));
  const lines = shown.trimEnd().split("\n");
  const want = await Promise.all(nodes.map(async (node) => {
    const mac = (await device(node, "flannel.1"))?.address;
    const data = `{"VNI":1,"VtepMAC":"${mac}"}`;
    return [
      `${prefix}/${podNet(node)}.0-24`,
      `{"PublicIP":"${node.address}","PublicIPv6":null,"BackendType":"vxlan","BackendData":${data}}`,
    ];
  }));
  const pairs = lines.flatMap((line, i) => i % 2 === 0 ? [[line, lines[i + 1] ?? ""]] : []);
  tour.equal("there is one lease per node, to the letter of flannel", pairs.sort(), want.sort());
  // The ids have 64 bits, more than a number holds.
  const json = await etcd.must("get", "--prefix", prefix, "-w", "json");
  const ids = [...json.matchAll(/"lease":(\d+)/g)].map(([, id]) => BigInt(id!).toString(16));
  tour.equal("each is bound to an etcd lease of its own", new Set(ids).size, nodes.length);
  const ttls = await Promise.all(ids.map(async (id): Promise<number> => {
    return JSON.parse(await etcd.must("lease", "timetolive", id, "-w", "json")).ttl;
  }));
  tour.check("which lasts a day", ttls.every((ttl) => ttl > 86_000 && ttl <= 86_400), ttls);
}

/** Rows 6 to 13. */
export const TRAFFIC_ROWS: readonly Row[] = [
  { number: 6, title: "routes in a pod", run: podRoutes },
  { number: 7, title: "routes on a node", run: nodeRoutes },
  { number: 8, title: "a ping on the same node stays on cni0", run: sameNode },
  { number: 9, title: "a ping to another node travels in VXLAN", run: otherNode },
  { number: 10, title: "outside, a pod is seen with its node's address", run: outside },
  { number: 12, title: "a pod goes, and with it all that was made for it", run: podGone },
  { number: 13, title: "the leases in etcd are those of flannel", run: leases },
];
