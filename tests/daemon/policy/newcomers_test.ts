import assert from "node:assert/strict";
import { type Ip, parseIp } from "../../../engine/ip.ts";
import { PolicyCompiler } from "../../../engine/policy/compile.ts";
import type { Pod } from "../../../engine/policy/model.ts";
import { readPod } from "../../../engine/policy/read_objects.ts";
import { Newcomers } from "../../../daemon/policy/newcomers.ts";

const IP = parseIp("10.0.0.1");

function pod(name: string, uid: string, ips: readonly Ip[], more: object = {}): Pod {
  return readPod({
    metadata: { name, namespace: "x", uid, ...more },
    spec: { nodeName: "n1" },
    status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })) },
  });
}

function compilerWith(...pods: readonly Pod[]): PolicyCompiler {
  const compiler = new PolicyCompiler("n1");
  compiler.update({ pods: new Map(pods.map((one) => [`x/${one.name}`, one])) });
  return compiler;
}

Deno.test("newcomers: a placement lasts until the API says the same of the same pod", () => {
  const newcomers = new Newcomers(() => 0);
  newcomers.place({ namespace: "x", name: "p", uid: "2", ips: [IP] });
  const settled = (...pods: readonly Pod[]): boolean => {
    newcomers.settle(compilerWith(...pods), "n1");
    return newcomers.placed.size === 0;
  };
  assert.equal(settled(), false, "not known");
  assert.equal(settled(pod("p", "1", [IP])), false, "an earlier pod of that name");
  assert.equal(settled(pod("p", "2", [])), false, "no address yet");
  assert.equal(settled(pod("p", "2", [IP])), true);
});

Deno.test("newcomers: a pod that the API never shows is forgotten, one that is late is not", () => {
  let now = 0;
  const newcomers = new Newcomers(() => now);
  newcomers.place({ namespace: "x", name: "p", uid: "", ips: [IP] });
  now = 59_000;
  newcomers.settle(compilerWith(), "n1");
  assert.equal(newcomers.placed.size, 1);
  now = 61_000;
  newcomers.settle(compilerWith(), "n1");
  assert.equal(newcomers.placed.size, 0);
});

Deno.test("newcomers: an address is held until its pod is known, or it goes to another", () => {
  const newcomers = new Newcomers(() => 0);
  newcomers.place({ namespace: "x", name: "p", uid: "2", ips: [IP] });
  newcomers.hold([IP]);
  newcomers.settle(compilerWith(pod("p", "1", [IP])), "n1");
  assert.deepEqual([...newcomers.held], [IP], "an earlier pod of that name");
  newcomers.settle(compilerWith(pod("p", "2", [])), "n1");
  assert.deepEqual([...newcomers.held], []);
  newcomers.hold([IP]);
  newcomers.place({ namespace: "x", name: "q", uid: "3", ips: [IP] });
  assert.deepEqual([...newcomers.held], []);
});

Deno.test("newcomers: what another run held is let go when a pod of this node shows the address", () => {
  const newcomers = new Newcomers(() => 0);
  newcomers.hold([IP]);
  newcomers.settle(compilerWith(), "n1");
  assert.equal(newcomers.held.size, 1);
  newcomers.settle(
    compilerWith(pod("p", "1", [IP], { deletionTimestamp: "2026-01-01T00:00:00Z" })),
    "n1",
  );
  assert.equal(newcomers.held.size, 1, "one that goes is not the one that came");
  newcomers.settle(compilerWith(pod("p", "1", [IP])), "elsewhere");
  assert.equal(newcomers.held.size, 1, "a pod of another node");
  newcomers.settle(compilerWith(pod("p", "1", [IP])), "n1");
  assert.equal(newcomers.held.size, 0);
});
