/** Netfilter's messages: numbers against the C headers, and the codec against any bytes. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { OpError } from "../../engine/errors.ts";
import { type Fields, Writer } from "../../ffi/netlink/codec.ts";
import * as ct from "../../ffi/netlink/conntrack.ts";
import * as nf from "../../ffi/netlink/netfilter.ts";
import { ip } from "../engine/arbitraries.ts";

type Row = readonly [expression: string, ours: number];

function numbers<T extends Fields>(table: T, names: Readonly<Record<keyof T, string>>): Row[] {
  return Object.entries(table).map(([name, { type }]) => [names[name] ?? "", type]);
}

const ROWS: readonly Row[] = [
  ["NETLINK_NETFILTER", nf.NETLINK_NETFILTER],
  ["sizeof(struct nfgenmsg)", nf.NFGENMSG.size],
  ["offsetof(struct nfgenmsg, nfgen_family)", nf.NFGENMSG.members.family.at],
  ["offsetof(struct nfgenmsg, version)", nf.NFGENMSG.members.version.at],
  ["offsetof(struct nfgenmsg, res_id)", nf.NFGENMSG.members.resource.at],
  ...Object.entries(nf.NfProto).map(([name, ours]): Row => [`NFPROTO_${name}`, ours]),
  ...Object.entries(nf.Subsystem).map(([name, ours]): Row => [`NFNL_SUBSYS_${name}`, ours]),
  ...Object.entries(nf.NftMessage).map(([name, ours]): Row => [`NFT_MSG_${name}`, ours]),
  ...numbers(nf.NFT_TABLE, { name: "NFTA_TABLE_NAME" }),
  ...numbers(nf.NFT_OBJ, {
    table: "NFTA_OBJ_TABLE",
    name: "NFTA_OBJ_NAME",
    type: "NFTA_OBJ_TYPE",
    data: "NFTA_OBJ_DATA",
  }),
  ...numbers(nf.NFT_COUNTER, { packets: "NFTA_COUNTER_PACKETS" }),
  ...numbers(nf.NFT_CHAIN, { table: "NFTA_CHAIN_TABLE", name: "NFTA_CHAIN_NAME" }),
  ["NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW", ct.ConntrackMessage.NEW],
  ["NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET", ct.ConntrackMessage.GET],
  ["NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE", ct.ConntrackMessage.DELETE],
  ...numbers(ct.CONNTRACK, {
    original: "CTA_TUPLE_ORIG",
    mark: "CTA_MARK",
    id: "CTA_ID",
    zone: "CTA_ZONE",
    markMask: "CTA_MARK_MASK",
    filter: "CTA_FILTER",
  }),
  ...numbers(ct.CT_TUPLE, {
    addresses: "CTA_TUPLE_IP",
    proto: "CTA_TUPLE_PROTO",
    zone: "CTA_TUPLE_ZONE",
  }),
  ...numbers(ct.CT_PROTO, {
    number: "CTA_PROTO_NUM",
    sourcePort: "CTA_PROTO_SRC_PORT",
    destinationPort: "CTA_PROTO_DST_PORT",
  }),
  ...numbers(ct.CT_ADDRESSES, {
    source4: "CTA_IP_V4_SRC",
    destination4: "CTA_IP_V4_DST",
    source6: "CTA_IP_V6_SRC",
    destination6: "CTA_IP_V6_DST",
  }),
  ...numbers(ct.CT_FILTER, { original: "CTA_FILTER_ORIG_FLAGS" }),
];

const PROGRAM = `
#include <stddef.h>
#include <stdio.h>
#include <linux/netlink.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
int main(void) {
${ROWS.map(([expression]) => `  printf("%ld\\n", (long)(${expression}));`).join("\n")}
  return 0;
}
`;

Deno.test("netfilter: numbers are those of the C headers", () => {
  using undo = new DisposableStack();
  const folder = undo.adopt(
    Deno.makeTempDirSync({ prefix: "twill-headers-" }),
    (folder) => Deno.removeSync(folder, { recursive: true }),
  );
  Deno.writeTextFileSync(`${folder}/headers.c`, PROGRAM);
  const run = (command: string, ...args: string[]): string => {
    const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
    assert.ok(success, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  };
  run("gcc", "-Wall", "-o", `${folder}/headers`, `${folder}/headers.c`);
  const compiled = run(`${folder}/headers`).trim().split("\n").map(Number);
  assert.deepEqual(
    ROWS.map(([expression, ours]) => `${expression} is ${ours}`),
    ROWS.map(([expression], i) => `${expression} is ${compiled[i]}`),
  );
});

/** Objects as literals make them, so that they compare equal to what a decoder returns. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

const port = fc.nat(0xffff);
const proto = record({ number: fc.nat(0xff), sourcePort: port, destinationPort: port });
const message = fc.oneof(
  record({
    family: fc.constant(2),
    addresses: record({ source4: ip(4), destination4: ip(4) }),
    proto,
  }),
  record({
    family: fc.constant(10),
    addresses: record({ source6: ip(6), destination6: ip(6) }),
    proto,
  }),
).map(({ family, ...original }): ct.ConntrackRecord => ({
  family,
  attributes: { original, id: new Uint8Array([1, 2, 3, 4]) },
}));

function written(record: ct.ConntrackRecord): Uint8Array<ArrayBuffer> {
  const out = new Writer();
  ct.writeConntrack(out, record);
  return out.bytes().slice();
}

Deno.test("conntrack: what was written is read, and its key names the same connection", () => {
  fc.assert(fc.property(message, (record) => {
    const found = ct.readConntrack(written(record));
    assert.deepEqual(found.attributes, record.attributes);
    assert.deepEqual(ct.connectionKey(found), record);
  }));
});

Deno.test("conntrack: any bytes give a record or an OpError", () => {
  fc.assert(fc.property(message, fc.nat(), fc.nat(0xff), fc.nat(), (record, at, byte, cut) => {
    const bytes = written(record);
    bytes[at % bytes.length] = byte;
    for (const part of [bytes, bytes.subarray(cut % bytes.length)]) {
      try {
        ct.readConntrack(part);
      } catch (error) {
        if (!(error instanceof OpError)) throw error;
      }
    }
  }));
});

Deno.test("isOfFlow: family, protocol and original destination port must all fit", () => {
  const flow = { family: 2, protocol: 17, port: 53 };
  const found = (family: number, number: number, destinationPort: number): ct.ConntrackRecord => ({
    family,
    attributes: { original: { proto: { number, sourcePort: 53, destinationPort } } },
  });
  assert.equal(ct.isOfFlow(found(2, 17, 53), flow), true);
  for (const other of [found(10, 17, 53), found(2, 6, 53), found(2, 17, 54)]) {
    assert.equal(ct.isOfFlow(other, flow), false);
  }
  assert.equal(ct.isOfFlow({ family: 2, attributes: {} }, flow), false);
});

Deno.test("writeNftObject: a chain is asked for by its table and name", () => {
  const out = new Writer();
  nf.writeNftObject(out, { family: "ip6", table: "nat", chain: "C" });
  const hex = Array.from(out.bytes(), (byte) => byte.toString(16).padStart(2, "0")).join("");
  assert.equal(hex, "0a000000" + "080001006e617400" + "0600030043000000");
});
