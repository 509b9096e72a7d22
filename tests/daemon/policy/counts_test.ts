import assert from "node:assert/strict";
import { NO_ENFORCEMENT } from "../../../engine/policy/status.ts";
import { noPolicies } from "../../../engine/policy/table.ts";
import { PolicyCounts } from "../../../daemon/policy/counts.ts";

Deno.test("metrics of policies: drops name the policies, and are bounded", () => {
  const counts = new PolicyCounts();
  counts.synced(0.004);
  counts.repaired();
  const table = {
    ...noPolicies(),
    chains: new Map([["in-1", {
      rules: ["known", "in/x/p", "in/x/q"].map((chain) => ({
        match: [],
        verdict: { kind: "jump", chain } as const,
      })),
    }]]),
  };
  const many = Array.from({ length: 60 }, (_, i) => [`out-${i}`, 100 - i] as const);
  const drops = new Map([["in-1", 1000], ["unknown", 0], ...many]);
  const lines = counts.text(NO_ENFORCEMENT, drops, table).split("\n");
  const dropped = lines.filter((line) => line.startsWith("twill_policy_dropped_packets_total{"));
  assert.equal(
    dropped[0],
    'twill_policy_dropped_packets_total{direction="ingress",policies="x/p x/q"} 1000',
  );
  assert.equal(dropped.length, 51);
  assert.match(dropped.at(-1) ?? "", /direction="any",policies="others"/);
  assert.ok(lines.includes('twill_policy_sync_seconds_bucket{le="0.005"} 1'));
  assert.ok(lines.includes("twill_policy_repairs_total 1"));
});

Deno.test("metrics of policies: the README tells all of them", () => {
  const readme = Deno.readTextFileSync(new URL("../../../README.md", import.meta.url));
  const page = new PolicyCounts().text(NO_ENFORCEMENT, new Map(), noPolicies());
  const names = [...page.matchAll(/^# TYPE (\w+) /gm)].map(([, name = ""]) => name);
  assert.equal(names.length, 9);
  for (const name of names) {
    const short = name.replace("twill_policy", "");
    assert.ok(readme.includes(`\`${name}\``) || readme.includes(`\`${short}\``), name);
  }
});
