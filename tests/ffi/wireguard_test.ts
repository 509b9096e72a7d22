/**
 * Bytes of `wg` (wireguard-tools 1.0.20210914) and of Linux 6.1, taken with
 * `strace -xx -e trace=sendto,recvmsg` in a virtual machine:
 *
 *     wg set flannel-wg private-key KEY listen-port 51820
 *     wg set flannel-wg peer PEER preshared-key PSK endpoint 192.0.2.7:51820 \
 *       persistent-keepalive 25 allowed-ips 10.5.3.0/24,fd00:3::/64
 *     wg show flannel-wg
 */

import assert from "node:assert/strict";
import type { WireguardPeerFact } from "../../engine/fact.ts";
import { parseCidr, parseIp } from "../../engine/ip.ts";
import { Secret } from "../../engine/secret.ts";
import { parsePublicKey, parseSecretKey } from "../../engine/wireguard_key.ts";
import { readFamily, writeFamilyQuestion } from "../../ffi/netlink/generic.ts";
import { readDevice, writeGetDevice, writeSetDevice } from "../../ffi/netlink/wireguard.ts";
import { Writer } from "../../ffi/netlink/codec.ts";
import { type WireguardChange, wireguardFacts, wireguardMessage } from "../../ffi/wireguard.ts";
import { hex, unhex } from "./wire.ts";

const PEER: WireguardPeerFact = {
  kind: "wireguard-peer",
  where: "host",
  dev: "flannel-wg",
  publicKey: parsePublicKey("Pry2khSTRNxU5YFgz5C+2e6h3RToHI6R3lV699ev2RU="),
  remote: parseIp("192.0.2.7"),
  port: 51_820,
  allowed: ["10.5.3.0/24", "fd00:3::/64"].map(parseCidr),
  keepalive: 25,
  psk: parseSecretKey("//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA="),
};

const NAME = "0f00 0200 666c616e6e656c2d7767 00 00  WGDEVICE_A_IFNAME";
const PUBLIC_KEY =
  "2400 0100 3ebcb692149344dc54e58160cf90bed9eea1dd14e81c8e91de557af7d7afd915  WGPEER_A_PUBLIC_KEY";
const PSK =
  "2400 0200 fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0  WGPEER_A_PRESHARED_KEY";

const CHANGES: readonly (readonly [string, WireguardChange, string])[] = [
  [
    "a link's key and port",
    {
      op: "put",
      fact: {
        kind: "wireguard",
        where: "host",
        dev: "flannel-wg",
        port: 51_820,
        publicKey: parsePublicKey("j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8="),
        privateKey: new Secret(Uint8Array.from({ length: 32 }, (_, at) => at)),
      },
    },
    `01 01 0000  WG_CMD_SET_DEVICE
     ${NAME}
     2400 0300 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f  WGDEVICE_A_PRIVATE_KEY
     0600 0600 6cca 0000  WGDEVICE_A_LISTEN_PORT`,
  ],
  [
    "a peer",
    { op: "put", fact: PEER },
    `01 01 0000  WG_CMD_SET_DEVICE
     ${NAME}
     bc00 0880  WGDEVICE_A_PEERS
       b800 0080
         ${PUBLIC_KEY}
         ${PSK}
         1400 0400 0200 ca6c c0000207 0000000000000000  WGPEER_A_ENDPOINT
         0600 0500 1900 0000  WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
         0800 0300 02000000  WGPEER_A_FLAGS REPLACE_ALLOWEDIPS
         4800 0980  WGPEER_A_ALLOWEDIPS
           1c00 0080
             0600 0100 0200 0000  WGALLOWEDIP_A_FAMILY
             0800 0200 0a050300  WGALLOWEDIP_A_IPADDR
             0500 0300 18 000000  WGALLOWEDIP_A_CIDR_MASK
           2800 0080
             0600 0100 0a00 0000
             1400 0200 fd000003000000000000000000000000
             0500 0300 40 000000`,
  ],
  [
    "a peer's removal",
    { op: "delete", fact: PEER },
    `01 01 0000  WG_CMD_SET_DEVICE
     ${NAME}
     3400 0880
       3000 0080
         ${PUBLIC_KEY}
         0800 0300 01000000  WGPEER_A_FLAGS REMOVE_ME`,
  ],
];

function written(write: (out: Writer) => void): string {
  const out = new Writer();
  write(out);
  return hex(out.bytes());
}

for (const [what, change, bytes] of CHANGES) {
  Deno.test(`wireguardMessage says ${what} as wg does`, () => {
    const ours = written((out) => writeSetDevice(out, wireguardMessage(change)));
    assert.equal(ours, hex(unhex(bytes)));
  });
}

