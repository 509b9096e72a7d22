import assert from "node:assert/strict";
import { container, linkView, netns, nodeOf, type PodParts, podParts } from "./pods_scene.ts";
import { inspect, type Outcome, type Scene } from "./scene.ts";

const WEB = podParts(2, "default/web");
const DNS = podParts(3, "kube-system/dns");
/** Made by a runtime that keeps no cache. */
const BARE = podParts(4);

function findings({ stdout }: Outcome): string[] {
  return JSON.parse(stdout).findings
    .map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`);
}

Deno.test("pods: which is which, with and without the runtime's cache", async (t) => {
  const node = nodeOf(DNS, BARE, WEB);
  const plain = await inspect("pods", node);
  assert.equal(plain.code, 0);
  assert.equal(plain.stderr, "");
  await t.assertSnapshot(plain.stdout);
  await t.assertSnapshot((await inspect("pods -o wide", node)).stdout);
  assert.equal(
    (await inspect("pods -o name", node)).stdout,
    "default/web\nkube-system/dns\n444444444444\n",
  );
});

Deno.test("pods: the JSON of one pod", async (t) => {
  const { stdout } = await inspect("pods default/web -o json", nodeOf(DNS, WEB));
  await t.assertSnapshot(JSON.parse(stdout));
});

for (
  const word of ["web", "default/web", "10.244.1.2", "veth2", "cni-2", container(2).slice(0, 12)]
) {
  Deno.test(`pods ${word}: finds the pod by that name`, async () => {
    const { stdout, code } = await inspect(`pods ${word} -o name`, nodeOf(DNS, BARE, WEB));
    assert.deepEqual([stdout, code], ["default/web\n", 0]);
  });
}

Deno.test("pods NAME: a name that no pod has is exit code 3", async () => {
  const outcome = await inspect("pods web nope", nodeOf(WEB));
  assert.equal(outcome.code, 3);
  assert.equal(outcome.stderr, 'No pod "nope" on this node\n');
});

function without(parts: PodParts, gone: Partial<PodParts>): PodParts {
  return { ...parts, ...gone };
}

function changed(parts: PodParts, change: Readonly<Record<string, unknown>>): PodParts {
  return { ...parts, host: parts.host.map((one) => ({ ...one, ...change })) };
}

const twin = podParts(6, "default/twin");

const FAULTS: Readonly<Record<string, readonly [node: Scene, findings: readonly string[]]>> = {
  "a reservation that no pod has": [
    nodeOf(WEB, without(BARE, { host: [], namespaces: {} })),
    ["444444444444 leaked-address"],
  ],
  "a reservation that a plugin did not finish": [
    nodeOf(WEB, {
      files: { "/var/lib/cni/networks/cbr0/10.244.1.7": "" },
      host: [],
      namespaces: {},
    }),
    ["10.244.1.7 leaked-address"],
  ],
  "the same, while a device may be that pod's": [
    nodeOf(WEB, without(BARE, { namespaces: {} })),
    [],
  ],
  "a pod without a reservation": [
    nodeOf(WEB, without(DNS, { files: {} })),
    ["cni-3 unreserved-address"],
  ],
  "a network without host-local": [nodeOf(without(DNS, { files: {} })), []],
  "two pods with one address": [
    nodeOf(
      WEB,
      without(twin, {
        namespaces: { [netns(6)]: [{ ...WEB.namespaces[netns(2)]![1]!, peer: 106 }] },
      }),
    ),
    ["default/web address-twice", "cni-6 address-twice"],
  ],
  "a device that is plugged in nowhere": [
    nodeOf(WEB, changed(DNS, { master: undefined })),
    ["kube-system/dns not-plugged"],
  ],
  "a device that is down": [
    nodeOf(changed(WEB, { up: false })),
    ["default/web interface-down"],
  ],
  "a device that is gone": [nodeOf(WEB, without(DNS, { host: [] })), ["kube-system/dns no-veth"]],
};

for (const [name, [node, expected]] of Object.entries(FAULTS)) {
  Deno.test(`pods: ${name}`, async () => {
    const outcome = await inspect("pods -o json", node);
    assert.deepEqual(findings(outcome).filter((one) => !one.startsWith("default/twin")), expected);
    assert.equal(outcome.code, expected.length > 0 ? 1 : 0);
  });
}

Deno.test("pods: without rights, what the files tell", async () => {
  const node = { ...nodeOf(WEB), rights: [] };
  const outcome = await inspect("pods -o json", node);
  assert.equal(outcome.code, 0);
  assert.match(outcome.stderr, /needs root, or CAP_SYS_ADMIN\n$/);
  const [item] = JSON.parse(outcome.stdout).items;
  assert.deepEqual([item.name, item.veth, item.ifindex], ["default/web", "veth2", 102]);
});

Deno.test("pods: files that may not be read are told, and hold nothing back", async () => {
  const denied = (): never => {
    throw new Deno.errors.PermissionDenied("no");
  };
  const node = nodeOf(WEB);
  const [path = ""] = Object.keys(WEB.files);
  const outcome = await inspect("pods -o name", {
    ...node,
    files: { ...node.files, [path]: denied },
  });
  assert.equal(outcome.stdout, "default/web\n");
});

Deno.test("pods: a cache of another form is as good as none", async () => {
  const node = nodeOf(WEB);
  const files = { ...node.files, "/var/lib/cni/results/x": "{}", "/var/lib/cni/results/y": "[" };
  assert.equal((await inspect("pods -o name", { ...node, files })).stdout, "default/web\n");
});

Deno.test("pods: a node without pods", async () => {
  const outcome = await inspect("pods", {
    namespaces: { host: [linkView({ index: 1, name: "lo" })] },
  });
  assert.deepEqual(outcome, { code: 0, stdout: "", stderr: "No pods on this node\n" });
});

Deno.test("pods: a pair of another network whose index is that of a pod's device here", async () => {
  const node = nodeOf(WEB);
  const strange = linkView({ index: 3, name: "eth0", peer: 102 });
  const outcome = await inspect("pods -o name", {
    files: { ...node.files, "/run/netns/strange": "" },
    namespaces: { ...node.namespaces, "/run/netns/strange": [strange] },
  });
  assert.equal(outcome.stdout, "default/web\n");
});
