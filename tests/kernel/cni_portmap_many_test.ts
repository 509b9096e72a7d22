/** portmap among others: many calls at once, and the other variant of iptables. */

import assert from "node:assert/strict";
import { Node } from "./node.ts";
import { expect, run } from "./plugins.ts";
import { BACKENDS, CHAIN, ENTRIES, INET4, INET6, OK, portmap, previous } from "./portmap_rows.ts";

const MANY = 12;

for (const backend of BACKENDS) {
  Deno.test(`portmap, ${backend}: ${MANY} ADDs at once, then as many DELs`, async () => {
    using node = new Node();
    const ids = Array.from({ length: MANY }, (_, i) => `pod${i}`);
    const config = { backend, prevResult: previous(INET4, INET6) };
    const all = async (command: string): Promise<void> => {
      const calls = ids.map((CNI_CONTAINERID, i) =>
        portmap(node, command, [`${9000 + i}->80/tcp`], config, { CNI_CONTAINERID })
      );
      for (const reply of await Promise.all(calls)) expect(reply, OK);
    };
    await all("ADD");
    await all("CHECK");
    if (backend === "iptables") {
      for (const family of [4, 6] as const) {
        const hook = "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT";
        for (const base of ["PREROUTING", "OUTPUT"]) {
          assert.deepEqual(node.nat(family, base), [hook]);
        }
        assert.equal(node.nat(family, "POSTROUTING").length, 1);
        assert.equal(node.nat(family, ENTRIES).length, MANY);
      }
    } else {
      assert.equal(node.nft("ip cni_hostport", "hostports").length, MANY);
      assert.equal(node.nft("ip6 cni_hostport", "hostports").length, MANY);
    }
    await all("DEL");
    for (const family of [4, 6] as const) {
      assert.deepEqual(node.nat(family, ENTRIES), []);
      assert.ok(!node.chains(family).some((chain) => chain.startsWith("CNI-DN-")));
    }
    assert.deepEqual(node.nft("ip cni_hostport", "hostports"), []);
    assert.deepEqual(node.nft("ip6 cni_hostport", "masquerading"), []);
  });
}

/** Whether this kernel still has the tables of the older iptables. */
function hasLegacyTables(): boolean {
  try {
    using node = new Node();
    node.run("iptables-legacy", "-t", "nat", "-L");
    return true;
  } catch {
    return false;
  }
}

Deno.test({
  name: "portmap, iptables-legacy: ADD twice, CHECK, DEL (not run where the kernel lacks it)",
  ignore: !hasLegacyTables(),
  fn: async () => {
    using node = new Node();
    const dir = `${node.bench.dir}/legacy`;
    Deno.mkdirSync(dir);
    const multi = run("readlink", "-f", "/usr/sbin/iptables-legacy").trim();
    for (const name of ["iptables", "ip6tables"]) {
      for (const job of ["", "-save", "-restore"]) Deno.symlinkSync(multi, `${dir}/${name}${job}`);
    }
    const env = { PATH: `${dir}:${Deno.env.get("PATH")}` };
    const saved = (): string =>
      ["iptables", "ip6tables"].map((name) => node.run(`${dir}/${name}-save`, "-t", "nat"))
        .join("").replaceAll(/^#.*$/gm, "").replaceAll(/\[\d+:\d+\]/g, "");
    const config = { prevResult: previous(INET4, INET6), conditionsV4: ["!", "-s", "1.2.3.4"] };
    const mappings = ["8080->80/tcp", "192.168.0.2:9->9/udp"];
    expect(await portmap(node, "ADD", mappings, config, { ...env, CNI_CONTAINERID: "stays" }), OK);
    const before = saved();
    expect(await portmap(node, "ADD", mappings, config, env), OK);
    const once = saved();
    assert.ok(once.includes(`:${CHAIN} - `), once);
    expect(await portmap(node, "ADD", mappings, config, env), OK);
    assert.equal(saved(), once);
    expect(await portmap(node, "CHECK", mappings, config, env), OK);
    assert.deepEqual([node.nat(4), node.nat(6)], [[], []]);
    expect(await portmap(node, "DEL", mappings, config, env), OK);
    assert.equal(saved(), before);
  },
});
