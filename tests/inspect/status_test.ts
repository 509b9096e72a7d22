import assert from "node:assert/strict";
import type { Fact } from "../../engine/fact.ts";
import { parseCidr } from "../../engine/ip.ts";
import { overlayRuleFacts } from "../../engine/rules/overlay.ts";
import { answers, DAEMON, MEMORY, snapshot } from "./known.ts";
import {
  bridge,
  HEALTHY,
  inspect,
  NOW,
  type Outcome,
  peer,
  type Scene,
  uplink,
  vtep,
} from "./scene.ts";

const RULES: readonly Fact[] = overlayRuleFacts(
  [{ network: parseCidr("10.244.0.0/16"), subnet: parseCidr("10.244.1.0/24") }],
  {
    mode: "twill",
    instance: "",
    masquerade: true,
    forward: true,
    fullyRandom: true,
    compat: false,
  },
).filter((fact) => fact.kind === "rules" && fact.text !== "");

const WELL: Scene = { facts: [...HEALTHY, ...RULES], status: answers() };

function findings({ stdout }: Outcome): string[] {
  return JSON.parse(stdout).findings
    .map(({ subject, id }: { subject: string; id: string }) => `${subject} ${id}`);
}

Deno.test("status: a healthy node on one screen", async (t) => {
  const outcome = await inspect("status", WELL);
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stderr, "");
  await t.assertSnapshot(outcome.stdout);
  const json = await inspect("status -o json", WELL);
  assert.deepEqual(findings(json), []);
  await t.assertSnapshot(JSON.parse(json.stdout));
});

Deno.test("status: without a daemon, from its snapshot and the kernel", async (t) => {
  const outcome = await inspect("status", { ...WELL, status: {}, files: snapshot() });
  assert.equal(outcome.code, 1);
  await t.assertSnapshot(outcome.stdout);
});

Deno.test("status: a node of flannel is judged by its kernel alone", async () => {
  const outcome = await inspect("status -o json", { facts: WELL.facts! });
  assert.deepEqual(findings(outcome), []);
  assert.equal(outcome.code, 0);
});

const down = vtep().map((fact) => fact.kind === "up" ? { ...fact, up: false } : fact);
const POLICY = { ...DAEMON.policy, state: "on", policies: 3, isolated: 1 } as const;
const left = { "another build": 3, "another netns": 1 };

const FAULTS: Readonly<Record<string, readonly [scene: Scene, findings: readonly string[]]>> = {
  "no peer of which the device's fault is not the cause": [
    { ...WELL, facts: [...uplink(), ...down, ...bridge(), ...RULES] },
    ["flannel.1 device-down"],
  ],
  "a missing VTEP stands for all peers": [
    { ...WELL, facts: [...uplink(), ...bridge(), ...RULES] },
    ["flannel.N no-vtep"],
  ],
  "a peer is missing": [
    { ...WELL, facts: [...uplink(), ...vtep(), ...bridge(), ...peer(2), ...RULES] },
    ["10.244.3.0/24 not-programmed"],
  ],
  "the MTU does not fit": [
    { ...WELL, facts: [...uplink(1400), ...vtep(), ...bridge(), ...peer(2), ...peer(3), ...RULES] },
    ["flannel.1 vtep-mtu"],
  ],
  "rules are gone": [{ ...WELL, facts: HEALTHY }, ["table inet twill rules-missing"]],
  "the daemon is not ready": [
    { ...WELL, status: answers({ ...DAEMON, reasons: ["waiting for a lease"] }) },
    ["daemon daemon-not-ready"],
  ],
  "the store is silent": [
    {
      ...WELL,
      status: answers({
        ...DAEMON,
        store: { name: "etcd", connected: false, problem: "connection refused", bad: [] },
      }),
    },
    ["etcd store-silent"],
  ],
  "the lease has ended": [
    { ...WELL, now: MEMORY.ends! + 1 },
    ["10.244.1.0/24 lease-ended"],
  ],
  "the kernel refused something": [
    {
      ...WELL,
      status: answers({
        ...DAEMON,
        pass: { ...DAEMON.pass!, own: [{ who: "this node", reason: "no" }] },
      }),
    },
    ["this node own-refused"],
  ],
  "every plugin call is left to the client": [
    { ...WELL, status: answers({ ...DAEMON, plugins: { listening: true, served: 0, left } }) },
    ["plugins plugins-not-served"],
  ],
  "plugin calls are not listened for": [
    {
      ...WELL,
      status: answers({ ...DAEMON, plugins: { listening: false, served: 0, left: {} } }),
    },
    ["plugins plugins-not-served"],
  ],
  "policies are not followed": [
    { ...WELL, status: answers({ ...DAEMON, policy: { ...POLICY, state: "degraded" } }) },
    ["policy policy-degraded"],
  ],
  "a policy cannot be enforced": [
    {
      ...WELL,
      status: answers({
        ...DAEMON,
        policy: { ...POLICY, faults: [{ policy: "default/p", reason: "endPort without port" }] },
      }),
    },
    ["default/p policy-unenforceable"],
  ],
  "policies are enforced": [{ ...WELL, status: answers({ ...DAEMON, policy: POLICY }) }, []],
  "some calls are left to the client": [
    { ...WELL, status: answers({ ...DAEMON, plugins: { listening: true, served: 1, left } }) },
    [],
  ],
};

for (const [name, [scene, expected]] of Object.entries(FAULTS)) {
  Deno.test(`status: ${name}`, async () => {
    const outcome = await inspect("status -o json", scene);
    assert.deepEqual(findings(outcome), expected);
    assert.equal(outcome.code, expected.length > 0 ? 1 : 0);
  });
}

Deno.test("status: what the plugins' calls were left for is told with what to do", async () => {
  const plugins = { listening: true, served: 0, left };
  const { stdout } = await inspect("status", {
    ...WELL,
    status: answers({ ...DAEMON, plugins }),
    now: NOW,
  });
  assert.match(stdout, /3 left to the client: another build; 1 left to the client: another netns/);
  assert.match(stdout, /to do: {2}the plugins are of another build .*: run twill install again/);
});

Deno.test("status: an empty machine says what is missing, and calls nothing of it ok", async () => {
  const { stdout } = await inspect("status", { facts: [], files: {} });
  assert.match(stdout, /^mtu +unknown +no overlay device, and no subnet file$/m);
  const outcome = await inspect("status -o json", { facts: [], files: {} });
  assert.deepEqual(findings(outcome), ["/run/flannel/subnet.env no-subnet-file"]);
  assert.equal(outcome.code, 1);
});
