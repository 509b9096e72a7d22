import assert from "node:assert/strict";
import { ENV_DUAL, HEALTHY, inspect, peer, peer6, route, uplink, vtep, vtep6 } from "./scene.ts";

Deno.test("routes: those to pods, said in words", async (t) => {
  const outcome = await inspect("routes");
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stderr, "");
  await t.assertSnapshot(outcome.stdout);
});

Deno.test("routes: every role has its words, with --all and wide", async (t) => {
  const [broken] = peer(4);
  const facts = [
    ...HEALTHY,
    broken,
    ...peer(5).slice(0, 2),
    route("10.244.6.0/24", "eth0", { gateway: "192.0.2.6", protocol: 146 }),
    route("10.244.7.7/32", "veth7"),
    route("10.244.8.0/24", undefined, { protocol: 186 }),
    route("10.244.0.0/16", undefined, { blackhole: true, protocol: 4, metric: 9 }),
    route("198.51.100.0/24", "eth0", { gateway: "192.0.2.77", protocol: 77 }),
  ];
  const outcome = await inspect("routes --all -o wide", { facts });
  assert.equal(outcome.code, 0);
  await t.assertSnapshot(outcome.stdout);
});

Deno.test("routes: JSON in both families", async (t) => {
  const facts = [...HEALTHY, ...vtep6(), ...peer6(2)];
  const outcome = await inspect("routes -o json", {
    facts,
    files: { "/run/flannel/subnet.env": ENV_DUAL },
  });
  assert.equal(outcome.code, 0);
  await t.assertSnapshot(JSON.parse(outcome.stdout));
});

Deno.test("routes: sorted by address, not by text", async () => {
  const facts = [...uplink(), ...vtep(), ...[9, 2].flatMap((n) => peer(n))].concat(
    route("10.244.10.0/24", "flannel.1", { gateway: "10.244.10.0", onlink: true }),
  );
  const outcome = await inspect("routes -o name", { facts });
  assert.equal(outcome.stdout, "10.244.2.0/24\n10.244.9.0/24\n10.244.10.0/24\n");
});

Deno.test("routes: without a subnet file those of overlay devices and the bridge", async () => {
  const facts = [...HEALTHY, route("10.244.7.7/32", "veth7")];
  const outcome = await inspect("routes -o name", { facts, files: {} });
  assert.equal(outcome.code, 0);
  assert.equal(outcome.stdout, "10.244.1.0/24\n10.244.2.0/24\n10.244.3.0/24\n");
});

Deno.test("routes: a node without any overlay gives exit code 3, but --all lists", async () => {
  const scene = { facts: uplink(), files: {} };
  assert.equal((await inspect("routes", scene)).code, 3);
  const all = await inspect("routes --all -o name", scene);
  assert.equal(all.code, 0);
  assert.equal(all.stdout, "0.0.0.0/0\n192.0.2.0/24\n");
});
