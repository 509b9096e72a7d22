import assert from "node:assert/strict";
import { KubeClient } from "../../../daemon/kube/client.ts";
import { Log } from "../../../daemon/log.ts";
import { KubeStore, type NodeNaming } from "../../../daemon/store/kube.ts";
import { nodeNaming } from "../../../daemon/store/kube_flags.ts";
import type { Snapshot } from "../../../daemon/store/store.ts";
import { parseIp4 } from "../../../engine/ip.ts";
import { parseJson } from "../../../engine/json.ts";
import { leaseKey, type LeaseRecord } from "../../../engine/lease.ts";
import { annotationKeys } from "../../../engine/lease_annotations.ts";
import { FakeApi, type Raw } from "../kube/fake_api.ts";

const NODES = "/api/v1/nodes";
const EVENTS = "/api/v1/namespaces/default/events";
const P = "flannel.alpha.coreos.com/";
const CONF = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';
const DUAL = '{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00::/48", ' +
  '"Backend": {"Type": "vxlan"}}';

function vtep(i: number): string {
  return `{"VNI":1,"VtepMAC":"12:c6:65:89:b4:0${i}"}`;
}

function record(ip = "10.0.0.1"): LeaseRecord {
  return { publicIp: parseIp4(ip), backendType: "vxlan", backendData: parseJson(vtep(1)) };
}

function node(name: string, podCIDR?: string, annotations: Raw = {}): Raw {
  return {
    metadata: { name, creationTimestamp: "2026-01-01T00:00:00Z", annotations },
    spec: podCIDR === undefined ? {} : { podCIDR, podCIDRs: [podCIDR] },
    status: { conditions: [{ type: "Ready", status: "True", reason: "KubeletReady" }] },
  };
}

function peer(name: string, i: number): Raw {
  return node(name, `10.244.${i}.0/24`, {
    [`${P}kube-subnet-manager`]: "true",
    [`${P}backend-type`]: "vxlan",
    [`${P}backend-data`]: vtep(i),
    [`${P}public-ip`]: `10.0.0.${i}`,
  });
}

/** A store beside a fake API server. */
class Scene implements AsyncDisposable {
  readonly api = new FakeApi();
  readonly lines: string[] = [];
  readonly store: KubeStore;
  readonly #folder = Deno.makeTempDirSync({ prefix: "twill-kube-" });
  readonly #ending = new AbortController();
  readonly signal = this.#ending.signal;
  readonly conf = `${this.#folder}/net-conf.json`;
  last: Snapshot | undefined;
  #reading: Promise<void> = Promise.resolve();

  constructor(
    {
      conf = CONF,
      naming = { kind: "name", name: "me" },
      prefix = P,
      again = { first: 10, cap: 40 },
    }: {
      readonly conf?: string;
      readonly naming?: NodeNaming;
      readonly prefix?: string;
      readonly again?: { readonly first: number; readonly cap: number };
    } = {},
  ) {
    if (conf !== "") Deno.writeTextFileSync(this.conf, conf);
    this.store = new KubeStore({
      client: new KubeClient({ from: "test", servers: [this.api.url], compress: true }),
      node: naming,
      confPath: this.conf,
      keys: annotationKeys(prefix),
      setCondition: true,
      log: new Log({ write: (line) => this.lines.push(line) }),
      times: { again, watch: { again, refused: 20 } },
    });
  }

  follow(): void {
    this.#reading = (async () => {
      for await (const snapshot of this.store.snapshots(this.signal)) this.last = snapshot;
    })();
  }

  annotations(name = "me"): Record<string, string> {
    const all: Raw = this.api.get(NODES, name)?.metadata.annotations ?? {};
    return Object.fromEntries(
      Object.entries(all).map(([key, value]) => [key.replace(P, ""), value]),
    );
  }

  /** Waits until the keys of all leases are these. */
  async sees(...want: readonly string[]): Promise<void> {
    const now = (): string => this.last?.leases.map(leaseKey).sort().join() ?? "nothing";
    await until(() => now() === [...want].sort().join(), now);
  }

  async troubled(want: RegExp): Promise<void> {
    const now = (): string => this.store.status().problem ?? "no problem";
    await until(() => want.test(now()), now);
  }

  get patches(): number {
    return this.api.seen.filter(({ method }) => method === "PATCH").length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#reading;
    await this.store.close();
    await this.api[Symbol.asyncDispose]();
    Deno.removeSync(this.#folder, { recursive: true });
  }
}

