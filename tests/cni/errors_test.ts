import assert from "node:assert/strict";
import { toCniError } from "../../cni/errors.ts";
import { OpError } from "../../engine/errors.ts";

Deno.test("toCniError: what failed first counts, a failed clean-up is told beside it", () => {
  const first = new OpError("add route", "x", { code: 100, kernel: "no", advice: "look" });
  const thrown = new SuppressedError(new Error("and this"), first);
  const { code, message, details } = toCniError(thrown);
  assert.deepEqual([code, message, details], [
    100,
    "Cannot add route x: no",
    "look; cleaning up failed too: and this",
  ]);
});
