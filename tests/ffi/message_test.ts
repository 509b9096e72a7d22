import assert from "node:assert/strict";
import fc from "fast-check";
import { OpError } from "../../engine/errors.ts";
import { Writer } from "../../ffi/netlink/codec.ts";
import {
  collect,
  Control,
  Flag,
  type Message,
  messages,
  readAnswer,
  writeMessage,
} from "../../ffi/netlink/message.ts";
import * as any from "./arbitraries.ts";
import { hex, unhex } from "./wire.ts";

const request = fc.record({
  type: fc.nat(0xffff),
  flags: fc.nat(0xffff),
  sequence: fc.nat(0xffffffff),
  body: any.bytes,
}, { noNullPrototype: true });

Deno.test("messages gives back what writeMessage wrote, one after the other", () => {
  fc.assert(fc.property(fc.array(request, { maxLength: 5 }), (requests) => {
    const out = new Writer();
    for (const header of requests) writeMessage(out, header, () => out.append(header.body));
    assert.equal(out.length % 4, 0);
    assert.deepEqual(
      [...messages(out.bytes())].map(({ port: _port, body, ...header }) => ({
        ...header,
        body: body.slice(),
      })),
      requests,
    );
  }));
});

const LENGTHS: readonly (readonly [what: string, bytes: string, error: RegExp])[] = [
  ["zero", "00000000 02000000 01000000 00000000", /message of 0 bytes where 16 are left/],
  ["below the header", "0f000000 02000000 01000000 00000000", /message of 15 bytes/],
  ["too large", "11000000 02000000 01000000 00000000", /message of 17 bytes where 16 are left/],
  ["negative as s32", "ffffffff 02000000 01000000 00000000", /message of 4294967295 bytes/],
];
for (const [what, bytes, error] of LENGTHS) {
  Deno.test(`messages: refuses a length that is ${what}`, () => {
    assert.throws(
      () => [...messages(unhex(bytes))],
      (e) => e instanceof OpError && error.test(e.message),
    );
  });
}

/** One received message. */
function received(bytes: string): Message {
  const [message, ...more] = [...messages(unhex(bytes))];
  assert.ok(message !== undefined && more.length === 0);
  return message;
}

// From `strace -e trace=recvmsg -e read=all` of the commands; sequence number and port are zero.
// `ip` takes the whole request back (no NETLINK_CAP_ACK) when it is refused.
Deno.test("readAnswer: ip link set lo up is acknowledged", () => {
  const message = received(`
    24000000 0200 0001 00000000 00000000  NLMSG_ERROR CAPPED
    00000000  error 0
    20000000 1000 0500 00000000 00000000  the request's header`);
  assert.deepEqual(readAnswer(message), { errno: 0 });
});

Deno.test("readAnswer: ip route add 10.1.5.0/24 via 10.9.9.9 dev lo is refused with words", () => {
  const message = received(`
    68000000 0200 0002 00000000 00000000  NLMSG_ERROR ACK_TLVS
    9bffffff  error -101
    34000000 1800 0506 00000000 00000000  the request
      02 18 00 00 fe 03 00 01 00000000 0800 0100 0a010500 0800 0500 0a090909 0800 0400 01000000
    2000 0100 4e657874686f702068617320696e76616c6964206761746577617900  NLMSGERR_ATTR_MSG`);
  assert.deepEqual(readAnswer(message), { errno: 101, words: "Nexthop has invalid gateway" });
});

/** An acknowledgement as the kernel makes it: with the request's header, or all of it. */
function acknowledgement(
  { errno, request, words, capped }: {
    errno: number;
    request: Uint8Array;
    words: string | undefined;
    capped: boolean;
  },
): Uint8Array<ArrayBuffer> {
  const out = new Writer();
  const tlvs = words === undefined ? 0 : Flag.ACK_TLVS;
  const flags = tlvs | (capped ? Flag.CAPPED : 0);
  writeMessage(out, { type: 2, flags, sequence: 7 }, () => {
    const at = out.reserve(4);
    out.view.setInt32(at, -errno, true);
    if (capped) out.view.setUint32(out.reserve(16), request.length + 16, true);
    else writeMessage(out, { type: 24, flags: 5, sequence: 7 }, () => out.append(request));
    if (words === undefined) return;
    const header = out.reserve(4);
    out.append(new TextEncoder().encode(`${words}\0`));
    out.view.setUint16(header, out.length - header, true);
    out.view.setUint16(header + 2, 1, true);
    out.align();
  });
  return out.bytes().slice();
}

const answer = fc.record({
  errno: fc.nat(4095),
  request: any.bytes,
  words: fc.option(fc.string({ minLength: 1 }).map((w) => w.replaceAll("\0", "")), {
    nil: undefined,
  }),
  capped: fc.boolean(),
});

