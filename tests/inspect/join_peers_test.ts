import assert from "node:assert/strict";
import fc from "fast-check";
import { vxlan } from "../../engine/backend/vxlan.ts";
import type { Fact } from "../../engine/fact.ts";
import type { Lease } from "../../engine/lease.ts";
import { jsonObject } from "../../engine/json.ts";
import { type Cidr4, parseCidr, parseCidr4, parseInet, parseIp4 } from "../../engine/ip.ts";
import { macFromBytes } from "../../engine/mac.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import { joinPeers } from "../../inspect/join_peers.ts";
import { judgePeers, nameOfPeer } from "../../inspect/judge_peers.ts";
import { byPrefix, overlayOf } from "../../inspect/overlay.ts";
import { assertSoon } from "../soon.ts";

const conf = parseNetConf(
  JSON.stringify({ Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } }),
);
const backend = vxlan(conf);

function lease(subnet: Cidr4, n: number): Lease {
  const mac = macFromBytes(Uint8Array.of(2, 0, 0, 0, n >> 8, n & 255));
  return {
    subnet,
    publicIp: parseIp4(`192.168.${n >> 8}.${n & 255}`),
    backendType: "vxlan",
    backendData: jsonObject({ VNI: 1, VtepMAC: mac }),
  };
}

const underlay = {
  name: "eth0",
  mtu: 1500,
  addresses: { 4: parseIp4("192.168.255.1") },
  onLink: [],
};
const file = {
  kind: "read",
  path: "/run/flannel/subnet.env",
  env: {
    networks: [parseCidr4("10.0.0.0/8")],
    networks6: [],
    subnet: parseInet("10.255.0.1/24"),
    mtu: 1450,
    ipMasq: true,
  },
} as const;

/** What the daemon would put into the kernel for peers with these third octets. */
function wanted(numbers: readonly number[]): { own: readonly Fact[]; peers: readonly Fact[] } {
  const self = { underlay, lease: lease(parseCidr4("10.255.0.0/24"), 0xffff) };
  const { own, peers } = backend.facts(
    self,
    numbers.map((n) => lease(parseCidr4(`10.${n >> 8}.${n & 255}.0/24`), n)),
  );
  return { own, peers: peers.flatMap(({ facts }) => facts) };
}

const peerNumbers = fc.uniqueArray(fc.integer({ min: 1, max: 0xfe00 }), {
  minLength: 1,
  maxLength: 20,
});

Deno.test("judgePeers: what our daemon programs has no finding", () => {
  fc.assert(fc.property(peerNumbers, (numbers) => {
    const { own, peers } = wanted(numbers);
    const overlay = overlayOf(file, [...own, ...peers]);
    const judged = judgePeers(overlay, joinPeers(overlay), []);
    assert.equal(judged.length, numbers.length);
    assert.deepEqual(judged.flatMap(({ findings }) => findings), []);
  }));
});

Deno.test("judgePeers: without any one entry of a peer, that peer alone has a finding", () => {
  fc.assert(fc.property(peerNumbers, fc.nat(), (numbers, at) => {
    const { own, peers } = wanted(numbers);
    const gone = peers[at % peers.length]!;
    const overlay = overlayOf(file, [...own, ...peers.filter((fact) => fact !== gone)]);
    const bad = judgePeers(overlay, joinPeers(overlay), []).filter(({ findings }) =>
      findings.length
    );
    assert.equal(bad.length, 1);
    const n = numbers[Math.floor((at % peers.length) / 3)]!;
    const name = nameOfPeer(bad[0]!.peer);
    assert.equal(name.replace("/24", ""), `10.${n >> 8}.${n & 255}.0`);
  }));
});

Deno.test("joinPeers: every entry on a VTEP is in exactly one peer, whatever is missing", () => {
  fc.assert(fc.property(peerNumbers, fc.infiniteStream(fc.boolean()), (numbers, keep) => {
    const { own, peers } = wanted(numbers);
    const left = peers.filter(() => keep.next().value);
    const joined = joinPeers(overlayOf(file, [...own, ...left]));
    const used = joined.flatMap(({ route, neighbour, fdb, stray }) =>
      [route, neighbour, ...fdb, stray].filter((fact) => fact !== undefined)
    );
    assert.equal(used.length, left.length);
    assert.deepEqual(new Set<Fact>(used), new Set<Fact>(left));
  }));
});

Deno.test("joinPeers: 5,000 peers are joined in well under a second", () => {
  const { own, peers } = wanted(Array.from({ length: 5000 }, (_, i) => i + 1));
  const overlay = overlayOf(file, [...own, ...peers]);
  assertSoon(2000, () => {
    assert.equal(judgePeers(overlay, joinPeers(overlay), []).length, 5000);
  });
});

Deno.test("byPrefix: family before address before length, then what has none", () => {
  const sorted = ["0.0.0.0/0", "9.0.0.0/8", "10.0.0.0/8", "10.0.0.0/16", "::/0", "::a00:0/112", ""];
  const shuffled = [4, 1, 6, 3, 5, 0, 2].map((i) => sorted[i]!);
  assert.deepEqual(
    byPrefix(shuffled, (text) => text === "" ? undefined : parseCidr(text)),
    sorted,
  );
});
