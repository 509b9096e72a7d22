import assert from "node:assert/strict";
import type { BackendFacts, Self, Underlay } from "../../../engine/backend/backend.ts";
import { wireguard, wireguardOptions } from "../../../engine/backend/wireguard.ts";
import { describe, type Fact, type WireguardPeerFact } from "../../../engine/fact.ts";
import { parseCidr, parseCidr4, parseCidr6, parseIp4, parseIp6 } from "../../../engine/ip.ts";
import { jsonObject, stringifyJson } from "../../../engine/json.ts";
import type { Lease } from "../../../engine/lease.ts";
import { formatMemory } from "../../../engine/memory.ts";
import {
  HIDDEN_PSK,
  type NetConf,
  parseNetConf,
  withoutSecrets,
} from "../../../engine/net_conf.ts";
import { plan } from "../../../engine/plan.ts";
import { Secret } from "../../../engine/secret.ts";
import { encodeKey, parseSecretKey, publicKeyOf } from "../../../engine/wireguard_key.ts";
import { FakeKernel } from "../fake_kernel.ts";

const PSK = encodeKey(new Uint8Array(32).fill(7));
const key = (n: number): ReturnType<typeof publicKeyOf> => publicKeyOf(new Uint8Array(32).fill(n));
const KEYS = { publicKey: key(1), privateKey: new Secret(new Uint8Array(32).fill(9)) };

const UNDERLAY: Underlay = {
  name: "eth0",
  mtu: 1500,
  addresses: { 4: parseIp4("192.0.2.1"), 6: parseIp6("2001:db8::1") },
  onLink: [],
};

function conf(options: Record<string, string | number> = {}, dual = false): NetConf {
  return parseNetConf(JSON.stringify({
    Network: "10.244.0.0/16",
    ...(dual ? { EnableIPv6: true, IPv6Network: "fd00:244::/48" } : {}),
    Backend: { Type: "wireguard", ...options },
  }));
}

function node(n: number, more: Partial<Lease> = {}): Lease {
  return {
    subnet: parseCidr4(`10.244.${n}.0/24`),
    publicIp: parseIp4(`192.0.2.${n}`),
    backendType: "wireguard",
    backendData: jsonObject({ PublicKey: key(n), Port: 51820 }),
    ...more,
  };
}

function dual(n: number, more: Partial<Lease> = {}): Lease {
  return node(n, {
    subnet6: parseCidr6(`fd00:244:0:${n}::/64`),
    publicIp6: parseIp6(`2001:db8::${n}`),
    backendV6Data: jsonObject({ PublicKey: key(n), Port: 51821 }),
    ...more,
  });
}

const SELF: Self = { underlay: UNDERLAY, lease: node(1), keys: KEYS };
const SELF_DUAL: Self = { ...SELF, lease: dual(1) };

function words(facts: readonly Fact[]): string[] {
  return facts.map((fact) => `${fact.kind} ${describe(fact)}`);
}

/** The peers' entries of links. */
function entries({ peers }: BackendFacts): WireguardPeerFact[] {
  return peers.flatMap(({ facts }) => facts).filter((f) => f.kind === "wireguard-peer");
}

Deno.test("wireguard: the link, its key, a peer and its route", () => {
  const { own, peers: [peer], bad } = wireguard(conf()).facts(SELF, [node(2)]);
  assert.deepEqual(bad, []);
  assert.deepEqual(words(own), [
    "link flannel-wg type wireguard mtu 1420",
    `wireguard flannel-wg listen-port 51820 public-key ${key(1)}`,
    "address 10.244.1.0/32 dev flannel-wg",
    "up flannel-wg up",
  ]);
  assert.deepEqual(words(peer?.facts ?? []), [
    `wireguard-peer peer ${
      key(2)
    } dev flannel-wg endpoint 192.0.2.2:51820 allowed-ips 10.244.2.0/24`,
    "route 10.244.2.0/24 dev flannel-wg",
  ]);
});

