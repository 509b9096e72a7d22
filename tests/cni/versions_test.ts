import assert from "node:assert/strict";
import { atLeast, formatOf, gateVersion, parseVersion, VERSIONS } from "../../cni/versions.ts";

const NUMBERS: readonly (readonly [string, readonly number[] | undefined])[] = [
  ["1.0.0", [1, 0, 0]],
  ["1.0", [1, 0, 0]],
  ["01.2", [1, 2, 0]],
  ["7", [7, 0, 0]],
  ["", undefined],
  ["1.", undefined],
  ["v1.0.0", undefined],
  ["1.0.0.0", undefined],
  ["1.0.0-rc1", undefined],
];

for (const [text, want] of NUMBERS) {
  Deno.test(`parseVersion: ${JSON.stringify(text)}`, () => {
    if (want !== undefined) assert.deepEqual(parseVersion(text), want);
    else assert.throws(() => parseVersion(text), SyntaxError);
  });
}

Deno.test("atLeast: orders the published versions", () => {
  for (const [i, a] of VERSIONS.entries()) {
    for (const [j, b] of VERSIONS.entries()) {
      assert.equal(atLeast(parseVersion(a), parseVersion(b)), i >= j, `${a} ${b}`);
    }
  }
});

Deno.test("formatOf: three shapes", () => {
  assert.deepEqual(VERSIONS.map(formatOf), ["0.1", "0.1", "0.3", "0.3", "0.3", "1.0", "1.0"]);
});

const some = ["0.4.0", "1.0.0"] as const;
const GATES: readonly (readonly [Parameters<typeof gateVersion>, number, RegExp])[] = [
  [["ADD", "1.1.0", some], 1, /incompatible/],
  [["DEL", "1.0", some], 1, /incompatible/],
  [["CHECK", "x", some], 6, /version/],
  [["CHECK", "0.3.1", VERSIONS], 1, /config version does not allow CHECK/],
  [["CHECK", "1.1.0", some], 1, /plugin version does not allow CHECK/],
  [["CHECK", "0.4.1", some], 1, /incompatible/],
  [["GC", "1.0.0", VERSIONS], 1, /config version does not allow GC/],
  [["STATUS", "1.1.0", some], 1, /plugin version does not allow STATUS/],
];

for (const [args, code, message] of GATES) {
  Deno.test(`gateVersion: ${args[0]} ${args[1]} of a plugin up to ${args[2].at(-1)}`, () => {
    assert.throws(() => gateVersion(...args), { code, message });
  });
}

Deno.test("gateVersion: lets pass what both sides know", () => {
  assert.equal(gateVersion("ADD", "0.1.0", VERSIONS), "0.1.0");
  assert.equal(gateVersion("CHECK", "0.4.0", VERSIONS), "0.4.0");
  assert.equal(gateVersion("GC", "1.1.0", VERSIONS), "1.1.0");
});
