import assert from "node:assert/strict";
import { describe, slotOf, type VlanFact } from "../../engine/fact.ts";
import { plan } from "../../engine/plan.ts";
import { type PodVlans, vlanDevice, vlanFacts } from "../../engine/pod_vlan.ts";

const ROWS: readonly (readonly [PodVlans, readonly string[]])[] = [
  [{ access: 100, trunk: [], keepDefault: false }, ["dev v0 vid 100 pvid untagged"]],
  [{ trunk: [5], keepDefault: false }, ["dev v0 vid 1 pvid untagged", "dev v0 vid 5"]],
  [{ access: 5, trunk: [1, 5], keepDefault: true }, [
    "dev v0 vid 5 pvid untagged",
    "dev v0 vid 1",
  ]],
];

for (const [vlans, want] of ROWS) {
  Deno.test(`vlanFacts of ${JSON.stringify(vlans)}`, () => {
    assert.deepEqual(vlanFacts("v0", vlans).map(describe), want);
  });
}

Deno.test("a VLAN is a slot of its port, and goes with the port's link", () => {
  const [fact] = vlanFacts("v0", { access: 100, trunk: [], keepDefault: false });
  assert.ok(fact !== undefined);
  assert.equal(slotOf(fact), "vlan host v0 100");
  const link = { kind: "link", where: "host", name: "v0", driver: { kind: "veth" } } as const;
  const other = { ...link, driver: { kind: "bridge" } } as const;
  const { changes } = plan([other, fact], [link, fact], () => true);
  assert.deepEqual(changes.map(({ op, fact }) => `${op} ${fact.kind}`), [
    "delete link",
    "put link",
    "put vlan",
  ]);
});

Deno.test("a VLAN that is not tagged as wanted is changed, one that is not wanted goes", () => {
  const at = (id: number, pvid: boolean): VlanFact => ({
    kind: "vlan",
    where: "host",
    dev: "v0",
    id,
    pvid,
    untagged: pvid,
  });
  const { changes } = plan([at(7, true)], [at(1, true), at(7, false)], () => true);
  assert.deepEqual(changes.map(({ op, fact }) => `${op} ${describe(fact)}`), [
    "put dev v0 vid 7 pvid untagged",
    "delete dev v0 vid 1 pvid untagged",
  ]);
});

Deno.test("vlanDevice is named by bridge and VLAN", () => {
  assert.equal(vlanDevice("cni0", 100), "cni0.100");
});
