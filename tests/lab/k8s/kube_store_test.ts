/** The kube store against a real API server. The nodes are objects that the test writes. */

import assert from "node:assert/strict";
import { conflistText } from "../../../install/conflist.ts";
import { until } from "../command.ts";
import { Lab, NETWORK } from "../lab.ts";
import type { Node } from "../node.ts";
import { note } from "../notes.ts";
import { ApiServer, type Raw } from "./api_server.ts";

const FULL = Deno.env.get("TWILL_FULL") === "1";
const P = "flannel.alpha.coreos.com/";
const NODES = "/api/v1/nodes";
const ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/flannel";
const CONFLIST = "/etc/cni/net.d/10-flannel.conflist";

function nodeObject(name: string, podCIDR?: string, more: Raw = {}): Raw {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, ...more.metadata },
    spec: podCIDR === undefined ? {} : { podCIDR, podCIDRs: [podCIDR] },
    status: { conditions: [{ type: "Ready", status: "True" }], ...more.status },
  };
}

/** What the daemon answers to `/readyz`. */
async function readyz(node: Node): Promise<string> {
  return (await node.exec(["curl", "-s", "--max-time", "2", "http://127.0.0.1:8090/readyz"]))
    .stdout;
}

/** Waits until `/readyz` says this. */
async function says(node: Node, want: RegExp): Promise<void> {
  let last = "";
  await until(`${node.name} says ${want}`, async () => want.test(last = await readyz(node)), {
    explain: () => `${last}\n${node.daemon?.tail() ?? ""}`,
  });
}

/** Whether the plugin says that it can serve an ADD now. */
async function takesPods(node: Node): Promise<boolean> {
  const document = { cniVersion: "1.1.0", name: "cbr0", type: "flannel" };
  const { code, stdout } = await node.exec(["/opt/cni/bin/flannel"], {
    stdin: JSON.stringify(document),
    env: { CNI_COMMAND: "STATUS", CNI_PATH: "/opt/cni/bin" },
  });
  if (code !== 0) assert.equal(JSON.parse(stdout).code, 50, stdout);
  return code === 0;
}

/** Waits until a node has exactly these routes to pods of others. */
async function routes(node: Node, ...want: readonly string[]): Promise<void> {
  let now = "";
  await until(`${node.name} has routes ${want}`, async () => {
    const out = await node.exec(["ip", "-4", "route", "show", "dev", "flannel.1"]);
    now = out.stdout.split("\n").flatMap((line) => line.split(" ", 1)).filter((word) => word)
      .sort().join();
    return now === [...want].sort().join();
  }, { seconds: 60, explain: () => `${now}\n${node.daemon?.tail() ?? ""}` });
}

/** A ping that runs meanwhile; how many answers are missing. */
async function lossOf(
  node: Node,
  pod: string,
  ip: string,
  work: () => Promise<void>,
): Promise<number> {
  const ping = ["ip", "netns", "exec", pod, "ping", "-i", "0.05", ip] as const;
  const service = await node.start("ping", ping);
  await work();
  await service.stop("SIGINT");
  const found = /(\d+) packets transmitted, (\d+) received/.exec(service.tail(5));
  assert.ok(found, service.tail(5));
  // The last one may still be under way.
  return Math.max(0, Number(found[1]) - Number(found[2]) - 1);
}

