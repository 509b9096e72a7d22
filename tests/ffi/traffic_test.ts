import fc from "fast-check";
import assert from "node:assert/strict";
import { OpError } from "../../engine/errors.ts";
import { Writer } from "../../ffi/netlink/codec.ts";
import { Flag, writeMessage } from "../../ffi/netlink/message.ts";
import type { Request } from "../../ffi/netlink/socket.ts";
import {
  readTraffic,
  type TrafficMessage,
  writeTraffic,
} from "../../ffi/netlink/traffic_control.ts";
import {
  ingressRequest,
  limitRequest,
  redirectRequest,
  unlimitRequest,
} from "../../ffi/traffic.ts";
import { hex, unhex } from "./wire.ts";

/** The indexes that the kernel gave v0 and ifb9 in an empty namespace. */
const [V0, IFB9] = [3, 4];

/**
 * What `tc` (iproute2 6.1.0) sends, by `strace -e trace=sendmsg -e write=all`, in a namespace with
 * `ip link add v0 type veth peer name v1; ip link add ifb9 type ifb`. Sequence numbers are zero.
 */
const GOLDEN: readonly (readonly [command: string, request: Request, bytes: string])[] = [
  [
    "tc qdisc add dev v0 handle ffff: ingress",
    ingressRequest("put", V0),
    `30000000 24000506 00000000 00000000  nlmsghdr
     00000000 03000000 0000ffff f1ffffff 00000000  tcmsg
     0c000100 696e6772 65737300  TCA_KIND ingress`,
  ],
  [
    "tc qdisc del dev v0 ingress",
    ingressRequest("delete", V0),
    `30000000 25000500 00000000 00000000  nlmsghdr
     00000000 03000000 0000ffff f1ffffff 00000000  tcmsg
     0c000100 696e6772 65737300  TCA_KIND ingress`,
  ],
  [
    "tc qdisc del dev v0 root",
    unlimitRequest(V0),
    `24000000 25000500 00000000 00000000  nlmsghdr
     00000000 03000000 00000000 ffffffff 00000000  tcmsg`,
  ],
  [
    "tc filter add dev v0 parent ffff: protocol all pref 1 u32 match u32 0 0 " +
    "action mirred egress redirect dev ifb9",
    redirectRequest(V0, IFB9),
    `8c000000 2c000506 00000000 00000000  nlmsghdr
     00000000 03000000 00000000 0000ffff 00030100  tcmsg: pref 1 protocol all
     08000100 75333200  TCA_KIND u32
     60000200  TCA_OPTIONS
     38000700 34000100  TCA_U32_ACT, the first
     0b000100 6d697272 65640000  TCA_ACT_KIND mirred
     24000280 20000200  TCA_ACT_OPTIONS, TCA_MIRRED_PARMS
     00000000 00000000 04000000 00000000 00000000 01000000 04000000  stolen, redirected to 4
     24000500 01000100 00000000 00000000 00000000  TCA_U32_SEL: terminal, one key
     00000000 00000000 00000000 00000000  any packet`,
  ],
];

function onTheWire({ type, flags, body }: Request): Uint8Array {
  const out = new Writer();
  const header = { type, flags: Flag.REQUEST | Flag.ACK | flags, sequence: 0 };
  writeMessage(out, header, () => body(out));
  return out.bytes();
}

for (const [command, request, bytes] of GOLDEN) {
  Deno.test(`we send what ${command} sends`, () => {
    assert.equal(hex(onTheWire(request)), hex(unhex(bytes)));
  });
}

Deno.test("we send what tc qdisc add dev v0 root tbf sends, but for its tables", () => {
  // tc qdisc add dev v0 handle 1: root tbf rate 1mbit burst 10000 latency 25ms
  const head = "00000000 03000000 00000100 ffffffff 00000000  08000100 74626600";
  const parameters = `03 01 0000 ffff 0000 48e80100  cell_log, ethernet, cell_align, 125000 B/s
     00 00 0000 0000 0000 00000000  no peak rate
     45330000 d0121300 00000000  limit 13125, buffer 1250000 ticks`;
  // The kernel needs cell_log and cell_align only with TCA_TBF_RTAB, a table of times by packet
  // size, which it has not used since 3.8. TCA_TBF_BURST repeats the burst in bytes.
  const ours = parameters.replace("03 01 0000 ffff", "00 01 0000 0000");
  const request = limitRequest(V0, { rate: 125_000, limit: 13_125, buffer: 1_250_000 });
  const want = `58000000 24000506 00000000 00000000
     ${head.replace("  ", "")}
     2c000200 28000100
     ${ours}`;
  assert.equal(hex(onTheWire(request)), hex(unhex(want)));
});

