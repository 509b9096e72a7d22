/** The packets that are sent to be traced, and how answers are known. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../engine/ip.ts";
import { checksum } from "../../engine/trace/icmp.ts";
import {
  answers,
  markedBytes,
  type MarkedPacket,
  markingTable,
} from "../../engine/trace/marked.ts";

const packet = (
  protocol: MarkedPacket["protocol"],
  more: Partial<MarkedPacket> = {},
): MarkedPacket => ({
  src: parseIp("10.244.1.2"),
  dst: parseIp("10.244.2.7"),
  protocol,
  ...(protocol === "icmp" ? {} : { dport: 80 }),
  token: 20_001,
  ...more,
});

const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

Deno.test("markedBytes: a SYN and a datagram whose checksums hold", () => {
  const syn = markedBytes(packet("tcp"));
  assert.equal(hex(syn.subarray(0, 4)), "4e210050");
  assert.equal(hex(syn.subarray(12, 16)), "5002faf0");
  const udp = markedBytes(packet("udp"));
  assert.equal(hex(udp.subarray(0, 6)), "4e2100500008");
  for (const [bytes, protocol] of [[syn, 6], [udp, 17]] as const) {
    const head = [10, 244, 1, 2, 10, 244, 2, 7, 0, protocol, 0, bytes.length];
    assert.equal(checksum(Uint8Array.from([...head, ...bytes])), 0);
  }
});

Deno.test("answers: the other way round, with our token", () => {
  const header = [0x45, ...Array(19).fill(0)];
  const back = (...bytes: number[]): Uint8Array => Uint8Array.from([...header, ...bytes]);
  assert.ok(answers(packet("tcp"), back(0, 80, 0x4e, 0x21, 0, 0, 0, 0)));
  assert.ok(!answers(packet("tcp"), back(0, 81, 0x4e, 0x21, 0, 0, 0, 0)));
  assert.ok(!answers(packet("tcp"), back(0, 80, 0x4e, 0x22, 0, 0, 0, 0)));
  assert.ok(answers(packet("icmp"), back(0, 0, 0, 0, 0x4e, 0x21, 0, 1)));
  assert.ok(!answers(packet("icmp"), back(8, 0, 0, 0, 0x4e, 0x21, 0, 1)));
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
    answers(packet("udp"), bytes);
    answers(packet("icmp"), bytes);
  }));
});

Deno.test("markingTable: goes with its owner, and says which packets", () => {
  const outer = {
    port: 8472,
    remote: parseIp("192.0.2.2"),
    src: parseIp("10.244.1.2"),
    dst: parseIp("10.244.2.7"),
  };
  const text = markingTable("twill-trace-1", packet("tcp"), outer);
  assert.match(text, /^table inet twill-trace-1 \{\n\tflags owner\n/);
  assert.match(
    text,
    /ip saddr 10\.244\.1\.2 ip daddr 10\.244\.2\.7 tcp dport 80 tcp sport 20001 meta nftrace set 1/,
  );
  assert.match(
    text,
    /ip daddr 192\.0\.2\.2 udp dport 8472 @th,336,32 0x0af40102 @th,368,32 0x0af40207 meta/,
  );
  const six = packet("icmp", { src: parseIp("fd00::1"), dst: parseIp("fd00::2") });
  assert.match(
    markingTable("x", six, undefined),
    /ip6 saddr fd00::1 ip6 daddr fd00::2 icmpv6 id 20001/,
  );
});
