import assert from "node:assert/strict";
import { slotOf } from "../../engine/fact.ts";
import { parseCidr, parseIp } from "../../engine/ip.ts";
import { type Change, plan } from "../../engine/plan.ts";
import { Kernel, type Outcome } from "../../ffi/kernel.ts";
import { missing, shownFacts } from "./oracle.ts";
import { kernelTest, run, sh } from "./sandbox.ts";
import { dualVxlan, overlayWants, UNDERLAY, VTEPS } from "./wants.ts";

const PEERS = 5000;

function refused(outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ error }) => error === undefined ? [] : [error.message]);
}

/** Both families count as two peers each. */
kernelTest(`Kernel: ${PEERS} peers are put, found again, and taken away`, () => {
  sh(UNDERLAY);
  // 5,000 neighbours are more than a table holds by default; permanent ones are not counted.
  const backend = dualVxlan();
  const want = overlayWants(PEERS / 2);
  using kernel = Kernel.open();
  kernel.enlarge();
  const first = plan(want, kernel.read(backend.scope()), backend.ours());
  assert.ok(first.changes.length > 3 * PEERS);
  assert.deepEqual(refused(kernel.apply(first.changes)), []);

  const have = kernel.read(backend.scope());
  assert.deepEqual(plan(want, have, backend.ours()), { changes: [], conflicts: [] });
  // A sample is enough for the oracle: comparing all with all takes a minute.
  const shown = new Map(shownFacts(VTEPS).map((fact) => [slotOf(fact), fact]));
  for (const fact of want.filter((_, i) => i % 97 === 0)) {
    const found = shown.get(slotOf(fact));
    assert.deepEqual(missing([fact], found === undefined ? [] : [found]), []);
  }
  assert.equal(lines("ip", "route", "show", "proto", "146"), PEERS / 2);
  assert.equal(lines("ip", "-6", "route", "show", "proto", "146"), PEERS / 2);

  const rest = plan(overlayWants(2), have, backend.ours());
  assert.equal(rest.changes.length, 3 * (PEERS - 2 * 2));
  assert.deepEqual(refused(kernel.apply(rest.changes)), []);
  assert.equal(lines("ip", "route", "show", "proto", "146"), 2);
  assert.equal(lines("bridge", "fdb", "show", "dev", "flannel-v6.1"), 2);
});

function lines(program: string, ...args: string[]): number {
  return run(program, ...args).split("\n").filter((line) => line !== "").length;
}

kernelTest("Kernel: a thousand refusals with words fit the usual receive buffer", () => {
  sh(UNDERLAY);
  using kernel = Kernel.open();
  const changes = Array.from({ length: 1000 }, (_, i): Change => ({
    op: "put",
    fact: {
      kind: "route",
      where: "host",
      dst: parseCidr(`10.${i >> 8}.${i & 255}.0/24`),
      via: parseIp("203.0.113.1"),
      dev: "up0",
    },
  }));
  const errors = kernel.apply(changes).map(({ error }) => error?.kernel);
  assert.deepEqual(errors, changes.map(() => "Nexthop has invalid gateway"));
});