Deno.test("limitRequest: from 4 GiB a second on the rate has 64 bits", () => {
  const of = (rate: number): TrafficMessage => {
    const message = onTheWire(limitRequest(V0, { rate, limit: 1, buffer: 2 }));
    return readTraffic(message.subarray(16));
  };
  assert.equal(of(2 ** 32 - 1).tbf?.rate64, undefined);
  assert.equal(of(2 ** 32 - 1).tbf?.parameters?.rate, 2 ** 32 - 1);
  assert.equal(of(5e9).tbf?.rate64, 5e9);
  assert.equal(of(5e9).tbf?.parameters?.rate, 2 ** 32 - 1);
});

/** An object of numbers, each as wide as its member; as literals make them. */
function numbers(widths: Readonly<Record<string, number>>): fc.Arbitrary<Record<string, number>> {
  const members = Object.entries(widths).map(([name, bits]) =>
    [name, bits < 0 ? fc.integer() : fc.nat(2 ** bits - 1)] as const
  );
  return fc.record(Object.fromEntries(members), { noNullPrototype: true });
}

const head = numbers({ family: 8, index: -1, handle: 32, parent: 32, info: 32 });
const rest = fc.option(
  fc.array(
    fc.record({
      type: fc.integer({ min: 3, max: 0x3fff }),
      bytes: fc.uint8Array({ maxLength: 20 }),
    }, {
      noNullPrototype: true,
    }),
    { minLength: 1, maxLength: 2 },
  ),
  { nil: undefined },
);
const tbf = fc.record({
  parameters: numbers({
    cellLog: 8,
    linkLayer: 8,
    rate: 32,
    peakRate: 32,
    limit: 32,
    buffer: 32,
    mtu: 32,
  }),
  rate64: fc.maxSafeNat(),
}, { requiredKeys: [], noNullPrototype: true });
const mirred = fc.record({
  parameters: numbers({ index: 32, action: -1, direction: -1, target: 32 }),
}, { noNullPrototype: true });
const action = fc.oneof(
  fc.constant({ kind: "gact" }),
  fc.record({ kind: fc.constant("mirred"), mirred }, { noNullPrototype: true }),
);
const selection = fc.record({
  selector: numbers({ flags: 8, offsetShift: 8, keys: 8, offsetMask: 16, offset: 16 }),
  key: numbers({ mask: 32, value: 32, offset: -1, offsetMask: -1 }),
}, { requiredKeys: ["selector"], noNullPrototype: true });
const filter = fc.record({
  actions: fc.record({ first: action }, { noNullPrototype: true }),
  selection,
}, { requiredKeys: [], noNullPrototype: true });
const body = fc.oneof(
  fc.constantFrom({}, { kind: "noqueue" }, { kind: "ingress" }),
  fc.record({ kind: fc.constant("tbf"), tbf }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant("u32"), u32: filter }, { noNullPrototype: true }),
);

const encoded = fc.tuple(head, body, rest).map(([head, body, rest]) => {
  const value = { ...head, ...body, ...(rest === undefined ? {} : { rest }) } as TrafficMessage;
  const out = new Writer();
  writeTraffic(out, value);
  return { value, bytes: out.bytes().slice() };
});

/** Any outcome but a value and our own error is a bug. */
function valueOrOpError(bytes: Uint8Array): void {
  try {
    readTraffic(bytes);
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
  }
}

Deno.test("readTraffic gives back what writeTraffic wrote, and copies out of its buffer", () => {
  fc.assert(fc.property(encoded, ({ value, bytes }) => {
    assert.equal(bytes.length % 4, 0);
    const found = readTraffic(bytes);
    bytes.fill(0xff);
    assert.deepEqual(found, value);
  }));
});

Deno.test("readTraffic: any bytes, and damaged messages, give a value or an OpError", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), valueOrOpError));
  const damage = fc.record({ at: fc.nat(), byte: fc.nat(0xff) });
  const damages = fc.array(damage, { minLength: 1, maxLength: 6 });
  fc.assert(fc.property(encoded, damages, fc.nat(), ({ bytes }, damages, cut) => {
    for (const { at, byte } of damages) bytes[at % bytes.length] = byte;
    valueOrOpError(bytes);
    valueOrOpError(bytes.subarray(0, cut % bytes.length));
    valueOrOpError(bytes.subarray(cut % bytes.length));
  }));
});
