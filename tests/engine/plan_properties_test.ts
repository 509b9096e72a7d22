import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, type Fact, slotOf } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { type Change, type Ours, plan, satisfies } from "../../engine/plan.ts";
import { FakeKernel } from "./fake_kernel.ts";
import * as any from "./facts.ts";

const everything: Ours = () => true;
const nothing: Ours = () => false;

function words(changes: readonly Change[]): string[] {
  return changes.map(({ op, fact }) => `${op} ${fact.where} ${fact.kind} ${describe(fact)}`);
}

Deno.test("plan(x, x) is empty, whosever x is", () => {
  fc.assert(fc.property(any.facts, (facts) => {
    for (const ours of [everything, nothing]) {
      assert.deepEqual(plan(facts, facts, ours), { changes: [], conflicts: [] });
    }
  }));
});

Deno.test("plan: each wanted fact is there, put, or in conflict; never two of these", () => {
  fc.assert(fc.property(any.facts, any.facts, fc.boolean(), (want, have, isOurs) => {
    const { changes, conflicts } = plan(want, have, isOurs ? everything : nothing);
    for (const fact of want) {
      const found = have.find((h) => slotOf(h) === slotOf(fact));
      const puts = changes.filter((c) => c.op === "put" && c.fact === fact).length;
      const stands = conflicts.filter((c) => c.want === fact).length;
      const there = found !== undefined && satisfies(found, fact);
      assert.ok(puts + stands === 1 || (there && puts + stands === 0));
    }
  }));
});

Deno.test("plan: nothing foreign is deleted or replaced", () => {
  const mixed = fc.tuple(any.facts, any.facts, fc.func(fc.boolean()));
  fc.assert(fc.property(mixed, ([want, have, choose]) => {
    const ours: Ours = (fact) => choose(slotOf(fact));
    for (const change of plan(want, have, ours).changes) {
      if (change.op === "delete") assert.ok(ours(change.fact));
      const { fact } = change;
      if (change.op === "delete" || change.had === undefined) continue;
      const isSetting = fact.kind === "sysctl" || fact.kind === "up";
      const isAdopted = change.had.kind === "route" && fact.kind === "route" &&
        satisfies({ ...change.had, protocol: fact.protocol ?? 0 }, fact);
      assert.ok(isSetting || isAdopted || ours(change.had), describe(change.had));
    }
  }));
});

Deno.test("plan: what is ours and not wanted is deleted, after all puts", () => {
  fc.assert(fc.property(any.facts, any.facts, (want, have) => {
    const { changes } = plan(want, have, everything);
    const wanted = new Set(want.map(slotOf));
    const renewed = changes.filter((c) => c.op === "delete" && wanted.has(slotOf(c.fact)));
    assert.ok(renewed.every((c) => c.fact.kind === "link"));
    const last = changes.findLastIndex((c) => c.op === "put");
    const rest = changes.filter((c) => c.op === "delete" && !renewed.includes(c));
    assert.ok(rest.every((c) => changes.indexOf(c) > last));
  }));
});

/** Things on the node that are none of our business. */
const FOREIGN: readonly Fact[] = [
  { kind: "link", where: "host", name: "eth1", driver: { kind: "other", name: "" } },
  { kind: "link", where: "host", name: "docker0", driver: { kind: "bridge" } },
  { kind: "up", where: "host", dev: "docker0", up: true },
  { kind: "address", where: "host", dev: "docker0", inet: parseInet("172.17.0.1/16") },
  {
    kind: "route",
    where: "host",
    dst: parseCidr("0.0.0.0/0"),
    via: parseIp("192.0.2.254"),
    dev: "up0",
  },
  {
    kind: "route",
    where: "host",
    dst: parseCidr("10.244.200.0/24"),
    via: parseIp("192.0.2.9"),
    dev: "up0",
  },
  {
    kind: "neighbour",
    where: "host",
    dev: "up0",
    ip: parseIp("192.0.2.9"),
    mac: parseMac("02:00:00:00:00:09"),
  },
  { kind: "rules", where: "host", table: "ip docker", text: "table ip docker {\n}\n" },
];

function underlay(): FakeKernel {
  const kernel = new FakeKernel();
  const { name, addresses } = any.UNDERLAY;
  kernel.give(
    { kind: "link", where: "host", name, driver: { kind: "other", name: "" } },
    { kind: "address", where: "host", dev: name, inet: parseInet(`${addresses[4]}/24`) },
    { kind: "address", where: "host", dev: name, inet: parseInet(`${addresses[6]}/64`) },
    { kind: "up", where: "host", dev: name, up: true },
    ...FOREIGN,
  );
  return kernel;
}