async function until(done: () => boolean, what: () => string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!done()) {
    if (performance.now() > deadline) assert.fail(`still: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const OWN = {
  "kube-subnet-manager": "true",
  "backend-type": "vxlan",
  "backend-data": vtep(1),
  "public-ip": "10.0.0.1",
};

Deno.test("KubeStore: a lease is the podCIDR; the annotations are published in one patch", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("me", "10.244.1.0/24", { other: "stays" }));
  scene.api.put(NODES, peer("you", 2));
  const lease = await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  assert.equal(leaseKey(lease), "10.244.1.0-24");
  assert.equal(lease.node, "me");
  assert.deepEqual(scene.annotations(), { ...OWN, other: "stays" });
  const patch = scene.api.seen.find(({ method }) => method === "PATCH");
  assert.equal(patch?.path, "/api/v1/nodes/me/status");
  assert.equal(patch.headers.get("content-type"), "application/strategic-merge-patch+json");
  scene.follow();
  await scene.sees("10.244.1.0-24", "10.244.2.0-24");
  assert.equal(scene.last?.own, lease);
  assert.equal(scene.patches, 1);
  assert.deepEqual(scene.store.status(), { connected: true, bad: 0, gaps: 0 });
});

Deno.test("KubeStore: what is right already is not patched", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, peer("me", 1));
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  assert.equal(scene.patches, 0);
});

Deno.test("KubeStore: annotations and condition come back when somebody takes them away", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  const condition = (): Raw | undefined =>
    scene.api.get(NODES, "me")?.status.conditions.find(({ type }: Raw) =>
      type === "NetworkUnavailable"
    );
  assert.equal(condition(), undefined);
  scene.store.ready();
  await until(() => condition() !== undefined, () => "no condition");
  const { lastHeartbeatTime, lastTransitionTime, ...words } = condition()!;
  assert.deepEqual(words, {
    type: "NetworkUnavailable",
    status: "False",
    reason: "FlannelIsUp",
    message: "Flannel is running on this node",
  });
  assert.match(lastTransitionTime, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  assert.equal(lastHeartbeatTime, lastTransitionTime);
  assert.equal(scene.api.get(NODES, "me")?.status.conditions.length, 2);
  scene.api.edit(NODES, "me", (raw) => {
    raw.metadata.annotations = { [`${P}public-ip`]: "9.9.9.9" };
    raw.status.conditions.find(({ type }: Raw) => type === "NetworkUnavailable").status = "True";
  });
  await until(() => condition()?.status === "False", () => JSON.stringify(condition()));
  assert.deepEqual(scene.annotations(), OWN);
});

Deno.test("KubeStore: another address of the node is published, the overwrite counts before it", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  const second = { record: record("10.0.0.9"), previous: {} };
  assert.equal((await scene.store.acquire(second, scene.signal)).publicIp, "10.0.0.9");
  assert.equal(scene.annotations()["public-ip"], "10.0.0.9");
  scene.follow();
  scene.api.edit(NODES, "me", (raw) => {
    raw.metadata.annotations[`${P}public-ip-overwrite`] = "203.0.113.7";
  });
  await until(() => scene.last?.own?.publicIp === "203.0.113.7", () => "no overwrite");
  assert.equal(scene.annotations()["public-ip"], "203.0.113.7");
  scene.api.edit(NODES, "me", (raw) => {
    raw.metadata.annotations[`${P}public-ip-overwrite`] = "nonsense";
  });
  await scene.troubled(/public-ip-overwrite: .*nonsense/);
  await until(() => scene.annotations()["public-ip"] === "10.0.0.9", () => "not back");
});

Deno.test("KubeStore: what people wrote on the node, and the MAC address that peers know", async () => {
  await using scene = new Scene();
  const mine = peer("me", 1);
  mine.metadata.annotations[`${P}node-public-ip`] = "10.0.0.77";
  mine.metadata.annotations[`${P}node-public-ipv6`] = "nonsense";
  scene.api.put(NODES, mine);
  const { lease, ...known } = await scene.store.self(scene.signal);
  assert.deepEqual(known, { publicIp: "10.0.0.77", beforeFlags: true });
  assert.equal(JSON.stringify(lease?.backendData), vtep(1));
});

Deno.test("KubeStore: peers' annotations, podCIDRs and ends are seen; unchanged leases stay the same", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  scene.api.put(NODES, peer("a", 2));
  scene.api.put(NODES, peer("b", 3));
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  scene.follow();
  await scene.sees("10.244.1.0-24", "10.244.2.0-24", "10.244.3.0-24");
  const of = (name: string): unknown => scene.last?.leases.find((lease) => lease.node === name);
  const b = of("b");
  scene.api.edit(NODES, "a", (raw) => raw.metadata.annotations[`${P}public-ip`] = "10.0.0.99");
  await until(() => (of("a") as Raw | undefined)?.publicIp === "10.0.0.99", () => "no change");
  scene.api.edit(NODES, "b", (raw) => raw.metadata.annotations[`${P}node-public-ip`] = "10.9.9.9");
  scene.api.edit(NODES, "a", (raw) => raw.metadata.annotations[`${P}public-ip`] = "10.0.0.98");
  await until(() => (of("a") as Raw | undefined)?.publicIp === "10.0.0.98", () => "no change");
  assert.equal(of("b"), b);
  scene.api.edit(NODES, "a", (raw) => raw.spec = { podCIDR: "10.244.9.0/24" });
  await scene.sees("10.244.1.0-24", "10.244.9.0-24", "10.244.3.0-24");
  scene.api.edit(NODES, "a", (raw) => delete raw.metadata.annotations[`${P}kube-subnet-manager`]);
  await scene.sees("10.244.1.0-24", "10.244.3.0-24");
  scene.api.delete(NODES, "b");
  await scene.sees("10.244.1.0-24");
});

Deno.test("KubeStore: a bad node is counted and named; it keeps its lease, others theirs", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  scene.api.put(NODES, peer("a", 2));
  scene.api.put(NODES, peer("b", 3));
  const late = peer("late", 2);
  late.metadata.creationTimestamp = "2026-01-02T00:00:00Z";
  scene.api.put(NODES, late);
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  scene.follow();
  await scene.sees("10.244.1.0-24", "10.244.2.0-24", "10.244.3.0-24");
  scene.api.edit(NODES, "b", (raw) => raw.metadata.annotations[`${P}backend-data`] = "{");
  await until(() => scene.last?.bad.length === 2, () => JSON.stringify(scene.last?.bad));
  await scene.sees("10.244.1.0-24", "10.244.2.0-24", "10.244.3.0-24");
  assert.deepEqual(scene.last?.bad.map(({ key }) => key).sort(), ["node b", "node late"]);
  assert.match(JSON.stringify(scene.last?.bad), /also the podCIDR of node a/);
  assert.equal(scene.store.status().bad, 2);
});

Deno.test("KubeStore: families are independent: IPv4 goes on without IPv6", async () => {
  await using scene = new Scene({ conf: DUAL });
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  scene.api.put(NODES, peer("a", 2));
  const lease = await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  assert.equal(leaseKey(lease), "10.244.1.0-24");
  await scene.troubled(/missing IPv6 address on n.Spec.PodCIDRs of node "me"/);
  scene.follow();
  await scene.sees("10.244.1.0-24", "10.244.2.0-24");
  scene.api.edit(NODES, "me", (raw) => raw.spec.podCIDRs = ["10.244.1.0/24", "fd00:0:0:1::/64"]);
  await scene.sees("10.244.1.0-24&fd00:0:0:1::-64", "10.244.2.0-24");
  assert.equal(scene.store.status().problem, undefined);
});

/** What can be missing at the start, how the store says so, and how it is mended. */
const WAITS: readonly (readonly [
  name: string,
  before: (scene: Scene) => void,
  want: RegExp,
  mend: (scene: Scene) => void,
])[] = [
  [
    "the node object",
    (scene) => scene.api.delete(NODES, "me"),
    /there is no node "me" in the API.*--node-name/,
    (scene) => scene.api.put(NODES, node("me", "10.244.1.0/24")),
  ],
  [
    "the podCIDR",
    (scene) => scene.api.put(NODES, node("me")),
    /node "me" pod cidr not assigned.*--allocate-node-cidrs/,
    (scene) => scene.api.put(NODES, node("me", "10.244.1.0/24")),
  ],
  [
    "a podCIDR inside of the network",
    (scene) => scene.api.put(NODES, node("me", "10.3.1.0/24")),
    /doesn't contain "10.3.1.0\/24" PodCIDR of the "me" node/,
    (scene) => scene.api.put(NODES, node("me", "10.244.1.0/24")),
  ],
  ...["list nodes", "watch nodes", "patch nodes/status"].map((right) =>
    [
      `the right to ${right}`,
      (scene: Scene) => void scene.api.forbidden.add(right),
      new RegExp(`has not the verb ${right.replace(" ", " on ")}.*manifest --only rbac`),
      (scene: Scene) => void scene.api.forbidden.delete(right),
    ] as const
  ),
  [
    "a credential",
    (scene) => void (scene.api.token = "x"),
    /does not know this credential/,
    (scene) => void (scene.api.token = undefined),
  ],
];
for (const [name, before, want, mend] of WAITS) {
  Deno.test(`KubeStore: waits for ${name}, and says so`, async () => {
    await using scene = new Scene();
    scene.api.put(NODES, node("me", "10.244.1.0/24"));
    before(scene);
    const acquired = scene.store.acquire({ record: record(), previous: {} }, scene.signal);
    await scene.troubled(want);
    mend(scene);
    assert.equal(leaseKey(await acquired), "10.244.1.0-24");
    await until(
      () => scene.store.status().problem === undefined,
      () => scene.store.status().problem!,
    );
    const { connected, bad } = scene.store.status();
    assert.deepEqual({ connected, bad }, { connected: true, bad: 0 });
  });
}

Deno.test("KubeStore: waits for the configuration, and tells a change of it", async () => {
  await using scene = new Scene({ conf: "" });
  const config = scene.store.config(scene.signal);
  await scene.troubled(/net-conf.json: No such file.*kube-flannel-cfg/);
  Deno.writeTextFileSync(scene.conf, "{");
  await scene.troubled(/net-conf.json: (?!No such).*/);
  Deno.writeTextFileSync(scene.conf, CONF);
  assert.equal((await config).families[4].network, "10.244.0.0/16");
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  assert.equal(scene.store.status().problem, undefined);
  Deno.writeTextFileSync(scene.conf, DUAL);
  await scene.troubled(/has changed. Restart twill/);
});

Deno.test("KubeStore: finds its node by its pod, and waits for the right to read that", async () => {
  await using scene = new Scene({ naming: { kind: "pod", namespace: "ns", pod: "twill-x" } });
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  scene.api.forbidden.add("get pods");
  const acquired = scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  await scene.troubled(/has not the verb get on pods.*NODE_NAME/);
  scene.api.forbidden.clear();
  await scene.troubled(/not found/);
  scene.api.put("/api/v1/namespaces/ns/pods", {
    metadata: { name: "twill-x" },
    spec: { nodeName: "me" },
  });
  await acquired;
  assert.equal(scene.store.name, "Kubernetes Subnet Manager - me");
});

Deno.test("KubeStore: a wait is an event of the node; without the right to that it is none", async () => {
  await using scene = new Scene();
  scene.api.put(NODES, node("me"));
  const acquired = scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  const written = (): Raw | undefined => scene.api.seen.find(({ path }) => path === EVENTS)?.body;
  await until(() => written() !== undefined, () => "no event");
  const { involvedObject, type, reason, message } = written()!;
  assert.deepEqual(involvedObject, { apiVersion: "v1", kind: "Node", name: "me", uid: "me" });
  assert.deepEqual([type, reason], ["Warning", "NetworkNotReady"]);
  assert.match(message, /pod cidr not assigned/);
  scene.api.forbidden.add("create events");
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  await acquired;
});

Deno.test("KubeStore: two that fight over a node do not do so without a pause", async () => {
  await using scene = new Scene({ again: { first: 200, cap: 400 } });
  scene.api.put(NODES, node("me", "10.244.1.0/24"));
  await scene.store.acquire({ record: record(), previous: {} }, scene.signal);
  const before = scene.patches;
  const end = performance.now() + 500;
  while (performance.now() < end) {
    scene.api.edit(NODES, "me", (raw) => delete raw.metadata.annotations[`${P}public-ip`]);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  // Six at once, and then one in 100 ms at the most.
  const patches = scene.patches - before;
  assert.ok(patches >= 2 && patches <= 12, `${patches} patches`);
  // Whoever comes last, the node is right in the end.
  await until(() => "public-ip" in scene.annotations(), () => "no address");
});

Deno.test("nodeNaming: by name, by pod, else by the host; half a pod is an error", () => {
  const env = (values: Record<string, string>) => (name: string): string | undefined =>
    values[name];
  assert.deepEqual(nodeNaming("n", env({ POD_NAME: "p" }), "H"), { kind: "name", name: "n" });
  assert.deepEqual(nodeNaming("", env({ POD_NAME: "p", POD_NAMESPACE: "s" }), "H"), {
    kind: "pod",
    pod: "p",
    namespace: "s",
  });
  assert.deepEqual(nodeNaming("", env({}), "Host"), { kind: "name", name: "host" });
  assert.throws(() => nodeNaming("", env({ POD_NAME: "p" }), "H"), /POD_NAMESPACE must be set/);
});
