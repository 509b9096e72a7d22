import assert from "node:assert/strict";
import fc from "fast-check";
import {
  extensionOptions,
  ownEnv,
  peerEnv,
  peerInput,
  steps,
  wordsOf,
} from "../../../engine/backend/extension.ts";
import { parseCidr4, parseIp4 } from "../../../engine/ip.ts";
import { type Lease, leaseKey } from "../../../engine/lease.ts";
import { type NetConf, parseNetConf } from "../../../engine/net_conf.ts";
import { UNDERLAY } from "../facts.ts";

function conf(backend: Record<string, unknown>): NetConf {
  const Backend = { Type: "extension", ...backend };
  return parseNetConf(JSON.stringify({ Network: "10.244.0.0/16", Backend }));
}

function node(n: number, backendData = "key"): Lease {
  return {
    subnet: parseCidr4(`10.244.${n}.0/24`),
    publicIp: parseIp4(`192.0.2.${n}`),
    backendType: "extension",
    backendData,
  };
}

Deno.test("extension: a text is split at white space, and names are replaced in each word", () => {
  const env = { SUBNET: "10.244.2.0/24", PUBLIC_IP: "192.0.2.2", SPACED: "a b" };
  assert.deepEqual(
    wordsOf("  ip  route add $SUBNET\tvia ${PUBLIC_IP} '$SPACED' $NONE x$PUBLIC_IP.", env),
    ["ip", "route", "add", "10.244.2.0/24", "via", "192.0.2.2", "'a b'", "", "x192.0.2.2."],
  );
});

Deno.test("extension: a list is taken as it is", () => {
  const words = ["sh", "-c", "ip route replace $SUBNET via $PUBLIC_IP"];
  const { SubnetAddCommand } = extensionOptions(conf({ SubnetAddCommand: words }));
  assert.deepEqual(wordsOf(SubnetAddCommand ?? "", { SUBNET: "x" }), words);
});

for (
  const [what, command, message] of [
    ["a number", 7, /Backend.SubnetAddCommand: want/],
    ["a list with a number", ["ip", 7], /Backend.SubnetAddCommand\[1\]: want/],
    ["a list without a program", ["", "x"], /Backend.SubnetAddCommand\[0\]: want a program's name/],
  ] as const
) {
  Deno.test(`extension: ${what} is no command`, () => {
    assert.throws(() => extensionOptions(conf({ SubnetAddCommand: command })), message);
  });
}

Deno.test("extension: what commands are told", () => {
  assert.deepEqual(peerEnv(node(2)), {
    SUBNET: "10.244.2.0/24",
    PUBLIC_IP: "192.0.2.2",
    IPV6SUBNET: "",
    PUBLIC_IPV6: "",
  });
  assert.equal(
    ownEnv(conf({}), { underlay: UNDERLAY, lease: node(1) })["NETWORK"],
    "10.244.0.0/16",
  );
  assert.equal(peerInput(node(2, "a key")), "a key\n");
  const { backendData: _, ...silent } = node(2);
  assert.equal(peerInput(silent), "\n");
});

Deno.test("extension: a peer that changed goes as it was, and comes as it is", () => {
  const [before, after] = [node(2), node(2, "other")];
  assert.deepEqual(steps([before], [after]), [
    { command: "SubnetRemoveCommand", peer: before },
    { command: "SubnetAddCommand", peer: after },
  ]);
  assert.deepEqual(steps([before], [{ ...before }]), []);
});

Deno.test("extension: done, the steps lead from any peers to any others", () => {
  const peers = fc.uniqueArray(
    fc.tuple(fc.integer({ min: 2, max: 9 }), fc.constantFrom("a", "b")),
    { selector: ([n]) => n },
  ).map((list) => list.map(([n, data]) => node(n, data)));
  fc.assert(fc.property(peers, peers, (done, want) => {
    let have = [...done];
    for (const { command, peer } of steps(done, want)) {
      if (command === "SubnetRemoveCommand") have = have.filter((one) => one !== peer);
      else have.push(peer);
    }
    const sorted = (list: readonly Lease[]): string[] =>
      list.map((peer) => leaseKey(peer) + peerInput(peer)).toSorted();
    assert.deepEqual(sorted(have), sorted(want));
    assert.deepEqual(steps(have, want), []);
  }));
});
