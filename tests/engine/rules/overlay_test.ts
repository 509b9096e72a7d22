import assert from "node:assert/strict";
import fc from "fast-check";
import { contains, familyOf, type Ip, parseCidr, parseIp } from "../../../engine/ip.ts";
import {
  type OverlayNet,
  overlayRules,
  overlayRulesFact,
  overlayTable,
} from "../../../engine/rules/overlay.ts";
import * as any from "../arbitraries.ts";
import { type Packet, verdictOf } from "./packets.ts";

const NET4: OverlayNet = {
  network: parseCidr("10.244.0.0/16"),
  subnet: parseCidr("10.244.1.0/24"),
};
const NET6: OverlayNet = {
  network: parseCidr("fd00:10:244::/48"),
  subnet: parseCidr("fd00:10:244:1::/64"),
};

const table = overlayTable("");
const ALL = { table, masquerade: true, forward: true, fullyRandom: true };
const RULES = overlayRules([NET4, NET6], ALL);

/** Who is who, in both families. */
const WHO = {
  pod: ["10.244.1.7", "fd00:10:244:1::7"],
  "its neighbour": ["10.244.1.8", "fd00:10:244:1::8"],
  "a pod elsewhere": ["10.244.2.7", "fd00:10:244:2::7"],
  "a pod on a third node": ["10.244.3.7", "fd00:10:244:3::7"],
  "the node": ["192.0.2.1", "2001:db8::1"],
  "the node's VTEP": ["10.244.1.0", "fd00:10:244:1::"],
  outside: ["198.51.100.7", "2001:db8:f::7"],
  multicast: ["239.1.2.3", "ff02::fb"],
} as const;
type Who = keyof typeof WHO;

const MEANING: readonly (readonly [from: Who, to: Who, masquerade: boolean])[] = [
  ["pod", "its neighbour", false],
  ["pod", "a pod elsewhere", false],
  ["a pod elsewhere", "pod", false],
  ["pod", "outside", true],
  ["pod", "the node", true],
  ["a pod elsewhere", "outside", true],
  ["outside", "pod", false],
  ["the node", "pod", false],
  ["the node", "a pod elsewhere", true],
  ["the node's VTEP", "a pod elsewhere", false],
  ["outside", "a pod elsewhere", true],
  ["the node", "outside", false],
  ["pod", "multicast", false],
  ["the node", "multicast", false],
  // Only a node in between sees these; flannel does the same.
  ["a pod elsewhere", "a pod on a third node", true],
];
for (const [from, to, masquerade] of MEANING) {
  Deno.test(`overlayRules: ${from} to ${to}: ${masquerade ? "masquerade" : "keep"}`, () => {
    for (const i of [0, 1] as const) {
      const packet = { source: parseIp(WHO[from][i]), destination: parseIp(WHO[to][i]) };
      assert.equal(verdictOf(RULES, "postrouting", packet) === "masquerade", masquerade);
      // What kube-proxy marked it masquerades itself; other marks mean nothing to us.
      assert.equal(verdictOf(RULES, "postrouting", { ...packet, mark: 0x4001 }), "return");
      assert.equal(
        verdictOf(RULES, "postrouting", { ...packet, mark: 0x8000 }) === "masquerade",
        masquerade,
      );
    }
  });
}

const FORWARDED: readonly (readonly [from: Who, to: Who, accept: boolean])[] = [
  ["pod", "outside", true],
  ["outside", "pod", true],
  ["pod", "a pod elsewhere", true],
  ["the node", "outside", false],
  ["outside", "outside", false],
];
for (const [from, to, accept] of FORWARDED) {
  Deno.test(`overlayRules: ${from} to ${to}, forwarded: ${accept ? "accept" : "no word"}`, () => {
    for (const i of [0, 1] as const) {
      const packet = { source: parseIp(WHO[from][i]), destination: parseIp(WHO[to][i]) };
      assert.equal(verdictOf(RULES, "forward", packet), accept ? "accept" : undefined);
    }
  });
}

