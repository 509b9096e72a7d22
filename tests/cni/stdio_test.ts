import assert from "node:assert/strict";
import { readWhole, writeWhole } from "../../cni/stdio.ts";

/** Fails with "not ready" every other time, as a non-blocking pipe does. */
function moody(): () => void {
  let calls = 0;
  return () => {
    if (calls++ % 2 === 0) throw new Deno.errors.WouldBlock("not ready");
  };
}

Deno.test("readWhole: pieces of any size, and a reader that is not ready", () => {
  const text = "0123456789".repeat(10_000);
  const source = new TextEncoder().encode(text);
  const mood = moody();
  let at = 0;
  const bytes = readWhole({
    readSync(into): number | null {
      mood();
      const piece = source.subarray(at, at + Math.min(into.length, 7001));
      into.set(piece);
      at += piece.length;
      return piece.length === 0 ? null : piece.length;
    },
  });
  assert.equal(new TextDecoder().decode(bytes), text);
});

Deno.test("writeWhole: a writer that takes little, and is not ready", () => {
  const mood = moody();
  const got: number[] = [];
  writeWhole({
    writeSync(from): number {
      mood();
      got.push(...from.subarray(0, 3));
      return Math.min(3, from.length);
    },
  }, "Grüße");
  assert.equal(new TextDecoder().decode(new Uint8Array(got)), "Grüße");
});

Deno.test("writeWhole: a writer that fails", () => {
  const writer = {
    writeSync(): number {
      throw new Deno.errors.BrokenPipe("gone");
    },
  };
  assert.throws(() => writeWhole(writer, "x"), Deno.errors.BrokenPipe);
  writeWhole(writer, "");
});
