/** What `/probe/udp` answers without waiting for anything; the rest is in lab/check_test.ts. */

import assert from "node:assert/strict";
import { ArrivalDesk } from "../../daemon/arrival.ts";
import { Poller } from "../../ffi/poll.ts";

const { signal } = new AbortController();

async function answer(query: string): Promise<{ status: number; error: string }> {
  await using poller = new Poller();
  const desk = new ArrivalDesk(poller, () => ({}));
  const response = await desk.answer(new URLSearchParams(query), signal);
  return { status: response.status, error: (await response.json()).error };
}

for (const query of ["", "nonce=", "nonce=xyz", `nonce=${"0".repeat(33)}`, "other=1"]) {
  Deno.test(`/probe/udp?${query}: refused, with what is wanted`, async () => {
    const { status, error } = await answer(query);
    assert.equal(status, 400);
    assert.match(error, /^nonce: want 32 hexadecimal digits/);
  });
}

Deno.test("/probe/udp: a node without an overlay says so", async () => {
  const { status, error } = await answer(`nonce=${"0".repeat(32)}`);
  assert.equal(status, 409);
  assert.match(error, /no vxlan overlay yet/);
});
