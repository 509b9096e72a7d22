import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import {
  address,
  bridge,
  ENV,
  ENV_DUAL,
  HEALTHY,
  inspect,
  link,
  type Scene,
  uplink,
  vtep,
  vtep6,
} from "./scene.ts";

const PATH = "/run/flannel/subnet.env";

function withEnv(text: string, facts: readonly Fact[] = HEALTHY): Scene {
  return { facts, files: { [PATH]: text } };
}

const noAddress = vtep().filter(({ kind }) => kind !== "address");

/** Scenes, and the findings that they must cause: subject and id. */
const FAULTS: Readonly<Record<string, readonly [scene: Scene, findings: readonly string[]]>> = {
  "no file": [{ files: {} }, [`${PATH} no-subnet-file`]],
  "a damaged file": [
    withEnv("FLANNEL_NETWORK=10.244.0.0/16\n"),
    [`${PATH} damaged-subnet-file`],
  ],
  "subnet outside the network": [
    withEnv(ENV.replace("10.244.0.0/16", "10.99.0.0/16")),
    ["FLANNEL_SUBNET subnet-outside-network"],
  ],
  "VTEP with another address": [
    withEnv(ENV, [...uplink(), ...noAddress, address("flannel.1", "10.244.9.0/32")]),
    ["flannel.1 vtep-address"],
  ],
  "VTEP without an address": [
    withEnv(ENV, [...uplink(), ...noAddress]),
    ["flannel.1 vtep-address"],
  ],
  "VTEP's MTU too large for the underlay": [
    withEnv(ENV, [...uplink(1400), ...vtep()]),
    ["flannel.1 vtep-mtu"],
  ],
  "file's MTU larger than the VTEP's": [
    withEnv(ENV.replace("1450", "1500")),
    ["FLANNEL_MTU env-mtu-large"],
  ],
  "file's MTU smaller than the VTEP's": [
    withEnv(ENV.replace("1450", "1400"), [...uplink(), ...vtep()]),
    ["FLANNEL_MTU env-mtu-small"],
  ],
  "no VTEP, though the MTU is that of one": [
    withEnv(ENV, uplink()),
    ["flannel.N no-vtep"],
  ],
  "no IPv6 VTEP beside the IPv4 one": [
    withEnv(ENV_DUAL, [...uplink(), ...vtep(1430)]),
    ["flannel-v6.N no-vtep"],
  ],
  "the VTEP is down": [
    withEnv(ENV, [
      ...uplink(),
      ...vtep().map((fact) => fact.kind === "up" ? { ...fact, up: false } : fact),
    ]),
    ["flannel.1 device-down"],
  ],
  "bridge with the address of an earlier subnet": [
    withEnv(ENV, [...uplink(), ...vtep(), ...bridge("10.244.7.1/24")]),
    ["cni0 bridge-address"],
  ],
  "bridge without an address": [
    withEnv(ENV, [...uplink(), ...vtep(), ...link("cni0", 1450, "bridge")]),
    ["cni0 bridge-address"],
  ],
  "pods with a larger MTU": [
    withEnv(ENV, [...uplink(), ...vtep(), ...bridge("10.244.1.1/24", 1500)]),
    ["cni0 pod-mtu"],
  ],
};

for (const [name, [scene, expected]] of Object.entries(FAULTS)) {
  Deno.test(`subnet: ${name}`, async (t) => {
    const json = await inspect("subnet -o json", scene);
    const { findings } = JSON.parse(json.stdout);
    assert.deepEqual(
      findings.map((one: Record<string, string>) => `${one.subject} ${one.id}`),
      expected,
    );
    assert.equal(json.code, 1);
    const text = await inspect("subnet", scene);
    assert.equal(text.code, 1);
    await t.assertSnapshot(text.stdout);
  });
}

Deno.test("subnet: a healthy node is fine, and every value explained", async (t) => {
  const outcome = await inspect("subnet");
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stderr, "");
  await t.assertSnapshot(outcome.stdout);
});

Deno.test("subnet: JSON of a healthy node in both families", async (t) => {
  const both = [address("cni0", "fd00:244:0:1::1/64"), address("cni0", "fe80::1/64")];
  const facts = [...uplink(), ...vtep(), ...vtep6(), ...bridge("10.244.1.1/24", 1430), ...both];
  const outcome = await inspect("subnet -o json", withEnv(ENV_DUAL, facts));
  await t.assertSnapshot(JSON.parse(outcome.stdout));
  assert.equal(outcome.code, 0);
});

Deno.test("subnet: before the first pod there is no bridge, and nothing wrong with that", async () => {
  const outcome = await inspect("subnet", withEnv(ENV, [...uplink(), ...vtep()]));
  assert.equal(outcome.code, 0);
  assert.match(outcome.stdout, /^bridge +none +kernel +unchecked +no pod was started here yet/m);
});

Deno.test("subnet: an empty bridge may have any MTU, the kernel raises it with the last pod", async () => {
  const empty = [...link("cni0", 1500, "bridge"), address("cni0", "10.244.1.1/24")];
  const outcome = await inspect("subnet", withEnv(ENV, [...uplink(), ...vtep(), ...empty]));
  assert.equal(outcome.code, 0);
});

Deno.test("subnet: a bridge of another name is known by its address", async () => {
  const other = [...link("pods0", 1450, "bridge"), address("pods0", "10.244.1.1/24")];
  const outcome = await inspect("subnet", withEnv(ENV, [...uplink(), ...vtep(), ...other]));
  assert.equal(outcome.code, 0);
  assert.match(outcome.stdout, /^pods0:address +10\.244\.1\.1\/24 +kernel +ok/m);
});

Deno.test("subnet: a network without encapsulation needs no VTEP", async () => {
  const scene = withEnv(ENV.replace("1450", "1500"), uplink());
  assert.equal((await inspect("subnet", scene)).code, 0);
});

Deno.test("subnet: -o name gives this node's subnets", async () => {
  const outcome = await inspect("subnet -o name");
  assert.deepEqual(outcome, { code: 0, stdout: "10.244.1.1/24\n", stderr: "" });
});

Deno.test("subnet: a file that may not be read gives exit code 3", async () => {
  const outcome = await inspect("subnet --subnet-file /secret", {
    files: {
      "/secret": () => {
        throw new Deno.errors.PermissionDenied("Permission denied (os error 13)");
      },
    },
  });
  assert.equal(outcome.code, 3);
  assert.match(outcome.stderr, /^Cannot tell about the subnet: cannot read \/secret: Permission/);
});
