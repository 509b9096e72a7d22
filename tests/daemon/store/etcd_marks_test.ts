import assert from "node:assert/strict";
import { formatMark, holderOf, type Mark, parseMark } from "../../../daemon/store/etcd_marks.ts";
import { parseCidr4, parseIp4 } from "../../../engine/ip.ts";

const US = { id: "0".repeat(32), name: "one" };
const OTHER = { id: "1".repeat(32), name: "two" };
const IP = parseIp4("10.0.2.15");
const SUBNET = parseCidr4("10.5.7.0/24");

Deno.test("marks: what is written is read", () => {
  const value = formatMark(US, IP);
  assert.equal(value, `{"node":"one","id":"${US.id}","publicIp":"10.0.2.15"}`);
  assert.deepEqual(parseMark({ value, lease: "7" }), { node: US, publicIp: IP, lease: "7" });
});

for (const value of ["", "{", "[]", "7", '{"node":"one"}', '{"id":7}', '{"id":"x","node":[]}']) {
  Deno.test(`marks: ${JSON.stringify(value)} is none`, () => {
    assert.equal(parseMark({ value, lease: "7" }), undefined);
  });
}

interface Row {
  readonly name: string;
  readonly mark?: Mark;
  /** The etcd lease of the lease's key; `0` makes it a reservation. */
  readonly lease?: string;
  readonly previous?: boolean;
  readonly want: "us" | "another" | undefined;
}

const ROWS: readonly Row[] = [
  { name: "without a mark nobody is certain", want: undefined },
  { name: "our id and name", mark: mark(US), want: "us" },
  { name: "another id and name", mark: mark(OTHER), want: "another" },
  {
    name: "another id and name, even if we had the subnet",
    mark: mark(OTHER),
    previous: true,
    want: "another",
  },
  {
    name: "our id under another name: a copied machine",
    mark: mark({ ...US, name: "two" }),
    want: "another",
  },
  {
    name: "our id under another name, with the subnet that we had: renamed",
    mark: mark({ ...US, name: "two" }),
    previous: true,
    want: "us",
  },
  { name: "another id under our name", mark: mark({ ...OTHER, name: "one" }), want: "another" },
  {
    name: "another id of our name, with the subnet that we had: we have lost our id",
    mark: mark({ ...OTHER, name: "one" }),
    previous: true,
    want: "us",
  },
  {
    name: "a mark bound to another etcd lease is a left-over",
    mark: mark(US, "8"),
    want: undefined,
  },
  {
    name: "a mark for another address is a left-over",
    mark: mark(US, "7", "10.0.2.16"),
    want: undefined,
  },
  { name: "a reservation that we hold", mark: mark(US, "8"), lease: "0", want: "us" },
  { name: "a reservation that another holds", mark: mark(OTHER, "8"), lease: "0", want: "another" },
  {
    name: "a reservation, held under our name: the machine was set up anew",
    mark: mark({ ...OTHER, name: "one" }, "8"),
    lease: "0",
    want: "us",
  },
];

function mark(node: Mark["node"], lease = "7", publicIp: string = IP): Mark {
  return { node, publicIp, lease };
}

for (const { name, mark, lease = "7", previous = false, want } of ROWS) {
  Deno.test(`holderOf: ${name}`, () => {
    const record = { key: "k", value: "", lease, modRevision: "1" };
    const claim = { subnet: SUBNET, publicIp: IP, reserved: lease === "0", record };
    assert.equal(holderOf(claim, mark, US, previous ? { subnet: SUBNET } : {}), want);
  });
}
