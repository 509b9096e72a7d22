/** `trace` with packets: what other nodes say, and what the kernel says of a real one. */

import assert from "node:assert/strict";
import type { TraceEvent } from "../../engine/trace/marked.ts";
import type { TraceTools } from "../../inspect/trace/tools.ts";
import { errors, load } from "./schema.ts";
import { inspect } from "./scene.ts";
import { far, node, traced } from "./trace_scene.ts";

Deno.test("trace --probe: the node that the packet leaves for tells the rest", async (t) => {
  const asked: string[] = [];
  const answer = await far("shop");
  const page = (url: string): Promise<string> => {
    asked.push(url);
    return Promise.resolve(answer);
  };
  const on = { ...node(), tools: { page } };
  const outcome = await inspect("trace web 10.244.2.7 80 --probe --health-port 9000", on);
  assert.deepEqual(asked, [
    "http://192.0.2.2:9000/trace?src=10.244.1.2&dst=10.244.2.7&protocol=tcp&port=80",
  ]);
  await t.assertSnapshot(`exit code ${outcome.code}\n${outcome.stdout}${outcome.stderr}`);
  const { stdout } = await inspect("trace web 10.244.2.7 80 --probe -o json", on);
  assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
});

Deno.test("trace --probe: where it fails there, the finding names the node", async () => {
  const answer = await far("10.244.1.77");
  const on = { ...node(), tools: { page: () => Promise.resolve(answer) } };
  const { code, findings } = await traced("web 10.244.2.7 80 --probe", on);
  assert.equal(code, 1);
  assert.deepEqual(findings, ["no-such-pod node2: cni0"]);
});

for (const text of [undefined, "", "{}", "<html>", '{"kind":"trace","items":[]}']) {
  Deno.test(`trace --probe: ${text ?? "silence"} is no answer, and exit code 3`, async () => {
    const on = { ...node(), tools: { page: () => Promise.resolve(text) } };
    const { code, stderr } = await inspect("trace web 10.244.2.7 80 --probe", on);
    assert.equal(code, 3);
    assert.match(stderr, /Cannot tell about node2: no daemon of twill answers on port 8081/);
  });
}

Deno.test("trace: without --probe nobody is asked", async () => {
  const page = (): never => {
    throw new Error("a packet was sent");
  };
  assert.equal((await inspect("trace web 10.244.2.7 80", { ...node(), tools: { page } })).code, 0);
});

const OWN = "inet twill-trace-1";
const event = (id: number, chain: string, more: Partial<TraceEvent> = {}): TraceEvent => ({
  id,
  table: OWN,
  chain,
  kind: "policy",
  verdict: "accept",
  ...more,
});

/** What the kernel told of a packet, and how it is said. */
const LIVE: Readonly<Record<string, readonly [events: readonly TraceEvent[], answered: boolean]>> =
  {
    "seen everywhere and answered": [[
      event(7, "begin-prerouting", { kind: "rule", verdict: "continue", iif: 5 }),
      event(7, "seen-prerouting", { iif: 5 }),
      event(7, "seen-forward", { iif: 5, oif: 9 }),
      event(7, "seen-postrouting", { oif: 9 }),
      event(8, "begin-output", { kind: "rule", verdict: "continue", oif: 2 }),
      event(8, "seen-postrouting", { oif: 2 }),
    ], true],
    "dropped by a rule": [[
      event(7, "seen-prerouting", { iif: 5 }),
      event(7, "c", { table: "inet fw", kind: "rule", verdict: "drop", handle: 4n }),
    ], false],
    "dropped by a policy": [[
      event(7, "seen-prerouting", { iif: 5 }),
      event(7, "c", { table: "ip fw", verdict: "drop" }),
    ], false],
    "no answer": [[event(7, "seen-postrouting", { oif: 9 })], false],
    "seen nowhere": [[], false],
  };

for (const [name, [events, answered]] of Object.entries(LIVE)) {
  Deno.test(`trace --live: ${name}`, async (t) => {
    const live: TraceTools["live"] = () => Promise.resolve({ table: OWN, events, answered });
    const ruleText: TraceTools["ruleText"] = (_table, _chain, handle) => `rule ${handle} drop`;
    const on = {
      ...node({ asked: () => ({ live, ruleText }) }),
      tools: { page: async () => await far("shop") },
    };
    const outcome = await inspect("trace web 10.244.2.7 80 --live --probe", on);
    assert.equal(outcome.code, answered ? 0 : 1);
    const at = outcome.stdout.indexOf("live:");
    await t.assertSnapshot(outcome.stdout.slice(at));
    const { stdout } = await inspect("trace web 10.244.2.7 80 --live --probe -o json", on);
    assert.deepEqual(errors(load("inspect_trace.json"), JSON.parse(stdout), "trace"), []);
  });
}

Deno.test("trace --live, check --probe: a right that is missing is named before anything is sent", async () => {
  for (const line of ["trace web 10.244.2.7 --live --probe", "check --probe"]) {
    const { code, stderr } = await inspect(line, { ...node(), rights: ["CAP_SYS_ADMIN"] });
    assert.equal(code, 3);
    assert.match(stderr, /this needs root, or CAP_NET_/);
  }
});

Deno.test("trace --live: sends only with --probe, and only from here", async () => {
  const without = await inspect("trace web 10.244.2.7 --live", node());
  assert.deepEqual([without.code, without.stdout], [2, ""]);
  assert.match(without.stderr, /say so with --probe/);
  const elsewhere = await inspect("trace 10.244.2.7 web --live --probe", node());
  assert.equal(elsewhere.code, 2);
  assert.match(elsewhere.stderr, /can send from a pod of this node/);
});
