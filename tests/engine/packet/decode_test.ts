import assert from "node:assert/strict";
import fc from "fast-check";
import { decode, innermost, type Packet } from "../../../engine/packet/decode.ts";
import {
  endsOf,
  flagText,
  macsOf,
  protocolOf,
  summaryOf,
} from "../../../engine/packet/describe.ts";
import { identify } from "../../../engine/packet/identity.ts";
import { withIanaPort } from "../../../engine/packet/vxlan_port.ts";
import { frame, type FrameName, FRAMES, fromHex } from "./golden_frames.ts";

const PORTS: ReadonlySet<number> = new Set([8472]);

/** Ends and summary of a packet, as one line. */
function words(packet: Packet): string {
  const ends = endsOf(packet);
  const port = (number?: number): string => number === undefined ? "" : `:${number}`;
  const way = ends === undefined
    ? ""
    : `${ends.source}${port(ends.sourcePort)} > ${ends.destination}${port(ends.destinationPort)} `;
  return `${way}${summaryOf(packet)}`;
}

/** The packet, and what is inside it if that is another. */
function layers(packet: Packet): string[] {
  const inner = innermost(packet);
  return inner === packet ? [words(packet)] : [words(packet), words(inner)];
}

const EXPECTED: Readonly<Record<FrameName, readonly string[]>> = {
  "ping": ["192.0.2.1 > 192.0.2.2 icmp echo request id 18637 seq 1"],
  "ARP inside VXLAN": [
    "192.0.2.1:40999 > 192.0.2.2:8472 udp len 50 vxlan vni 1",
    "10.244.1.0 > 10.244.2.0 arp who has it?",
  ],
  "ping inside VXLAN": [
    "192.0.2.1:45873 > 192.0.2.2:8472 udp len 74 vxlan vni 1",
    "10.244.1.0 > 10.244.2.0 icmp echo request id 18638 seq 1",
  ],
  "first fragment inside VXLAN": [
    "192.0.2.1:45873 > 192.0.2.2:8472 udp len 1466 vxlan vni 1",
    "10.244.1.0 > 10.244.2.0 icmp echo request id 18639 seq 1 fragment 0+1424 of 39121",
  ],
  "last fragment inside VXLAN": [
    "192.0.2.1:45873 > 192.0.2.2:8472 udp len 126 vxlan vni 1",
    "10.244.1.0 > 10.244.2.0 icmp fragment 1424+84 of 39121, the last",
  ],
  "neighbour solicitation inside VXLAN over IPv6": [
    "2001:db8::1:38379 > 2001:db8::2:8472 udp len 94 vxlan vni 1",
    "fd00:244:0:1:: > ff02::1:ff00:0 icmp6 neighbour solicitation",
  ],
  "ping inside VXLAN over IPv6": [
    "2001:db8::1:54995 > 2001:db8::2:8472 udp len 94 vxlan vni 1",
    "fd00:244:0:1:: > fd00:244:0:2:: icmp6 echo request id 18641 seq 1",
  ],
  "first fragment, IPv6": [
    "2001:db8::1 > 2001:db8::2 icmp6 echo request id 18642 seq 1 fragment 0+1448 of 2638277290",
  ],
  "last fragment, IPv6": [
    "2001:db8::1 > 2001:db8::2 icmp6 fragment 1448+60 of 2638277290, the last",
  ],
  "UDP": ["192.0.2.1:4000 > 192.0.2.2:9 udp len 12"],
  "port unreachable": [
    "192.0.2.2 > 192.0.2.1 icmp port unreachable (about 192.0.2.1 > 192.0.2.2)",
  ],
  "TCP SYN": ["192.0.2.1:4001 > 192.0.2.2:80 tcp S seq 3265101966 len 0"],
  "TCP RST": ["192.0.2.2:80 > 192.0.2.1:4001 tcp R. seq 0 ack 3265101967 len 0"],
};

for (const [name, expected] of Object.entries(EXPECTED)) {
  Deno.test(`decode: ${name}, as a kernel sent it`, () => {
    assert.deepEqual(layers(decode(frame(name as FrameName), PORTS)), expected);
  });
}

Deno.test("decode: VXLAN is known by the device's port, whichever that is", () => {
  const bytes = frame("ping inside VXLAN");
  assert.equal(layers(decode(bytes, new Set([4789]))).length, 1);
  bytes.set([4789 >> 8, 4789 & 0xff], 36);
  assert.equal(layers(decode(bytes, new Set([4789]))).length, 2);
});

Deno.test("decode: VLAN tags, one and two", () => {
  const bytes = frame("ping");
  const tagged = (tags: string): Uint8Array =>
    Uint8Array.of(...bytes.subarray(0, 12), ...fromHex(tags), ...bytes.subarray(12));
  for (const [tags, vlans] of [["8100a007", [7]], ["88a800648100e007", [100, 7]]] as const) {
    const packet = decode(tagged(tags), PORTS);
    assert.deepEqual(packet.vlans, vlans);
    assert.deepEqual(layers(packet), EXPECTED.ping);
  }
});