Deno.test("the endpoint of a peer at an IPv6 address is wg's", () => {
  const endpoint = { ip: parseIp("2001:db8::7"), port: 51_821 };
  const ours = written((out) => writeSetDevice(out, { peers: [{ endpoint }] }));
  assert.ok(
    ours.includes(
      hex(unhex("2000 0400 0a00 ca6d 00000000 20010db8000000000000000000000007 00000000")),
    ),
  );
});

Deno.test("the questions for the family and for a link are wg's", () => {
  assert.equal(
    written((out) => writeFamilyQuestion(out, "wireguard")),
    hex(unhex("03 01 0000  0e00 0200 776972656775617264 00 0000".replace("  ", " "))),
  );
  assert.equal(
    written((out) => writeGetDevice(out, "flannel-wg")),
    hex(unhex(`00 01 0000\n${NAME}`)),
  );
});

Deno.test("readFamily reads the kernel's answer", () => {
  const answer = unhex(`
    01 02 0000  CTRL_CMD_NEWFAMILY
    0e00 0200 776972656775617264 00 0000  CTRL_ATTR_FAMILY_NAME
    0600 0100 2000 0000  CTRL_ATTR_FAMILY_ID
    0800 0300 01000000  CTRL_ATTR_VERSION
    0800 0400 00000000  CTRL_ATTR_HDRSIZE
    0800 0500 08000000  CTRL_ATTR_MAXATTR
    2c00 0600  CTRL_ATTR_OPS
      1400 0100 0800 0100 00000000 0800 0200 1c000000
      1400 0200 0800 0100 01000000 0800 0200 1a000000`);
  assert.equal(readFamily(answer), 0x20);
});

/** What the kernel told; `last handshake` and the counters are filled in here. */
const ANSWER = `
  00 01 0000  WG_CMD_GET_DEVICE
  0600 0600 6cca 0000  WGDEVICE_A_LISTEN_PORT
  0800 0700 00000000  WGDEVICE_A_FWMARK
  0800 0100 02000000  WGDEVICE_A_IFINDEX
  ${NAME}
  2400 0300 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e5f  WGDEVICE_A_PRIVATE_KEY
  2400 0400 8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f  WGDEVICE_A_PUBLIC_KEY
  e800 0880  WGDEVICE_A_PEERS
    e400 0080
      ${PUBLIC_KEY}
      ${PSK}
      1400 0600 00f1536500000000 0065cd1d00000000  WGPEER_A_LAST_HANDSHAKE_TIME
      0600 0500 1900 0000  WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
      0c00 0800 4800000000000000  WGPEER_A_TX_BYTES
      0c00 0700 0000000001000000  WGPEER_A_RX_BYTES
      0800 0a00 01000000  WGPEER_A_PROTOCOL_VERSION
      1400 0400 0200 ca6c c0000207 0000000000000000  WGPEER_A_ENDPOINT
      4800 0980  WGPEER_A_ALLOWEDIPS
        1c00 0080
          0500 0300 18 000000
          0600 0100 0200 0000
          0800 0200 0a050300
        2800 0080
          0500 0300 40 000000
          0600 0100 0a00 0000
          1400 0200 fd000003000000000000000000000000`;

Deno.test("wireguardFacts reads the kernel's answer, and no private key", () => {
  const handshake = 1_700_000_000_500;
  const facts = (now: number): unknown =>
    wireguardFacts("host", "flannel-wg", [readDevice(unhex(ANSWER))], now);
  const expected = (alive: boolean): unknown => [
    {
      kind: "wireguard",
      where: "host",
      dev: "flannel-wg",
      port: 51_820,
      publicKey: "j0DFrbaPJWJK5bIU6nZ6bslNgp09e14a0bpvPiE4KF8=",
    },
    { ...PEER, traffic: { handshake, alive, received: 2 ** 32, sent: 72 } },
  ];
  assert.deepEqual(facts(handshake + 179_000), expected(true));
  assert.deepEqual(facts(handshake + 181_000), expected(false));
});

Deno.test("wireguardFacts joins the pieces of a peer with many networks", () => {
  const publicKey = new Uint8Array(32).fill(3);
  const piece = (n: number) => ({
    peers: [{ publicKey, allowedIps: [{ address: parseIp(`10.0.${n}.0`), length: 24 }] }],
  });
  const [peer] = wireguardFacts("host", "flannel-wg", [piece(2), piece(1)], 0);
  assert.ok(peer?.kind === "wireguard-peer");
  assert.deepEqual(peer.allowed, ["10.0.1.0/24", "10.0.2.0/24"]);
});
