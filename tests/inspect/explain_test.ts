import assert from "node:assert/strict";
import { COMMANDS } from "../../inspect/app.ts";
import { near, TOPICS } from "../../inspect/explain/topics.ts";
import { answers } from "./known.ts";
import { HEALTHY, inspect, type Scene } from "./scene.ts";

const WELL: Scene = { facts: HEALTHY, status: answers() };

Deno.test("explain: without a topic they are listed", async () => {
  const { code, stdout } = await inspect("explain", WELL);
  assert.equal(code, 0);
  for (const name of Object.keys(TOPICS)) assert.ok(stdout.includes(`\n${name} `), name);
  const names = await inspect("explain -o name", WELL);
  assert.equal(names.stdout, Object.keys(TOPICS).map((name) => `${name}\n`).join(""));
});

const VALUES: Readonly<Record<string, readonly RegExp[]>> = {
  "subnet.env": [/pods of this node +10\.244\.1\.0\/24$/m, /FLANNEL_MTU +1450$/m],
  lease: [/ends +in 23h$/m, /leases in all +3$/m],
  vxlan: [
    /VTEP +flannel\.1, 02:00:00:00:01:04$/m,
    /UDP port +8472$/m,
    /from 192\.0\.2\.1 by eth0$/m,
  ],
  fdb: [/node2 +02:00:00:00:02:04 is at 192\.0\.2\.2$/m],
  neighbour: [/node2 +10\.244\.2\.0 has 02:00:00:00:02:04$/m],
  routes: [/node2 +10\.244\.2\.0\/24 via 10\.244\.2\.0 dev flannel\.1 onlink$/m],
  bridge: [/gateway of the pods +10\.244\.1\.1\/24$/m, /ports +1$/m],
  mtu: [/eth0 1500 - 50 = 1450$/m, /pods +1450$/m],
  masquerade: [/addresses that stay +10\.244\.0\.0\/16$/m, /done by +the daemon$/m],
  "host-ports": [],
  cni: [/calls served by the daemon +4$/m, /the last one +5s ago$/m],
  policy: [/enforcement +off$/m],
  "host-gw": [/backend +vxlan$/m, /peers without encapsulation +0 of 2$/m],
};

for (const [name, { see, aliases = [] }] of Object.entries(TOPICS)) {
  Deno.test(`explain: ${name}, with this node's values, and without any`, async () => {
    const { code, stdout, stderr } = await inspect(`explain ${name}`, WELL);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    for (const value of VALUES[name]!) assert.match(stdout, value);
    for (const line of stdout.split("\n")) assert.ok(line.length <= 100, line);
    assert.doesNotMatch(stdout, /undefined|NaN|\[object/);
    for (const command of see) assert.ok(Object.hasOwn(COMMANDS, command), command);
    for (const alias of aliases) {
      assert.equal((await inspect(`explain ${alias}`, WELL)).stdout, stdout);
    }
    const empty = await inspect(`explain ${name}`, { facts: [], files: {} });
    assert.equal(empty.code, 0);
    assert.doesNotMatch(empty.stdout, /undefined|NaN|\[object/);
  });
}

Deno.test("explain: every command, with its help and its topics", async () => {
  for (const name of Object.keys(COMMANDS).filter((one) => !Object.hasOwn(TOPICS, one))) {
    const { code, stdout } = await inspect(`explain ${name}`, WELL);
    assert.equal(code, 0, name);
    assert.match(stdout, /^See:\n/m);
  }
  assert.match((await inspect("explain peers", WELL)).stdout, /^ {2}twill inspect explain fdb$/m);
});

for (
  const [word, meant] of [
    ["masqerade", "masquerade"],
    ["vxlam", "vxlan"],
    ["masqueradde", "masquerade"],
    ["routs", "routes"],
    ["xyzzy", undefined],
    ["__proto__", undefined],
  ] as const
) {
  Deno.test(`explain: ${word}: ${meant ?? "nothing"} was meant`, async () => {
    const { code, stdout, stderr } = await inspect(`explain ${word}`, WELL);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /^twill inspect explain: no topic or command "/);
    if (meant !== undefined) assert.ok(stderr.includes(`did you mean ${meant}`), stderr);
  });
}

Deno.test("near: of the same beginning, or two letters apart; short words one", () => {
  assert.deepEqual(near("mut", ["mtu", "cni", "fdb"]), []);
  assert.deepEqual(near("mt", ["mtu", "cni"]), ["mtu"]);
  assert.deepEqual(near("maskuerade", ["masquerade"]), ["masquerade"]);
});
