/** portmap from outside: which rules it makes, finds and takes away, by either back end. */

import assert from "node:assert/strict";
import { Node } from "./node.ts";
import { expect } from "./plugins.ts";
import {
  CHAIN,
  ENTRIES,
  INET4,
  type NftRules,
  OK,
  portmap,
  previous,
  ROWS,
  rules,
} from "./portmap_rows.ts";

for (const { id, mappings, config = {}, iptables = {} } of ROWS) {
  Deno.test(`${id} portmap, iptables: ADD makes the rules, DEL takes them`, async () => {
    using node = new Node();
    const reply = expect(await portmap(node, "ADD", mappings, config), OK);
    assert.deepEqual(reply.ips, (config["prevResult"] as typeof reply ?? previous(INET4)).ips);
    for (const family of [4, 6] as const) {
      const wanted = iptables[family];
      assert.deepEqual(node.nat(family, ENTRIES), wanted?.entries ?? []);
      assert.deepEqual(node.nat(family, CHAIN), wanted?.rules ?? []);
      const marks = wanted !== undefined && config["snat"] !== false;
      assert.equal(node.chains(family).includes("CNI-HOSTPORT-SETMARK"), marks);
      const hook = "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT";
      const hooks = wanted === undefined ? [] : [hook];
      for (const base of ["PREROUTING", "OUTPUT"]) assert.deepEqual(node.nat(family, base), hooks);
    }
    expect(await portmap(node, "CHECK", mappings, config), OK);
    expect(await portmap(node, "DEL", mappings, config), OK);
    for (const family of [4, 6] as const) {
      assert.deepEqual([node.nat(family, ENTRIES), node.nat(family, CHAIN)], [[], []]);
      assert.equal(node.chains(family).includes(CHAIN), false);
      const shared = iptables[family] === undefined ? [] : [ENTRIES];
      assert.deepEqual(node.chains(family).filter((chain) => chain === ENTRIES), shared);
    }
  });
}

for (const { id, mappings, config = {}, nftables } of ROWS) {
  if (nftables === undefined) continue;
  Deno.test(`PM22 portmap, nftables, as ${id}: ADD makes the rules, DEL takes them`, async () => {
    using node = new Node();
    const choice = { ...config, backend: "nftables" };
    expect(await portmap(node, "ADD", mappings, choice, { CNI_CONTAINERID: "other" }), OK);
    expect(await portmap(node, "ADD", mappings, choice), OK);
    const own = (table: string, chain: string): string[] =>
      node.nft(table, chain).filter((rule) => rule.endsWith('"abc123"'));
    for (const family of [4, 6] as const) {
      const name = family === 4 ? "ip" : "ip6";
      const wanted: NftRules | undefined = nftables[family];
      const table = `${name} cni_hostport`;
      assert.deepEqual(own(table, "hostports"), wanted?.ports ?? []);
      assert.deepEqual(own(table, "masquerading"), wanted?.sources ?? []);
      if (wanted === undefined) continue;
      const jump = ["fib daddr type local jump hostports_all"];
      assert.deepEqual(node.nft(table, "prerouting"), jump);
      assert.deepEqual(node.nft(table, "output"), jump);
      const both = ["jump hostip_hostports", "jump hostports"];
      assert.deepEqual(node.nft(table, "hostports_all"), both);
    }
    assert.deepEqual([node.nat(4), node.nat(6)], [[], []]);
    expect(await portmap(node, "CHECK", mappings, choice), OK);
    const before = rules(node);
    expect(await portmap(node, "DEL", mappings, choice), OK);
    const kept = before.split("\n").filter((line) => !line.endsWith('comment "abc123"'));
    assert.equal(rules(node), kept.join("\n"));
  });
}