Deno.test("wireguard: separate links have ports of their own", () => {
  const backend = wireguard(conf({ ListenPortV6: 4000 }, true));
  const { own, peers } = backend.facts(SELF_DUAL, [dual(2)]);
  assert.deepEqual(backend.devices(), { 4: "flannel-wg", 6: "flannel-wg-v6" });
  assert.ok(words(own).includes(`wireguard flannel-wg-v6 listen-port 4000 public-key ${key(1)}`));
  assert.deepEqual(words(peers[0]?.facts ?? []).slice(2), [
    `wireguard-peer peer ${key(2)} dev flannel-wg-v6 endpoint [2001:db8::2]:51821 ` +
    "allowed-ips fd00:244:0:2::/64",
    "route fd00:244:0:2::/64 dev flannel-wg-v6",
  ]);
});

const PUBLISHED = [
  ["separate", 51_821],
  ["auto", 51_820],
  ["ipv4", 51_820],
  ["ipv6", 51_820],
] as const;
for (const [mode, port6] of PUBLISHED) {
  Deno.test(`wireguard ${mode}: publishes the ports at which it listens`, () => {
    const published = wireguard(conf({ Mode: mode }, true)).publish({ macs: {}, keys: KEYS });
    const text = (port: number): string => `{"PublicKey":"${key(1)}","Port":${port}}`;
    assert.equal(stringifyJson(published[4] ?? null), text(51_820));
    assert.equal(stringifyJson(published[6] ?? null), text(port6));
  });
}

const PRIVATE4 = parseIp4("10.9.9.2");
const ENDPOINTS: readonly (readonly [string, string, Partial<Lease>, string])[] = [
  ["ipv4", "its IPv4 address", {}, "192.0.2.2:51820"],
  // flannel publishes a port at which its only link does not listen.
  ["ipv6", "its IPv6 address at the port of its IPv4 part", {}, "2001:db8::2:51820"],
  ["auto", "a public IPv4 address first", {}, "192.0.2.2:51820"],
  ["auto", "IPv6 before a private IPv4 address", { publicIp: PRIVATE4 }, "2001:db8::2:51820"],
  [
    "auto",
    "a private IPv4 address before a private IPv6 one",
    { publicIp: PRIVATE4, publicIp6: parseIp6("fd12::2") },
    "10.9.9.2:51820",
  ],
];
for (const [mode, what, lease, want] of ENDPOINTS) {
  Deno.test(`wireguard ${mode}: a peer is reached at ${what}`, () => {
    const found = entries(wireguard(conf({ Mode: mode }, true)).facts(SELF_DUAL, [dual(2, lease)]));
    assert.deepEqual(found.map(({ remote, port }) => `${remote}:${port}`), [want]);
    const nets = ["10.244.2.0/24", "fd00:244:0:2::/64"].map(parseCidr);
    assert.deepEqual(found.map(({ allowed, dev }) => [allowed, dev]), [[nets, "flannel-wg"]]);
  });
}

Deno.test("wireguard: IPv6 alone, in a mode with one link", () => {
  const only6: NetConf = parseNetConf(
    '{"EnableIPv4":false,"EnableIPv6":true,"IPv6Network":"fd00:244::/48",' +
      '"Backend":{"Type":"wireguard","Mode":"ipv6"}}',
  );
  const { publicIp: _, subnet: __, backendData: ___, ...lease } = dual(2);
  const [entry] = entries(wireguard(only6).facts(SELF_DUAL, [lease]));
  assert.deepEqual([entry?.dev, entry?.port], ["flannel-wg", 51_820]);
  const own = wireguard(only6).publish({ macs: {}, keys: KEYS });
  assert.deepEqual(Object.keys(own), ["6"]);
});

