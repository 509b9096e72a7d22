import assert from "node:assert/strict";
import fc from "fast-check";
import { OpError } from "../../engine/errors.ts";
import { readAddress, writeAddress } from "../../ffi/netlink/address.ts";
import { attributes, text, writeAttribute, Writer } from "../../ffi/netlink/codec.ts";
import { readLink, writeLink } from "../../ffi/netlink/link.ts";
import { messages } from "../../ffi/netlink/message.ts";
import { readNeighbour, writeNeighbour } from "../../ffi/netlink/neighbour.ts";
import { readRoute, writeRoute } from "../../ffi/netlink/route.ts";
import * as any from "./arbitraries.ts";
import { hex, unhex } from "./wire.ts";

/** A kind of message: how it is written, read and made up. */
interface Kind<T> {
  readonly write: (out: Writer, value: T) => void;
  readonly read: (bytes: Uint8Array) => unknown;
  readonly arbitrary: fc.Arbitrary<T>;
}

/** Hides the type of the message, so that the kinds fit in one table. */
function kind<T>({ write, read, arbitrary }: Kind<T>): {
  readonly encoded: fc.Arbitrary<{ readonly value: T; readonly bytes: Uint8Array<ArrayBuffer> }>;
  readonly read: (bytes: Uint8Array) => unknown;
} {
  const encoded = arbitrary.map((value) => {
    const out = new Writer();
    write(out, value);
    return { value, bytes: out.bytes().slice() };
  });
  return { encoded, read };
}

const KINDS = {
  Link: kind({ write: writeLink, read: readLink, arbitrary: any.link }),
  Address: kind({ write: writeAddress, read: readAddress, arbitrary: any.address }),
  Route: kind({ write: writeRoute, read: readRoute, arbitrary: any.route }),
  Neighbour: kind({ write: writeNeighbour, read: readNeighbour, arbitrary: any.neighbour }),
};

/** Any outcome but a value and our own error is a bug. */
function valueOrOpError(read: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  try {
    read(bytes);
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
  }
}

for (const [name, { encoded, read }] of Object.entries(KINDS)) {
  Deno.test(`read${name} gives back what write${name} wrote`, () => {
    fc.assert(fc.property(encoded, ({ value, bytes }) => {
      assert.deepEqual(read(bytes), value);
      assert.equal(bytes.length % 4, 0);
    }));
  });

  Deno.test(`read${name} copies out of its buffer`, () => {
    fc.assert(fc.property(encoded, ({ value, bytes }) => {
      const found = read(bytes);
      bytes.fill(0xff);
      assert.deepEqual(found, value);
    }));
  });

  Deno.test(`read${name}: any bytes give a value or an OpError`, () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      valueOrOpError(read, bytes);
    }));
  });

  Deno.test(`read${name}: damaged messages give a value or an OpError`, () => {
    const damage = fc.record({ at: fc.nat(), byte: fc.nat(0xff) });
    const damages = fc.array(damage, { minLength: 1, maxLength: 6 });
    fc.assert(fc.property(encoded, damages, fc.nat(), ({ bytes }, damages, cut) => {
      for (const { at, byte } of damages) bytes[at % bytes.length] = byte;
      valueOrOpError(read, bytes);
      valueOrOpError(read, bytes.subarray(0, cut % bytes.length));
      valueOrOpError(read, bytes.subarray(cut % bytes.length));
    }));
  });
}

const ATTRIBUTES: readonly (readonly [what: string, bytes: string, error: RegExp])[] = [
  ["a length of zero", "00000100 01020304", /attribute of 0 bytes where 8 are left/],
  ["a length below its header", "03000100", /attribute of 3 bytes where 4 are left/],
  ["one byte too many", "09000100 01020304", /attribute of 9 bytes where 8 are left/],
  ["the largest length", "ffff0100", /attribute of 65535 bytes where 4 are left/],
  ["a second one of length zero", "04000100 00000000", /attribute of 0 bytes where 4 are left/],
];
for (const [what, bytes, error] of ATTRIBUTES) {
  Deno.test(`attributes: refuses ${what}`, () => {
    assert.throws(
      () => [...attributes(unhex(bytes))],
      (e) => e instanceof OpError && error.test(e.message),
    );
  });
}

Deno.test("attributes: masks the bits for nested and network order, pads, takes empty ones", () => {
  const bytes = unhex("05000180 ff000000 04000240 0800ff3f 01020304 0000");
  const found = [...attributes(bytes)].map(([type, payload]) => [type, hex(payload)]);
  assert.deepEqual(found, [[1, "ff"], [2, ""], [0x3fff, "01020304"]]);
});

Deno.test("attributes: the last one need not be padded", () => {
  assert.deepEqual([...attributes(unhex("05000100 ff"))].length, 1);
});

Deno.test("readLink keeps a driver that holds itself without nesting further", () => {
  // IFLA_LINKINFO of a veth whose peer has an IFLA_LINKINFO in turn.
  const inner = "10001200 08000100 76657468 04000200";
  const head = "00".repeat(16);
  const outer = `3c001200 08000100 76657468 30000200 24000100 ${head} ${inner}`;
  const bytes = unhex(`${head} ${outer.replace("3c00", "3400").replace("3000", "2800")}`);
  const { info } = readLink(bytes).attributes;
  assert.deepEqual(info?.peer?.attributes, {
    rest: [{ type: 18, bytes: unhex("08000100 76657468 04000200") }],
  });
});

Deno.test("writeAttribute refuses a payload that its length cannot tell", () => {
  const out = new Writer();
  assert.throws(
    () => writeAttribute(out, 7, () => out.append(new Uint8Array(0xffff))),
    new RangeError("attribute 7 of 65539 bytes; the limit is 65535"),
  );
});

Deno.test("Writer: a cleared buffer holds nothing of the earlier message", () => {
  const out = new Writer();
  out.append(new Uint8Array(3000).fill(0xff));
  out.clear();
  out.reserve(3000);
  assert.ok(out.bytes().every((byte) => byte === 0));
});

Deno.test("text: names are UTF-8 and end at the first zero byte", () => {
  const names = fc.string({ unit: "binary" }).map((name) => name.replaceAll("\0", ""));
  fc.assert(fc.property(names, any.bytes, (name, behind) => {
    const out = new Writer();
    text.write(out, name);
    out.append(behind);
    assert.equal(text.read(out.bytes()), name);
  }));
  assert.equal(text.read(unhex("65746830")), "eth0");
  assert.equal(text.read(unhex("efbbbf65746830")), "\ufeffeth0");
});

Deno.test("messages: any bytes give messages or an OpError", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    valueOrOpError((b) => [...messages(b)], bytes);
  }));
});
