/** Three nodes with etcd: what `tools/demo` shows, and that a restarted daemon disturbs nobody. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { device, routes } from "./kernel_view.ts";
import { explain, Lab } from "./lab.ts";
import type { Node } from "./node.ts";
import { Monitor } from "./monitor.ts";
import { ROWS } from "./rows.ts";
import { podNet } from "./rows_setup.ts";
import { Tour } from "./tour.ts";

let lab: Lab;
let tour: Tour;
let shown: string[] = [];

Deno.test.beforeAll(async () => {
  lab = await Lab.create();
  tour = new Tour(lab, (_, line) => void shown.push(line));
});

Deno.test.afterAll(async () => {
  await lab?.[Symbol.asyncDispose]();
});

/** A test on the lab of the tests before; a failure comes with all that was shown and logged. */
function onLab(name: string, run: () => Promise<void>): void {
  Deno.test(`overlay: ${name}`, async () => {
    shown = [];
    try {
      await run();
    } catch (cause) {
      throw new Error([explain(cause, lab), "Before that:", ...shown.slice(-40)].join("\n"), {
        cause,
      });
    }
  });
}

for (const { number, title, run } of ROWS) onLab(`${number}. ${title}`, () => run(tour));

/** What the rest of the network holds about a node and the node about itself. */
async function stateOf(node: Node): Promise<unknown> {
  return {
    subnet: podNet(node),
    mac: (await device(node, "flannel.1"))?.address,
    routes: (await routes(node)).filter(({ dev }) => dev === "flannel.1"),
  };
}

onLab("a daemon that is restarted loses no packet of its pods and keeps its subnet", async () => {
  const { ip } = tour.pod("api");
  const worker = tour.node("web");
  const inPod = ["ip", "netns", "exec", "web"] as const;
  await using ping = await worker.start("ping", [...inPod, "ping", "-i", "0.02", ip]);
  const answers = (): number => Deno.readTextFileSync(ping.log).split("bytes from").length - 1;
  const tenMore = async (): Promise<void> => {
    const want = answers() + 10;
    await until("ten more answers", () => answers() >= want, { explain: () => ping.tail() });
  };
  await tenMore();
  await using monitor = await Monitor.start(worker);
  for (const node of [worker, tour.node("api")]) {
    const before = await stateOf(node);
    const { code, milliseconds } = await node.daemon!.stop("SIGTERM");
    assert.equal(code, 0, node.daemon!.tail());
    assert.ok(milliseconds < 5000, `it took ${milliseconds} ms to end`);
    assert.deepEqual(await stateOf(node), before, "while there is no daemon");
    await tenMore();
    await node.startDaemon({ flags: lab.flags });
    await node.ready();
    assert.deepEqual(await stateOf(node), before, "with the new daemon");
    await tenMore();
  }
  // Of its own accord the kernel adds IPv6 addresses to new devices, asks pods for their MAC, and
  // tells late that a new port has a carrier.
  const own = [
    /\bfe80:|\bff00:| dev cni0 lladdr \S+ (?:REACHABLE|STALE|DELAY|PROBE)/,
    /^\d+: veth\S+ <BROADCAST,MULTICAST,UP,LOWER_UP> mtu \d+ master cni0 state UP /,
  ];
  const changes = (await monitor.changes()).filter((line) => !own.some((one) => one.test(line)));
  assert.deepEqual(changes.filter((line) => /\b(?:flannel\.1|cni0|veth)/.test(line)), []);
  await ping.stop("SIGINT");
  assert.match(Deno.readTextFileSync(ping.log), / 0% packet loss/, ping.tail());
});

onLab("pods that are made after a restart reach those of before and each other", async () => {
  for (const [node, name] of [["worker", "web2"], ["worker2", "api2"]] as const) {
    await tour.addPod(lab.node(node), name);
  }
  for (const [from, to] of [["web2", "api2"], ["web2", "api"], ["web", "api2"], ["web2", "web"]]) {
    await tour.runInPod(from!, ["ping", "-c1", "-W5", tour.pod(to!).ip]);
  }
});

onLab("a node reaches pods of another, and the largest packet passes whole", async () => {
  const { ip } = tour.pod("api");
  await tour.run(tour.node("web"), ["ping", "-c1", "-W5", ip]);
  const size = String(lab.mtu - 50 - 28);
  await tour.runInPod("web", ["ping", "-c1", "-W5", "-M", "do", "-s", size, ip]);
});

onLab("a daemon that is killed leaves no process and no half written file", async () => {
  const node = tour.node("web");
  const before = await stateOf(node);
  await node.daemon!.stop("SIGKILL");
  assert.deepEqual(await stateOf(node), before);
  assert.deepEqual(node.list("/run/flannel"), ["subnet.env"]);
  await node.startDaemon({ flags: lab.flags });
  await node.ready();
  assert.deepEqual(await stateOf(node), before);
});