/** Late podCIDRs, annotations to the letter, the list last, outages, lost history. */
async function life({ lab, api, flags }: Scene): Promise<void> {
  const [one, two] = [lab.node("one"), lab.node("two")];
  const daemon = (node: Node): Promise<unknown> =>
    node.startDaemon({ flags, env: { NODE_NAME: node.name } });

  // Nothing is there: each thing is waited for, and said.
  await daemon(one);
  await says(one, /there is no node "one" in the API/);
  await api.ask("POST", NODES, nodeObject("one"));
  await says(one, /node "one" pod cidr not assigned/);
  await until("the node has an event", async () => {
    const events = await api.ask("GET", "/api/v1/namespaces/default/events");
    return events.items.some(({ reason, involvedObject, message }: Raw) =>
      reason === "NetworkNotReady" && involvedObject.name === "one" &&
      message.includes("pod cidr not assigned")
    );
  });
  assert.equal(one.read(CONFLIST), undefined);
  assert.equal(one.read("/run/flannel/subnet.env"), undefined);
  assert.equal(await takesPods(one), false);
  await api.merge(`${NODES}/one`, {
    spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] },
  });
  await one.ready();
  assert.equal(one.read(CONFLIST), conflistText());
  assert.equal(await takesPods(one), true);
  assert.match(one.read("/run/flannel/subnet.env") ?? "", /FLANNEL_SUBNET=10.244.1.1\/24/);

  // What peers and the controllers see.
  const mac = JSON.parse(await one.must(["ip", "-j", "link", "show", "flannel.1"]))[0].address;
  const own = async (): Promise<Raw> => await api.ask("GET", `${NODES}/one`);
  const want = {
    [`${P}backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}`,
    [`${P}backend-type`]: "vxlan",
    [`${P}kube-subnet-manager`]: "true",
    [`${P}public-ip`]: one.address,
  };
  const condition = ({ status }: Raw): Raw =>
    status.conditions.find(({ type }: Raw) => type === "NetworkUnavailable") ?? {};
  await until("the condition is set", async () => condition(await own()).status === "False");
  const seen = await own();
  assert.deepEqual(seen.metadata.annotations, want);
  const { reason, message } = condition(seen);
  assert.deepEqual([reason, message], ["FlannelIsUp", "Flannel is running on this node"]);
  assert.equal(seen.status.conditions.length, 2, "the kubelet's conditions stay");

  // Somebody takes both away.
  await api.merge(`${NODES}/one`, { metadata: { annotations: null } });
  await api.merge(`${NODES}/one/status`, { status: { conditions: null } });
  await until("both are back", async () => {
    const { metadata, status } = await own();
    return JSON.stringify(metadata.annotations) === JSON.stringify(want) &&
      condition({ status: { conditions: status.conditions ?? [] } }).status === "False";
  });

  await api.ask("POST", NODES, nodeObject("two", "10.244.2.0/24"));
  await daemon(two);
  await two.ready();
  await routes(one, "10.244.2.0/24");
  await routes(two, "10.244.1.0/24");
  const [a, b] = [await one.addPod("a"), await two.addPod("b")];

  // An outage, in which a daemon is started anew; history is lost with it.
  const lost = await lossOf(one, a.name, b.ip, async () => {
    await api.stop();
    await says(one, /Cannot watch nodes/);
    await one.daemon?.stop();
    await daemon(one);
    await says(one, /does not answer; the data plane follows the snapshot/);
    await routes(one, "10.244.2.0/24");
    await new Promise((resolve) => setTimeout(resolve, FULL ? 60_000 : 1_000));
    const { stdout } = await lab.etcd.ctl("get", "none", "--write-out=json");
    await lab.etcd.must("compact", String(JSON.parse(stdout).header.revision));
    await api.start();
    await api.ask("POST", NODES, peer(3));
    await routes(one, "10.244.2.0/24", "10.244.3.0/24");
    await routes(two, "10.244.1.0/24", "10.244.3.0/24");
    await one.ready(60);
  });
  assert.equal(lost, 0, `${lost} packets lost between pods`);

  // Peers change and go.
  await api.merge(`${NODES}/n3`, {
    metadata: { annotations: { [`${P}public-ip`]: "192.168.200.99" } },
  });
  await until(
    "the peer's address has changed",
    async () =>
      (await one.must(["bridge", "fdb", "show", "dev", "flannel.1"])).includes("192.168.200.99"),
  );
  // The node moves; a list that was taken away comes back.
  await one.must(["rm", CONFLIST]);
  await one.ip(`address del ${one.address}/24 dev eth0`, "address add 192.168.200.77/24 dev eth0");
  await until("the new address is published", async () => {
    return (await own()).metadata.annotations[`${P}public-ip`] === "192.168.200.77";
  }, { explain: () => one.daemon?.tail() ?? "" });
  await until("the list is back", () => one.read(CONFLIST) === conflistText());
  await api.ask("DELETE", `${NODES}/n3`);
  await routes(one, "10.244.2.0/24");
  await routes(two, "10.244.1.0/24");
}

