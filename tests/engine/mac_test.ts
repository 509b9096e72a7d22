import assert from "node:assert/strict";
import fc from "fast-check";
import { localMac, macBytes, macFromBytes, parseMac } from "../../engine/mac.ts";

const GOOD: readonly (readonly [text: string, canonical: string])[] = [
  ["0e:2a:00:00:00:01", "0e:2a:00:00:00:01"],
  ["0E-2A-00-00-00-FF", "0e:2a:00:00:00:ff"],
  ["ff:ff:ff:ff:ff:ff", "ff:ff:ff:ff:ff:ff"],
];
for (const [text, canonical] of GOOD) {
  Deno.test(`parseMac: ${text} is ${canonical}`, () => assert.equal(parseMac(text), canonical));
}

const BAD = [
  "",
  "0e:2a:00:00:00",
  "0e:2a:00:00:00:01:02",
  "0e:2a:00:00:00:0g",
  "0e:2a-00:00:00:01",
  "e:2a:00:00:00:01",
  "0e2a.0000.0001",
  "0e2a00000001",
  " 0e:2a:00:00:00:01",
  "0e:2a:00:00:00:01\n",
];
for (const text of BAD) {
  Deno.test(`parseMac: refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseMac(text), SyntaxError);
  });
}

const six = fc.uint8Array({ minLength: 6, maxLength: 6 });

Deno.test("a MAC address goes from bytes to text and back", () => {
  fc.assert(fc.property(six, (bytes) => {
    const mac = macFromBytes(bytes);
    assert.deepEqual([...macBytes(mac)], [...bytes]);
    assert.equal(parseMac(mac), mac);
    assert.equal(parseMac(mac.toUpperCase().replaceAll(":", "-")), mac);
  }));
});

Deno.test("localMac is unicast and locally administered, and leaves its input alone", () => {
  fc.assert(fc.property(six, (bytes) => {
    const before = [...bytes];
    const [first, ...rest] = macBytes(localMac(bytes));
    assert.equal((first ?? 0) & 3, 2);
    assert.deepEqual(rest, before.slice(1));
    assert.deepEqual([...bytes], before);
  }));
});

Deno.test("a MAC address needs exactly six bytes", () => {
  for (const size of [0, 5, 7]) {
    assert.throws(() => macFromBytes(new Uint8Array(size)), RangeError);
    assert.throws(() => localMac(new Uint8Array(size)), RangeError);
  }
});