const BAD: readonly (readonly [string, Partial<Lease>, RegExp])[] = [
  ["another backend", { backendType: "vxlan" }, /its backend is "vxlan"/],
  ["a damaged key", { backendData: jsonObject({ PublicKey: "AAAA" }) }, /want a key of 32 bytes/],
  ["a bad port", { backendData: jsonObject({ PublicKey: key(2), Port: 70_000 }) }, /Port/],
  ["our address", { publicIp: parseIp4("192.0.2.1") }, /also this node's/],
  ["our key", { backendData: jsonObject({ PublicKey: key(1) }) }, /public key .* a copy/],
];
for (const [what, lease, reason] of BAD) {
  Deno.test(`wireguard: a peer with ${what} is named, and costs the others nothing`, () => {
    const { peers, bad } = wireguard(conf()).facts(SELF, [node(2, lease), node(3)]);
    assert.match(bad[0]?.reason ?? "", reason);
    assert.deepEqual(peers.map((peer) => peer.lease.subnet), ["10.244.3.0/24"]);
  });
}

Deno.test("wireguard: no port in the data means the usual one", () => {
  const lease = node(2, { backendData: jsonObject({ PublicKey: key(2) }) });
  const [entry] = entries(wireguard(conf({ ListenPort: 4001 })).facts(SELF, [lease]));
  assert.equal(entry?.port, 4001);
});

const REFUSED: readonly (readonly [string, string | number, RegExp])[] = [
  ["Mode", "IPV4", /^SyntaxError: Backend\.Mode: no valid Mode configured/],
  ["ListenPort", 65_536, /Backend\.ListenPort: want 0 to 65535/],
  ["PersistentKeepaliveInterval", -1, /Backend\.PersistentKeepaliveInterval/],
  ["MTU", 200, /Backend\.MTU/],
  ["PSK", "hunter2", /^SyntaxError: Backend\.PSK: want a key of 32 bytes(?!.*hunter2)/],
];
for (const [name, value, reason] of REFUSED) {
  Deno.test(`wireguardOptions: ${name} ${value} is refused by name`, () => {
    assert.throws(() => wireguardOptions(conf({ [name]: value })), reason);
  });
}

Deno.test("wireguard: the pre-shared key is for all peers, and seen nowhere", () => {
  const secret = conf({ PSK, PersistentKeepaliveInterval: 25 });
  const facts = wireguard(secret).facts(SELF, [node(2)]);
  const [entry] = entries(facts);
  assert.ok(entry?.psk?.equals(parseSecretKey(PSK)));
  assert.equal(entry?.keepalive, 25);
  const memory = formatMemory({ at: 0, conf: secret, own: node(1), leases: [] });
  for (const text of [JSON.stringify(facts), Deno.inspect(facts, { depth: 9 }), memory]) {
    assert.ok(!text.includes(PSK));
    assert.ok(!text.includes(encodeKey(KEYS.privateKey.reveal())));
  }
  const shown = withoutSecrets(secret);
  assert.ok(stringifyJson(shown.backend.raw).includes(HIDDEN_PSK));
  // Who does not know it asks for any.
  assert.equal(entries(wireguard(shown).facts(SELF, [node(2)]))[0]?.psk, undefined);
});

Deno.test("wireguard: plans converge, and a peer that renews its key leaves nothing behind", () => {
  const backend = wireguard(conf());
  const kernel = new FakeKernel();
  const bring = (peers: readonly Lease[]): number => {
    const { own, peers: good } = backend.facts(SELF, peers);
    const { changes } = plan(
      [...own, ...good.flatMap(({ facts }) => facts)],
      kernel.read(),
      backend.ours(),
    );
    for (const error of kernel.apply(changes)) assert.equal(error, undefined);
    return changes.length;
  };
  assert.equal(bring([node(2), node(3)]), 8);
  assert.equal(bring([node(2), node(3)]), 0);
  bring([node(2, { backendData: jsonObject({ PublicKey: key(5), Port: 51820 }) })]);
  const left = kernel.read().filter((fact) => fact.kind === "wireguard-peer");
  assert.deepEqual(left.map(({ publicKey }) => publicKey), [key(5)]);
});

Deno.test("wireguard: a peer that answers elsewhere is left there; one that does not is put right", () => {
  const { peers: [peer] } = wireguard(conf()).facts(SELF, [node(2)]);
  const [want] = (peer?.facts ?? []).filter((fact) => fact.kind === "wireguard-peer");
  assert.ok(want !== undefined);
  const at = (alive: boolean): Fact => ({
    ...want,
    remote: parseIp4("198.51.100.7"),
    port: 4711,
    traffic: { alive, received: 1, sent: 1 },
  });
  assert.equal(plan([want], [at(true)], () => true).changes.length, 0);
  assert.equal(plan([want], [at(false)], () => true).changes.length, 1);
});

Deno.test("wireguard: flannel's route for the whole network is ours to remove", () => {
  const ours = wireguard(conf()).ours();
  const route = (dev: string, protocol: number): Fact => ({
    kind: "route",
    where: "host",
    dst: parseCidr("10.244.0.0/16"),
    dev,
    protocol,
  });
  assert.equal(ours(route("flannel-wg", 3)), true);
  assert.equal(ours(route("flannel-wg", 2)), false);
  assert.equal(ours(route("eth0", 3)), false);
});
