import assert from "node:assert/strict";
import type { Journey } from "../../../engine/packet/correlate.ts";
import { blockOf, documentOf, lineOf } from "../../../inspect/capture/render.ts";
import { summary } from "../../../inspect/capture/summary.ts";
import { errors, load } from "../schema.ts";
import { data, echo, inVxlan, ipFrame, tcp } from "../../engine/packet/frames.ts";
import { fromHex } from "../../engine/packet/golden_frames.ts";
import { journey, TAPS, VIEW } from "./node.ts";

const ping = ipFrame({ protocol: 1, payload: echo(5, 1, data(56)) });
const syn = { protocol: 6, id: 3, payload: tcp({ sequence: 5, flags: 2 }) };
const masqueraded = {
  ...syn,
  ttl: 63,
  from: "192.0.2.1",
  payload: tcp({ ports: [61000, 80], sequence: 5, flags: 2 }),
};
const segment = (start: number, length: number): Uint8Array =>
  ipFrame({
    protocol: 6,
    payload: tcp({ sequence: 100 + start, content: data(4000).slice(start, start + length) }),
  });
const arp = fromHex(
  "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 0af40102 000000000000 0af40101",
);

const JOURNEYS: Readonly<Record<string, Journey>> = {
  "to another node": journey(
    ["pod", 0, ping],
    ["veth", 3, ping],
    ["bridge", 4, ping],
    ["vtep", 20, ping],
    ["uplink", 31, inVxlan(ping)],
  ),
  "masqueraded": journey(
    ["pod", 0, ipFrame({ ...syn, to: "203.0.113.10" })],
    ["veth", 1, ipFrame({ ...syn, to: "203.0.113.10" })],
    ["bridge", 1, ipFrame({ ...syn, to: "203.0.113.10" })],
    ["uplink", 12, ipFrame({ ...masqueraded, to: "203.0.113.10" })],
  ),
  "put together on its way in": journey(
    ["fromUplink", 0, inVxlan(segment(0, 1400))],
    ["fromUplink", 2, inVxlan(segment(1400, 1400))],
    ["fromVtep", 9, segment(0, 2800)],
    ["toPod", 15, segment(0, 2800)],
  ),
  "no addresses": journey(["pod", 0, fromHex(`ffffffffffff 020000000001 88cc ${"00".repeat(40)}`)]),
  "ARP": journey(["pod", 0, arp], ["veth", 1, arp]),
};

for (const [name, packet] of Object.entries(JOURNEYS)) {
  Deno.test(`capture: a packet ${name}, as a line, a block and a document`, async (t) => {
    const line = lineOf(packet, VIEW);
    assert.doesNotMatch(line, /\n/);
    // The time of day depends on where the test runs.
    const text = `${line}\n${blockOf(packet, VIEW)}`.replace(/^\d\d:\d\d:/gm, "HH:MM:");
    await t.assertSnapshot(text);
    const document = documentOf(packet, VIEW);
    assert.deepEqual(errors(load("inspect_capture.json"), document, "packet"), []);
    await t.assertSnapshot(JSON.stringify(document, null, 1));
  });
}

const counts = (...lost: number[]): { received: number; lost: number }[] =>
  TAPS.map((_, i) => ({ received: 100, lost: lost[i] ?? 0 }));

Deno.test("summary: nothing lost is one line", () => {
  const totals = { packets: 1, frames: 5, seconds: 2.04, taps: TAPS, counts: counts() };
  assert.deepEqual(summary(totals), [
    "1 packet in 5 frames, of 700 frames on 7 interfaces in 2.0 s; none lost",
  ]);
});

Deno.test("summary: what was lost is told by interface, and what to do", () => {
  const totals = { packets: 10, frames: 50, seconds: 2, taps: TAPS, counts: counts(3, 0, 0, 40) };
  assert.deepEqual(summary(totals).slice(0, 3), [
    "10 packets in 50 frames, of 700 frames on 7 interfaces in 2.0 s; lost 43: " +
    "packets were missed, and ways shown without one of their interfaces",
    "  default/web:eth0: lost 3 of 100 frames",
    "  flannel.1: lost 40 of 100 frames",
  ]);
  assert.match(summary(totals).at(-1)!, /--pod .* -w FILE/);
});