Deno.test("decode: SCTP, GRE, an unknown EtherType, and IP without Ethernet", () => {
  const ip = (protocol: number, payload: string): Uint8Array =>
    fromHex(`45000030000100004000${"00"}00c0000201c0000202${payload}`).map((byte, i) =>
      i === 9 ? protocol : byte
    );
  const sctp = decode(ip(132, "0050 1f90 11223344 00000000 01000014"), PORTS, "ip");
  assert.equal(words(sctp), "192.0.2.1:80 > 192.0.2.2:8080 sctp chunk 1");
  assert.equal(words(decode(ip(47, "00000800"), PORTS, "ip")), "192.0.2.1 > 192.0.2.2 gre");
  assert.equal(words(decode(ip(200, ""), PORTS, "ip")), "192.0.2.1 > 192.0.2.2 ip-proto-200");
  const other = decode(fromHex(`ffffffffffff 020000000001 88cc ${"00".repeat(46)}`), PORTS);
  assert.equal(protocolOf(other), "ethertype-0x88cc");
  assert.deepEqual(macsOf(other), {
    destination: "ff:ff:ff:ff:ff:ff",
    source: "02:00:00:00:00:01",
  });
});

Deno.test("decode: IPv6 extension headers are passed over", () => {
  const header = (next: number): string =>
    `60000000 0020 ${next.toString(16).padStart(2, "0")} 40 ${"20010db8".padEnd(31, "0")}1 ` +
    `${"20010db8".padEnd(31, "0")}2`;
  const udp = "0fa0 0009 0010 0000 0000000000000000";
  const options = "11 00 010400000000";
  const packet = decode(fromHex(`${header(0)} 3c 00 010400000000 ${options} ${udp}`), PORTS, "ip");
  assert.equal(words(packet), "2001:db8::1:4000 > 2001:db8::2:9 udp len 8");
});

Deno.test("flagText: as tcpdump writes TCP's flags", () => {
  assert.deepEqual([2, 0x12, 0x10, 0x18, 0x11, 4, 0].map(flagText), [
    "S",
    "S.",
    ".",
    "P.",
    "F.",
    "R",
    "none",
  ]);
});

/** Everything that is done with a packet: none of it may throw, whatever the bytes. */
function useAll(packet: Packet): void {
  words(packet);
  macsOf(packet);
  identify(packet);
  withIanaPort(packet);
  const inner = innermost(packet);
  if (inner !== packet) useAll(inner);
}

const names = Object.keys(FRAMES) as FrameName[];
/** Real frames, cut off somewhere, with some bytes changed: nearly right, which is worst. */
const damaged = fc.record({
  name: fc.constantFrom(...names),
  changes: fc.array(fc.tuple(fc.nat(159), fc.nat(255)), { maxLength: 6 }),
  length: fc.nat(160),
}).map(({ name, changes, length }) => {
  const bytes = frame(name);
  for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
  return bytes.subarray(0, length);
});

for (const link of ["ethernet", "ip"] as const) {
  Deno.test(`decode: bad input never throws nor hangs (${link})`, () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (bytes) => {
        useAll(decode(bytes, PORTS, link));
      }),
      { numRuns: 3000 },
    );
  });
}

Deno.test("decode: tunnels in tunnels are followed to an end", () => {
  // As many headers as a frame of 64 KiB has room for.
  const headers = frame("ping inside VXLAN").subarray(0, 50);
  const bytes = new Uint8Array(65_000);
  for (let at = 0; at < bytes.length; at += headers.length) bytes.set(headers, at);
  const packet = decode(bytes, PORTS);
  useAll(packet);
  assert.equal(innermost(packet).at, 8 * headers.length);
});

/** The Internet checksum (RFC 1071) of UDP over IPv6: 0xffff when it is right. */
function udpSum(bytes: Uint8Array): number {
  const [at, ip] = [54, bytes.subarray(14)];
  const udp = bytes.subarray(at);
  const pseudo = [...ip.subarray(8, 40), 0, 0, udp[4]!, udp[5]!, 0, 0, 0, 17, ...udp];
  let sum = 0;
  for (let i = 0; i < pseudo.length; i += 2) sum += pseudo[i]! << 8 | (pseudo[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

Deno.test("withIanaPort: another port, and a checksum that is still right", () => {
  const bytes = frame("ping inside VXLAN over IPv6");
  // The kernel had left it to the device.
  bytes.fill(0, 60, 62);
  const checksum = ~udpSum(bytes) & 0xffff;
  bytes.set([checksum >> 8, checksum & 0xff], 60);
  assert.equal(udpSum(bytes), 0xffff);
  const before = bytes.slice();
  const rewritten = withIanaPort(decode(bytes, PORTS));
  assert.deepEqual(bytes, before, "the frame itself is left alone");
  assert.equal(udpSum(rewritten), 0xffff);
  assert.equal(layers(decode(rewritten, new Set([4789])))[0]?.includes(":4789 udp"), true);
  const differing = [...rewritten].flatMap((byte, i) => byte === before[i] ? [] : [i]);
  assert.ok(differing.every((i) => [56, 57, 60, 61].includes(i)), String(differing));
});

Deno.test("withIanaPort: a checksum that was left to the device is filled in, a wrong one stays wrong", () => {
  const bytes = frame("ping inside VXLAN over IPv6");
  assert.notEqual(udpSum(bytes), 0xffff, "as the kernel left it");
  assert.equal(udpSum(withIanaPort(decode(bytes, PORTS))), 0xffff);
  bytes[60]! ^= 1;
  assert.notEqual(udpSum(withIanaPort(decode(bytes, PORTS))), 0xffff);
});

Deno.test("withIanaPort: no checksum stays none; other packets stay as they are", () => {
  const bytes = frame("ping inside VXLAN");
  bytes.fill(0, 40, 42);
  const vxlan = withIanaPort(decode(bytes, PORTS));
  assert.deepEqual([...vxlan.subarray(36, 42)], [4789 >> 8, 4789 & 0xff, 0, 82, 0, 0]);
  const udp = frame("UDP");
  assert.equal(withIanaPort(decode(udp, PORTS)), udp);
});
