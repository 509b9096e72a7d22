/** Echo requests and probe datagrams as bytes. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { checksum, echoRequest, readEchoReply } from "../../engine/trace/icmp.ts";
import { nonceOf, parseNonce, probePayload, readProbe } from "../../engine/trace/nonce.ts";

Deno.test("echoRequest: the bytes of ping, and a checksum that is right", () => {
  // tcpdump -x of `ping -c1 -s 0 -e 4660 127.0.0.1`: type 8, id 0x1234, sequence 1.
  const request = echoRequest(4, { id: 0x1234, sequence: 1 }, 28);
  assert.equal(
    Array.from(request, (b) => b.toString(16).padStart(2, "0")).join(""),
    "0800e5ca12340001",
  );
  assert.equal(checksum(request), 0);
});

Deno.test("echoRequest: every size, both families; a whole packet's checksum is 0", () => {
  for (const size of [64, 65, 1450, 1451]) {
    assert.equal(echoRequest(4, { id: 7, sequence: 9 }, size).length, size - 20);
    assert.equal(checksum(echoRequest(4, { id: 7, sequence: 9 }, size)), 0);
    assert.equal(echoRequest(6, { id: 7, sequence: 9 }, size).length, size - 40);
  }
  assert.throws(() => echoRequest(4, { id: 1, sequence: 1 }, 27), RangeError);
});

Deno.test("readEchoReply: only replies; in IPv4 behind a header of any length", () => {
  const reply = [0, 0, 0, 0, 0x12, 0x34, 0, 5];
  const header = (words: number): number[] => [0x40 | words, ...Array(words * 4 - 1).fill(0)];
  for (const words of [5, 8]) {
    const packet = Uint8Array.from([...header(words), ...reply]);
    assert.deepEqual(readEchoReply(4, packet), { id: 0x1234, sequence: 5 });
  }
  assert.equal(readEchoReply(4, Uint8Array.from([...header(5), 3, ...reply.slice(1)])), undefined);
  assert.equal(readEchoReply(4, Uint8Array.from(header(5))), undefined);
  assert.deepEqual(readEchoReply(6, Uint8Array.from([129, ...reply.slice(1)])), {
    id: 0x1234,
    sequence: 5,
  });
});

const NONCE = parseNonce("00112233445566778899aabbccddeeff");

/** An IPv4 packet with this UDP payload. */
function packet(payload: Uint8Array, port: number, options = 0): Uint8Array {
  const header = [
    0x45 + options,
    0,
    0,
    0,
    0,
    0,
    0x40,
    0,
    64,
    17,
    ...Array(10 + 4 * options).fill(0),
  ];
  return Uint8Array.from([...header, 0, 1, port >> 8, port & 0xff, 0, 0, 0, 0, ...payload]);
}

Deno.test("readProbe: finds the nonce, on the overlay's port only", () => {
  const payload = probePayload(NONCE);
  // VXLAN: flags 08, network fffffe.
  assert.equal(Array.from(payload.subarray(0, 8)).join(), "8,0,0,0,255,255,254,0");
  for (const options of [0, 3]) {
    assert.equal(readProbe(packet(payload, 8472, options), 8472), NONCE);
  }
  assert.equal(readProbe(packet(payload, 4789), 8472), undefined);
  const other = payload.slice();
  other[6] = 1;
  assert.equal(readProbe(packet(other, 8472), 8472), undefined);
  const fragment = packet(payload, 8472);
  fragment[7] = 1;
  assert.equal(readProbe(fragment, 8472), undefined);
  const six = Uint8Array.from([
    0x60,
    0,
    0,
    0,
    0,
    0,
    17,
    64,
    ...Array(32).fill(0),
    ...packet(payload, 8472).subarray(20),
  ]);
  assert.equal(readProbe(six, 8472), NONCE);
});

Deno.test("readProbe and readEchoReply: any bytes are an answer, never an error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
    readProbe(bytes, 8472);
    readEchoReply(4, bytes);
    readEchoReply(6, bytes);
  }));
});

Deno.test("parseNonce: 32 hexadecimal digits", () => {
  assert.equal(nonceOf(new Uint8Array(16)), "0".repeat(32));
  for (const bad of ["", "0".repeat(31), "0".repeat(33), "G".repeat(32)]) {
    assert.throws(() => parseNonce(bad), /32 hexadecimal digits/);
  }
});
