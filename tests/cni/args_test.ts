import assert from "node:assert/strict";
import fc from "fast-check";
import { parseArgs } from "../../cni/args.ts";
import { OpError } from "../../engine/errors.ts";

const READ: readonly (readonly [string, object])[] = [
  ["", {}],
  ["IP=1.2.3.4", { IP: "1.2.3.4" }],
  ["IP=", { IP: "" }],
  ["IP=a;IP=b", { IP: "b" }],
  ["X=1;IP=a;IgnoreUnknown=TRUE;Y=", { IP: "a" }],
  ["IgnoreUnknown=0", {}],
];

for (const [text, want] of READ) {
  Deno.test(`parseArgs: reads ${JSON.stringify(text)}`, () => {
    assert.deepEqual(parseArgs(text, ["IP"]), want);
  });
}

const REFUSED: readonly (readonly [string, RegExp])[] = [
  ["IP", /ARGS: invalid pair "IP"/],
  ["IP=a;", /ARGS: invalid pair ""/],
  ["IP=a=b", /ARGS: invalid pair "IP=a=b"/],
  ["ip=a", /ARGS: unknown args \["ip=a"\]/],
  ["X=1;IgnoreUnknown=0", /unknown args/],
  ["IgnoreUnknown=", /want 1, true, 0 or false/],
  ["toString=1", /unknown args/],
];

for (const [text, message] of REFUSED) {
  Deno.test(`parseArgs: refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseArgs(text, ["IP"]), { name: "OpError", code: 999, message });
  });
}

Deno.test("parseArgs: any text is read, or refused with our error", () => {
  const part = fc.constantFrom("IP", "IgnoreUnknown", "=", ";", "1", "x", "__proto__");
  fc.assert(fc.property(fc.array(part), (parts) => {
    try {
      parseArgs(parts.join(""), ["IP"]);
    } catch (error) {
      assert.ok(error instanceof OpError);
    }
  }));
});
