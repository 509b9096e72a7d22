import assert from "node:assert/strict";
import fc from "fast-check";
import {
  age,
  destinationOf,
  isIpv4,
  PrefixTable,
  unreachable,
} from "../../../engine/backend/udp_packet.ts";
import {
  cidrOf,
  contains,
  ipFromNumber,
  lengthOf,
  parseCidr4,
  parseIp4,
} from "../../../engine/ip.ts";

const OWN = parseIp4("10.244.1.0");

function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.match(/[\da-f]{2}/g) ?? [], (byte) => parseInt(byte, 16));
}

/** One's complement sum over whole words: 0xffff for a header whose checksum is right. */
function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i++) total += (bytes[i] ?? 0) << (i % 2 === 0 ? 8 : 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}

/** `ping -c1 -s8 10.244.2.2`, as tcpdump -x shows it on the tun device: 36 bytes. */
const PING = "45000024 1a2b4000 3f010aaf 0af40102 0af40202 08001234 00010001 0001020304050607";
/** A UDP packet from 10.244.1.2 to 10.9.9.9. */
const DATAGRAM = "45000020 00004000 40111b35 0af40102 0a090909 10e1 0035 000c 0000 61626364";

/** The packet with a checksum that is right. */
function sealed(text: string): Uint8Array<ArrayBuffer> {
  const packet = hex(text);
  packet.set([0, 0], 10);
  const value = ~sum(packet.subarray(0, 20)) & 0xffff;
  packet.set([value >> 8, value & 0xff], 10);
  return packet;
}

Deno.test("age: lowers the TTL and keeps the checksum right, whatever that is", () => {
  const packet = sealed(PING);
  // Each value of this word gives another checksum: all of them come.
  for (let id = 0; id <= 0xffff; id++) {
    packet.set([id >> 8, id & 0xff, 0x40, 0, 2 + id % 254, 1, 0, 0], 4);
    const value = ~sum(packet.subarray(0, 20)) & 0xffff;
    packet.set([value >> 8, value & 0xff], 10);
    const ttl = packet[8] ?? 0;
    if (!age(packet) || packet[8] !== ttl - 1 || sum(packet.subarray(0, 20)) !== 0xffff) {
      assert.fail(`id ${id}, TTL ${ttl}, checksum ${value}`);
    }
  }
});

Deno.test("age: a packet whose TTL would be 0 has come to its end", () => {
  for (const ttl of [0, 1]) {
    const packet = sealed(PING);
    packet[8] = ttl;
    assert.equal(age(packet), false, `TTL ${ttl}`);
  }
});

Deno.test("isIpv4: needs version 4 and a whole header", () => {
  const packet = sealed(PING);
  assert.equal(isIpv4(packet, packet.length), true);
  assert.equal(destinationOf(packet), 0x0af40202);
  assert.equal(isIpv4(packet, 19), false);
  for (const first of [0x65, 0x44, 0x4f]) {
    packet[0] = first;
    assert.equal(isIpv4(packet, packet.length), false, first.toString(16));
  }
});

Deno.test("unreachable: type 3, code 0, TTL 8, from the node, with the header and 8 bytes", () => {
  const packet = sealed(DATAGRAM);
  const answer = unreachable(packet, packet.length, OWN);
  assert.ok(answer !== undefined);
  assert.equal(answer.length, 20 + 8 + 28);
  assert.deepEqual([...answer.subarray(2, 4)], [0, 56]);
  assert.equal(sum(answer.subarray(0, 20)), 0xffff);
  assert.equal(answer[8], 8);
  assert.deepEqual([...answer.subarray(12, 20)], [10, 244, 1, 0, 10, 244, 1, 2]);
  assert.deepEqual([...answer.subarray(20, 22)], [3, 0]);
  assert.equal(sum(answer.subarray(20)), 0xffff);
  assert.deepEqual(answer.subarray(28), packet.subarray(0, 28));
});

Deno.test("unreachable: never an answer to ICMP, nor to fragments but the first", () => {
  const ping = sealed(PING);
  assert.equal(unreachable(ping, ping.length, OWN), undefined);
  const later = sealed(DATAGRAM);
  later[7] = 1;
  assert.equal(unreachable(later, later.length, OWN), undefined);
  const first = sealed(DATAGRAM);
  first[6] = 0x20;
  assert.notEqual(unreachable(first, first.length, OWN), undefined);
});

Deno.test("PrefixTable: the longest network wins, in whatever order they came", () => {
  const nets = ["10.244.0.0/16", "10.244.2.0/24", "10.244.2.128/25", "0.0.0.0/0", "10.244.2.7/32"];
  for (const order of [nets, nets.toReversed()]) {
    const table = new PrefixTable<string>();
    for (const net of order) table.set(parseCidr4(net), net);
    assert.equal(table.find(0x0af40207), "10.244.2.7/32");
    assert.equal(table.find(0x0af402ff), "10.244.2.128/25");
    assert.equal(table.find(0x0af40208), "10.244.2.0/24");
    assert.equal(table.find(0x0af4ffff), "10.244.0.0/16");
    assert.equal(table.find(0xffffffff), "0.0.0.0/0");
  }
});

Deno.test("PrefixTable: finds what a search over all networks finds", () => {
  const number = fc.integer({ min: 0, max: 0xffffffff });
  const net = fc.tuple(number, fc.integer({ min: 0, max: 32 }))
    .map(([base, length]) => cidrOf(ipFromNumber(4, BigInt(base)), length));
  fc.assert(fc.property(fc.array(net), number, (nets, address) => {
    const table = new PrefixTable<string>();
    for (const one of nets) table.set(parseCidr4(one), one);
    const ip = ipFromNumber(4, BigInt(address));
    const [best] = nets.filter((one) => contains(one, ip))
      .toSorted((a, b) => lengthOf(b) - lengthOf(a));
    assert.equal(table.find(address), best);
  }));
});