Deno.test("readAnswer gives the error number and the kernel's words, capped or not", () => {
  fc.assert(fc.property(answer, (answer) => {
    const { errno, words } = answer;
    const [message] = [...messages(acknowledgement(answer))];
    assert.ok(message !== undefined);
    assert.deepEqual(readAnswer(message), words === undefined ? { errno } : { errno, words });
  }));
});

Deno.test("readAnswer: any bytes give an answer or an OpError", () => {
  const type = fc.constantFrom(2, 3);
  const flags = fc.constantFrom(0, Flag.CAPPED, Flag.ACK_TLVS, Flag.ACK_TLVS | Flag.CAPPED);
  const body = fc.uint8Array({ maxLength: 80 });
  const header = { sequence: 1, port: 0 };
  const check = (message: Message): void => {
    try {
      readAnswer(message);
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
    }
  };
  fc.assert(fc.property(type, flags, body, (type, flags, body) => {
    check({ ...header, type, flags, body });
  }));
  fc.assert(fc.property(answer, fc.nat(), fc.nat(0xff), (answer, at, byte) => {
    const bytes = acknowledgement(answer);
    const body = bytes.subarray(16);
    body[at % body.length] = byte;
    check({ ...header, type: 2, flags: Flag.ACK_TLVS, body });
  }));
});

Deno.test("readAnswer keeps nothing of its buffer", () => {
  const bytes = acknowledgement({
    errno: 22,
    request: new Uint8Array(),
    words: "no",
    capped: true,
  });
  const [message] = [...messages(bytes)];
  assert.ok(message !== undefined, hex(bytes));
  const found = readAnswer(message);
  bytes.fill(0);
  assert.deepEqual(found, { errno: 22, words: "no" });
});

/** Datagrams of messages: type, flags, sequence number, body in hexadecimal. */
function datagrams(
  ...list: readonly (readonly (readonly [number, number, number, string])[])[]
): () => Message[] {
  const left = list.map((datagram) =>
    datagram.map(([type, flags, sequence, body]) => ({
      type,
      flags,
      sequence,
      port: 0,
      body: unhex(body),
    }))
  );
  return () => left.shift() ?? assert.fail("asked for more than there is");
}

const NEWLINK = 16;

Deno.test("collect: a dump in two datagrams, and what others asked in between", () => {
  const reply = collect(
    datagrams(
      [[NEWLINK, Flag.MULTI, 7, "01"], [NEWLINK, 0, 0, "ee"]],
      [],
      [[Control.DONE, Flag.MULTI, 6, "eaffffff"]],
      [[NEWLINK, Flag.MULTI, 7, "02"], [Control.DONE, Flag.MULTI, 7, "00000000"]],
    ),
    7,
  );
  assert.deepEqual(reply, {
    errno: 0,
    bodies: [Uint8Array.of(1), Uint8Array.of(2)],
    interrupted: false,
  });
});

Deno.test("collect: a dump whose list changed is interrupted, wherever the kernel says so", () => {
  const changed = Flag.MULTI | Flag.DUMP_INTR;
  const part = [NEWLINK, changed, 7, "01"] as const;
  const whole = [NEWLINK, Flag.MULTI, 7, "01"] as const;
  const cases = [
    datagrams([part], [[Control.DONE, Flag.MULTI, 7, "00000000"]]),
    datagrams([whole, [Control.DONE, changed, 7, "00000000"]]),
  ];
  for (const receive of cases) assert.equal(collect(receive, 7).interrupted, true);
});

Deno.test("collect: a refusal has its number, with or without a body of a dump's end", () => {
  const refusal = `edffffff ${"00".repeat(16)}`;
  assert.deepEqual(collect(datagrams([[Control.ERROR, Flag.CAPPED, 7, refusal]]), 7), {
    errno: 19,
    bodies: [],
    interrupted: false,
  });
  assert.equal(collect(datagrams([[Control.DONE, 0, 7, "a1ffffff"]]), 7).errno, 95);
  assert.equal(collect(datagrams([[Control.DONE, 0, 7, ""]]), 7).errno, 0);
});

const CUT_SHORT: readonly (readonly [what: string, flags: number, body: string])[] = [
  ["no error number", 0, "ea"],
  ["no request", Flag.ACK_TLVS, `eaffffff ${"00".repeat(12)}`],
  ["a request shorter than its header", Flag.ACK_TLVS, `eaffffff 0f000000 ${"00".repeat(12)}`],
  ["a request longer than all", Flag.ACK_TLVS, `eaffffff 14000000 ${"00".repeat(12)}`],
];
for (const [what, flags, body] of CUT_SHORT) {
  Deno.test(`readAnswer: refuses an acknowledgement with ${what}`, () => {
    const message = { type: Control.ERROR, flags, sequence: 7, port: 0, body: unhex(body) };
    assert.throws(() => readAnswer(message), (e) => e instanceof OpError);
  });
}