/** A node that takes part, as a running flannel or twill leaves it. */
function peer(i: number, more: Raw = {}): Raw {
  const mac = `0a:00:00:00:${hex(i >> 8)}:${hex(i & 255)}`;
  return nodeObject(`n${i}`, `10.${244 + (i >> 8)}.${i & 255}.0/24`, {
    ...more,
    metadata: {
      annotations: {
        [`${P}backend-data`]: `{"VNI":1,"VtepMAC":"${mac}"}`,
        [`${P}backend-type`]: "vxlan",
        [`${P}kube-subnet-manager`]: "true",
        [`${P}public-ip`]: `192.168.${210 + (i >> 8)}.${i & 255}`,
      },
    },
  });
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** Each right that is missing is named, waited for, and used when it comes. */
async function rights({ lab, api, flags }: Scene): Promise<void> {
  const one = lab.node("one");
  const role = await api.ask("GET", ROLE);
  await api.ask("POST", NODES, nodeObject("one", "10.244.1.0/24"));
  for (
    const [verb, resource] of [["list", "nodes"], ["watch", "nodes"], ["patch", "nodes/status"]]
  ) {
    const rules = role.rules.map((rule: Raw) => ({
      ...rule,
      verbs: rule.resources.includes(resource)
        ? rule.verbs.filter((one: string) => one !== verb)
        : rule.verbs,
    })).filter(({ verbs }: Raw) => verbs.length > 0);
    await api.merge(ROLE, { rules });
    await api.merge(`${NODES}/one`, { metadata: { annotations: null } });
    // A first start, without any memory.
    await one.exec(["rm", "-rf", "/var/lib/twill", "/run/flannel"]);
    await one.startDaemon({ flags, env: { NODE_NAME: "one" } });
    const name = "system:serviceaccount:kube-flannel:flannel";
    await says(one, new RegExp(`${name} has not the verb ${verb} on ${resource}`));
    if (verb === "watch") {
      // Lists alone keep the node up to date, if slowly.
      await one.ready();
      await api.ask("POST", NODES, peer(3));
      await routes(one, "10.244.3.0/24");
    } else assert.equal(one.read("/run/flannel/subnet.env"), undefined);
    await api.merge(ROLE, { rules: role.rules });
    await one.ready(60);
    await one.daemon?.stop();
  }
}

/** How long a thousand nodes take, and how much memory. */
async function thousand({ lab, api, flags }: Scene): Promise<void> {
  const one = lab.node("one");
  await api.ask("POST", NODES, nodeObject("one", "10.240.1.0/24"));
  // As kubelets write them, two thirds of a node object are the names of images.
  const images = Array.from({ length: 50 }, (_, i) => ({
    names: [
      `registry.example.org/team/service-${i}@sha256:${hex(i).repeat(32)}`,
      `registry.example.org/team/service-${i}:v1.2.3`,
    ],
    sizeBytes: 123_456_789,
  }));
  const peers = Array.from({ length: 1_000 }, (_, i) => peer(i + 1, { status: { images } }));
  await api.createMany(NODES, peers);
  const began = performance.now();
  const daemon = await one.startDaemon({ flags, env: { NODE_NAME: "one" } });
  await one.ready(60);
  const took = performance.now() - began;
  await routes(one, ...peers.map(({ spec }) => spec.podCIDR));
  const status = Deno.readTextFileSync(`/proc/${daemon.pid}/status`);
  const of = (name: string): string =>
    (Number(new RegExp(`${name}:\\s*(\\d+)`).exec(status)?.[1]) / 1024).toFixed(0);
  assert.ok(Number(of("RssAnon")) < 120, `${of("RssAnon")} MiB of anonymous memory`);
  note(
    `kube store, 1,000 nodes: ready after ${(took / 1000).toFixed(2)} s, resident ` +
      `${of("VmRSS")} MiB, of that anonymous ${of("RssAnon")} MiB, at most ${of("VmHWM")} MiB`,
  );
  await api.ask("DELETE", `${NODES}/n500`);
  await routes(
    one,
    ...peers.filter(({ metadata }) => metadata.name !== "n500").map(({ spec }) => spec.podCIDR),
  );
}

/** What the steps share: an API server takes seconds to start. */
interface Scene {
  readonly lab: Lab;
  readonly api: ApiServer;
  readonly flags: readonly string[];
}

Deno.test("kube store", async (t) => {
  await using lab = await Lab.create({ nodes: ["one", "two"], outside: false });
  using api = await ApiServer.create(lab);
  let flags: readonly string[] = [];
  for (const [name, step] of Object.entries({ rights, life, thousand })) {
    await api.ask("DELETE", NODES);
    for (const node of lab.nodes) {
      await node.daemon?.stop();
      await node.exec(["rm", "-rf", "/var/lib/twill", "/run/flannel"]);
      await node.exec(["ip", "link", "del", "flannel.1"]);
      flags = await api.equip(node, { ...NETWORK, Network: "10.240.0.0/12" });
    }
    const began = performance.now();
    await t.step(name, () => step({ lab, api, flags }));
    note(`kube store, ${name}: ${((performance.now() - began) / 1000).toFixed(1)} s`);
  }
});