/** Addresses of which many lie in or next to the two networks. */
function address(family: 4 | 6): fc.Arbitrary<Ip> {
  const net = family === 4 ? 0 : 1;
  const known = fc.constantFrom(...Object.values(WHO).map((pair) => parseIp(pair[net] as string)));
  return fc.oneof(known, any.ip(family));
}

Deno.test("overlayRules: masquerades exactly what would come back wrong, or leak, otherwise", () => {
  const packet = any.family.chain((family) =>
    fc.record({ source: address(family), destination: address(family), mark: fc.nat(0xffff) })
  );
  fc.assert(fc.property(packet, (packet: Packet) => {
    const { network, subnet } = familyOf(packet.source) === 4 ? NET4 : NET6;
    const [from, to] = [packet.source, packet.destination];
    const multicast = contains(parseCidr(familyOf(to) === 4 ? "224.0.0.0/4" : "ff00::/8"), to);
    const elsewhere = (ip: Ip): boolean => contains(network, ip) && !contains(subnet, ip);
    const leaves = contains(network, from) && !contains(network, to) && !multicast;
    const enters = !contains(network, from) && elsewhere(to);
    const passes = elsewhere(from) && elsewhere(to);
    const marked = ((packet.mark ?? 0) & 0x4000) !== 0;
    assert.equal(
      verdictOf(RULES, "postrouting", packet) === "masquerade",
      !marked && (leaves || enters || passes),
    );
  }));
});

Deno.test("overlayRules: a node that serves one family leaves the other's packets alone", () => {
  const rules = overlayRules([NET4], ALL);
  const source = parseIp(WHO.pod[1]);
  const destination = parseIp(WHO.outside[1]);
  assert.equal(verdictOf(rules, "postrouting", { source, destination }), undefined);
  assert.equal(verdictOf(rules, "forward", { source, destination }), undefined);
});

Deno.test("overlayRulesFact: the text as nft lists it", () => {
  assert.equal(
    overlayRulesFact([NET4], ALL).text,
    `table inet twill {
	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr 10.244.0.0/16 accept comment "from a pod"
		ip daddr 10.244.0.0/16 accept comment "to a pod"
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta mark & 0x00004000 == 0x00004000 return comment "marked by kube-proxy, which masquerades it"
		ip saddr 10.244.1.0/24 ip daddr 10.244.0.0/16 return comment "our pods to the overlay keep their address"
		ip saddr 10.244.0.0/16 ip daddr 10.244.1.0/24 return comment "the overlay to our pods keeps its address"
		ip saddr != 10.244.0.0/16 ip daddr 10.244.1.0/24 return comment "outside clients of our pods keep their address"
		ip saddr 10.244.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random comment "pods leave the overlay with the node's address"
		ip saddr != 10.244.0.0/16 ip daddr 10.244.0.0/16 masquerade fully-random comment "this node to pods of others, so that answers come back here"
	}
}
`,
  );
});

Deno.test("overlayRulesFact: what is switched off is not there; nothing is empty text", () => {
  const text = (options: Partial<typeof ALL>): string =>
    overlayRulesFact([NET6], { ...ALL, ...options }).text;
  assert.doesNotMatch(text({ masquerade: false }), /postrouting/);
  assert.match(text({ masquerade: false }), /chain forward/);
  assert.doesNotMatch(text({ forward: false }), /chain forward/);
  assert.match(text({ fullyRandom: false }), /masquerade comment/);
  assert.doesNotMatch(text({ fullyRandom: false }), /fully-random/);
  assert.match(text({}), /ip6 saddr fd00:10:244::\/48 ip6 daddr != ff00::\/8 masquerade/);
  assert.equal(text({ masquerade: false, forward: false }), "");
});

Deno.test("overlayTable: a named instance has a table of its own", () => {
  assert.equal(overlayTable(""), "inet twill");
  assert.equal(overlayTable("blue"), "inet twill-blue");
  assert.match(
    overlayRulesFact([NET4], { ...ALL, table: overlayTable("blue") }).text,
    /^table inet twill-blue \{\n/,
  );
});
