/** The pods' bridge after the subnet has changed, on made-up bridges. */

import assert from "node:assert/strict";
import { type BridgeView, planBridge, podsOfOldSubnets } from "../../daemon/bridge.ts";
import { describe } from "../../engine/fact.ts";
import { parseCidr, parseInet } from "../../engine/ip.ts";

const NETS = [
  { network: parseCidr("10.244.0.0/16"), gateway: parseInet("10.244.9.1/24") },
  { network: parseCidr("fd00::/48"), gateway: parseInet("fd00:0:0:9::1/64") },
];

const view = (hasPorts: boolean, ...inets: string[]): BridgeView => ({
  hasPorts,
  addresses: inets.map((inet) => ({
    kind: "address",
    where: "host",
    dev: "cni0",
    inet: parseInet(inet),
  })),
});

for (
  const [title, found, want] of [
    ["without addresses: the plugin's to fill", view(true), []],
    ["as it should be", view(true, "10.244.9.1/24", "fe80::1/64"), []],
    ["foreign addresses only", view(false, "192.168.5.1/24"), []],
    [
      "old subnet, no pods: replaced",
      view(false, "10.244.1.1/24"),
      ["put 10.244.9.1/24 dev cni0", "delete 10.244.1.1/24 dev cni0"],
    ],
    ["old subnet with pods: both", view(true, "10.244.1.1/24"), ["put 10.244.9.1/24 dev cni0"]],
    [
      "the last pod of the old subnet went",
      view(false, "10.244.1.1/24", "10.244.9.1/24", "192.168.5.1/24"),
      ["delete 10.244.1.1/24 dev cni0"],
    ],
    [
      "each family by itself",
      view(true, "10.244.9.1/24", "fd00:0:0:1::1/64"),
      ["put fd00:0:0:9::1/64 dev cni0"],
    ],
  ] as const
) {
  Deno.test(`planBridge: ${title}`, () => {
    const { changes } = planBridge(found, NETS);
    assert.deepEqual(changes.map(({ op, fact }) => `${op} ${describe(fact)}`), want);
  });
}

Deno.test("podsOfOldSubnets: names addresses and containers of the old subnet only", async () => {
  const store = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${store}/cbr0`);
    await Deno.writeTextFile(`${store}/cbr0/10.244.1.5`, "old\r\neth0");
    await Deno.writeTextFile(`${store}/cbr0/10.244.9.5`, "new\r\neth0");
    await Deno.writeTextFile(`${store}/cbr0/lock`, "");
    const found = podsOfOldSubnets(view(true, "10.244.1.1/24"), NETS, store);
    assert.deepEqual(found, ["10.244.1.5 (old)"]);
    assert.deepEqual(podsOfOldSubnets(view(true, "10.244.9.1/24"), NETS, store), []);
  } finally {
    await Deno.remove(store, { recursive: true });
  }
});
