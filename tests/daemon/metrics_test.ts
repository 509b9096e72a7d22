import assert from "node:assert/strict";
import { metricsText } from "../../daemon/metrics.ts";
import { NodeState } from "../../daemon/state.ts";
import { Log } from "../../daemon/log.ts";
import type { Report } from "../../daemon/converge.ts";

const REPORT: Report = {
  peers: 3,
  programmed: 1,
  refused: [{ who: "10.0.2.0-24", reason: "no" }],
  bad: [{ who: "10.0.3.0-24", reason: "bad" }],
  own: [],
  changes: [{ op: "delete", fact: { kind: "up", where: "host", dev: "x", up: true } }],
};

function books(): { readonly state: NodeState; readonly lines: string[] } {
  const lines: string[] = [];
  const log = new Log({ write: (line) => lines.push(line), now: () => new Date(0) });
  return { state: new NodeState(log, () => lines.push("ready called\n")), lines };
}

Deno.test("metricsText: the page", async (t) => {
  const { state } = books();
  state.passed({ report: REPORT, cause: "start", kind: "start", took: 3 });
  state.passed({ report: REPORT, cause: "a route changed", kind: "look", took: 700 });
  const store = { connected: true, bad: 2, gaps: 1, leaseEnds: 90_000 };
  const page = metricsText({
    ready: true,
    counts: state.counts,
    report: state.report,
    store,
    packets: { sent: 5, unreachable: 1 },
    now: 30_000,
    version: "0.1.0",
    commit: 'a"b',
  });
  await t.assertSnapshot(page);
});

Deno.test("NodeState: each refusal is logged once, and its end too", () => {
  const { state, lines } = books();
  const pass = (report: Report): void =>
    state.passed({ report, cause: "c", kind: "changed", took: 1 });
  pass(REPORT);
  pass(REPORT);
  pass({ ...REPORT, refused: [], changes: [] });
  const told = lines.filter((line) => line.includes("10.0.2.0-24"));
  assert.deepEqual(told.map((line) => line.replace(/^\S+ +\S+ +/, "")), [
    "Not programmed who=10.0.2.0-24 reason=no\n",
    "Programmed at last who=10.0.2.0-24\n",
  ]);
});

Deno.test("NodeState: ready is told once; what is undone keeps the probe at no", () => {
  const { state, lines } = books();
  const store = { connected: true, bad: 0, gaps: 0 };
  assert.deepEqual(state.health("etcd", store).reasons, ["waiting for the network configuration"]);
  state.waitingFor = undefined;
  state.waitingFor = undefined;
  assert.equal(lines.filter((line) => line === "ready called\n").length, 1);
  assert.deepEqual(state.health("etcd", store).reasons, []);
  state.passed({
    report: { ...REPORT, own: [{ who: "this node", reason: "no device" }] },
    cause: "c",
    kind: "look",
    took: 1,
  });
  assert.deepEqual(state.health("etcd", store).reasons, ["this node: no device"]);
  state.trouble("pass", new Error("etcd is away"));
  assert.deepEqual(state.health("etcd", store).reasons, ["etcd is away", "this node: no device"]);
  state.solved("pass");
  assert.match(
    state.health("etcd", { ...store, remembered: 0 }).reasons[0] ?? "",
    /follows the snapshot of 1970-01-01/,
  );
});
