import fc from "fast-check";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { sha512 } from "../../engine/sha512.ts";

/** The reference's vectors: network `dbnet`, container `abc123`, interface `eth0`. */
const VECTORS: Readonly<Record<string, string>> = {
  dbnetabc123: "2c9d881d1924f1d6a7733ee3",
  cbr00123456789abcdef: "8cbe06c6d4b297670ecbfdbd",
  dbnet: "77fa157b4f32b23b",
  "eth0:abc123": "ebce0e3dd4dafae3",
  "/run/netns/c1": "20b4ff582526573bbe7d",
};

for (const [text, start] of Object.entries(VECTORS)) {
  Deno.test(`sha512 of ${text}`, () => assert.equal(sha512(text).slice(0, start.length), start));
}

Deno.test("sha512 is node:crypto's for any bytes, around the lengths where a block is full too", () => {
  const same = (bytes: Uint8Array): void =>
    assert.equal(sha512(bytes), createHash("sha512").update(bytes).digest("hex"));
  for (const length of [0, 1, 111, 112, 127, 128, 129, 239, 240, 256, 1000]) {
    same(new Uint8Array(length).fill(0xa5));
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), same));
});

Deno.test("sha512 of a text is that of its UTF-8 bytes", () => {
  assert.equal(sha512("pødman"), createHash("sha512").update("pødman").digest("hex"));
});
