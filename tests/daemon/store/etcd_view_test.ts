import assert from "node:assert/strict";
import fc from "fast-check";
import type { EtcdRecord } from "../../../daemon/store/etcd_api.ts";
import { EtcdView } from "../../../daemon/store/etcd_view.ts";
import { leaseKey, leaseSubnets } from "../../../engine/lease.ts";

const FOLDER = "/n/subnets/";

function record(name: string, modRevision: number | string, ip = 1): EtcdRecord {
  const value = `{"PublicIP":"192.168.0.${ip}","PublicIPv6":null,"BackendType":"vxlan"}`;
  return { key: FOLDER + name, value, lease: "7", modRevision: String(modRevision) };
}

/** The records, and the names that count. */
const ROWS: readonly (readonly [what: string, records: readonly EtcdRecord[], want: string[]])[] = [
  [
    "the dual-stack key, when it was written later",
    [record("10.5.1.0-24", 5), record("10.5.1.0-24&fc00::-64", 7, 2)],
    ["10.5.1.0-24&fc00::-64"],
  ],
  [
    "the IPv4 key, when it was written later",
    [record("10.5.1.0-24", 10), record("10.5.1.0-24&fc00::-64", 9, 2)],
    ["10.5.1.0-24"],
  ],
  [
    "a revision with more digits than a number holds",
    [
      record("10.5.1.0-24", "90071992547409931"),
      record("10.5.1.0-24&fc00::-64", "90071992547409930"),
    ],
    ["10.5.1.0-24"],
  ],
  [
    "the later one of two with one IPv6 subnet",
    [record("10.5.1.0-24&fc00::-64", 5), record("10.5.2.0-24&fc00::-64", 7)],
    ["10.5.2.0-24&fc00::-64"],
  ],
  [
    "one that is outdated itself takes nobody's place",
    [
      record("10.5.1.0-24", 5),
      record("10.5.1.0-24&fc00::-64", 7),
      record("10.5.2.0-24&fc00::-64", 9),
    ],
    ["10.5.1.0-24", "10.5.2.0-24&fc00::-64"],
  ],
  ["both, when no subnet is the same", [record("10.5.1.0-24", 5), record("10.5.1.0-25", 7)], [
    "10.5.1.0-24",
    "10.5.1.0-25",
  ]],
];
for (const [what, records, want] of ROWS) {
  Deno.test(`EtcdView: of keys with one subnet counts ${what}`, () => {
    for (const order of [records, records.toReversed()]) {
      const view = new EtcdView(FOLDER, () => {});
      view.replace(order);
      const { leases, bad } = view.contents();
      assert.deepEqual(leases.map(leaseKey).sort(), want);
      assert.equal(bad.length, records.length - want.length);
    }
  });
}

Deno.test("EtcdView: an outdated key is told once, and counts again when the other is gone", () => {
  const told: string[] = [];
  const view = new EtcdView(FOLDER, ({ key, reason }) => told.push(`${key}: ${reason}`));
  view.replace([record("10.5.1.0-24", 5), record("10.5.1.0-24&fc00::-64", 7, 2)]);
  for (let i = 0; i < 3; i++) {
    view.apply([{ kind: "put", record: record("10.5.3.0-24", 10 + i) }]);
    assert.equal(view.contents().leases.length, 2);
  }
  assert.deepEqual(told, [
    "/n/subnets/10.5.1.0-24: /n/subnets/10.5.1.0-24&fc00::-64 has 10.5.1.0/24, and was written later",
  ]);
  const before = view.contents().leases[0];
  view.apply([{ kind: "put", record: record("10.5.1.0-24", 20) }]);
  assert.deepEqual(view.contents().leases.map((lease) => lease.publicIp).sort()[0], "192.168.0.1");
  view.apply([{ kind: "delete", key: `${FOLDER}10.5.1.0-24` }]);
  assert.deepEqual(view.contents().bad, []);
  assert.equal(view.contents().leases[0], before, "the same object");
});

Deno.test("property: no two leases of a view have one subnet, in whatever order they come", () => {
  const name = fc.tuple(fc.nat(3), fc.option(fc.nat(3))).map(([x, y]) =>
    `10.5.${x}.0-24${y === null ? "" : `&fc00:0:0:${y + 1}::-64`}`
  );
  fc.assert(
    fc.property(
      fc.uniqueArray(name, { maxLength: 12 }),
      fc.infiniteStream(fc.nat()),
      (names, keys) => {
        const records = names.map((one, i) => record(one, i + 1));
        const shuffled = records.map((one) => [keys.next().value, one] as const)
          .sort(([a], [b]) => a - b).map(([, one]) => one);
        const seen = [records, shuffled].map((some) => {
          const view = new EtcdView(FOLDER, () => {});
          view.replace(some);
          const { leases, bad } = view.contents();
          assert.equal(leases.length + bad.length, names.length);
          const subnets = leases.flatMap(leaseSubnets);
          assert.equal(new Set(subnets).size, subnets.length);
          return leases.map(leaseKey).sort();
        });
        assert.deepEqual(seen[0], seen[1]);
      },
    ),
  );
});