/** One pass: reads, plans, applies. Every change must be accepted, and nothing be left to do. */
function converge(kernel: FakeKernel, { backend, want }: any.World): readonly Change[] {
  const { changes, conflicts } = plan(want, kernel.read(), backend.ours());
  assert.deepEqual(conflicts, []);
  const refused = kernel.apply(changes).flatMap((refusal, i) =>
    refusal === undefined ? [] : [`${words(changes)[i]}: ${refusal}`]
  );
  assert.deepEqual(refused, []);
  const have = new Map(kernel.read().map((fact) => [slotOf(fact), fact]));
  for (const fact of want) {
    const found = have.get(slotOf(fact));
    assert.ok(found !== undefined && satisfies(found, fact), `${describe(fact)} in\n${kernel}`);
  }
  assert.deepEqual(words(plan(want, kernel.read(), backend.ours()).changes), []);
  for (const fact of FOREIGN) assert.ok(`${kernel}`.includes(describe(fact)), describe(fact));
  return changes;
}

/** What may befall a node from outside. */
const damage: fc.Arbitrary<Change> = fc.oneof(
  any.fact.map((fact): Change => ({ op: "put", fact })),
  fc.constantFrom<Change>(
    { op: "put", fact: { kind: "up", where: "host", dev: "flannel.1", up: false } },
    { op: "put", fact: { kind: "up", where: "host", dev: "flannel-v6.1", up: false } },
    {
      op: "delete",
      fact: { kind: "link", where: "host", name: "flannel.1", driver: { kind: "bridge" } },
    },
    {
      op: "delete",
      fact: { kind: "address", where: "host", dev: "flannel.1", inet: parseInet("10.244.1.0/32") },
    },
  ),
);

Deno.test("plan: an overlay is there after one pass, whatever it was before", () => {
  fc.assert(fc.property(fc.array(any.world, { minLength: 1, maxLength: 4 }), (worlds) => {
    const kernel = underlay();
    for (const world of worlds) converge(kernel, world);
  }));
});

Deno.test("plan: an overlay is whole after one pass, whatever befell it", () => {
  const lost = fc.array(fc.nat(), { maxLength: 6 });
  fc.assert(
    fc.property(any.world, lost, fc.array(damage, { maxLength: 4 }), (world, lost, more) => {
      const kernel = underlay();
      converge(kernel, world);
      const { want } = world;
      for (const i of lost) {
        const fact = want[i % want.length] as Fact;
        if (fact.kind !== "up" && fact.kind !== "sysctl") kernel.apply([{ op: "delete", fact }]);
      }
      // Only what hits our own devices; the rest is not ours to repair.
      kernel.apply(
        more.filter(({ fact }) =>
          fact.where === "host" && "dev" in fact && fact.dev?.startsWith("flannel") === true &&
          fact.kind !== "route" && fact.kind !== "port"
        ),
      );
      converge(kernel, world);
    }),
  );
});

Deno.test("plan: no route before its neighbour and its FDB entry", () => {
  fc.assert(fc.property(any.world, (world) => {
    const changes = converge(underlay(), world);
    const at = (found: (fact: Fact) => boolean): number =>
      changes.findIndex(({ op, fact }) => op === "put" && found(fact));
    for (const [i, { fact }] of changes.entries()) {
      if (fact.kind !== "route") continue;
      const neighbour = changes[
        at((f) => f.kind === "neighbour" && f.dev === fact.dev && f.ip === fact.via)
      ];
      assert.ok(neighbour?.fact.kind === "neighbour");
      const { mac, dev } = neighbour.fact;
      const fdb = at((f) => f.kind === "fdb" && f.dev === dev && f.mac === mac);
      assert.ok(changes.indexOf(neighbour) < i);
      assert.ok(fdb >= 0 && fdb < i);
    }
  }));
});

Deno.test("plan: with a link that is made anew all that hung on it is put again", () => {
  fc.assert(fc.property(any.world, (world) => {
    const kernel = underlay();
    converge(kernel, world);
    for (const [i, fact] of world.want.entries()) {
      if (fact.kind !== "link" || fact.driver.kind !== "vxlan") continue;
      const driver = { ...fact.driver, port: 7777 };
      const want = world.want.with(i, { ...fact, driver });
      const { changes } = plan(want, kernel.read(), world.backend.ours());
      const hung = want.filter((f) => "dev" in f && f.dev === fact.name);
      const settings = want.filter((f) => f.kind === "sysctl" && f.key.includes(`/${fact.name}/`));
      assert.deepEqual(
        changes.map((c) => c.op),
        ["delete", "put", ...[...hung, ...settings].map(() => "put")],
      );
      assert.ok([...hung, ...settings].every((f) => changes.some((c) => c.fact === f)));
      converge(kernel, { ...world, want });
      break;
    }
  }));
});
