/** portmap from outside: what it refuses, repeats, confirms and cleans up. */

import assert from "node:assert/strict";
import { Node } from "./node.ts";
import { expect, type Want } from "./plugins.ts";
import {
  BACKENDS,
  CHAIN,
  type Config,
  ENTRIES,
  INET4,
  INET6,
  mapping,
  OK,
  portmap,
  previous,
  rules,
} from "./portmap_rows.ts";

const TCP = ["8080->80/tcp"];
const CONFIG_ERROR: Want = { code: 999, words: ["failed to parse config"] };

Deno.test("PM01 portmap: ADD needs the result of a plugin before, also without mappings", async () => {
  using node = new Node();
  for (const mappings of [TCP, []]) {
    const reply = await portmap(node, "ADD", mappings, { prevResult: undefined });
    expect(reply, { code: 999, words: ["must be called as chained plugin"] });
    const checked = await portmap(node, "CHECK", mappings, { prevResult: undefined });
    expect(checked, { code: 999, words: ["Required prevResult missing"] });
  }
  assert.equal(rules(node).trim(), "");
});

Deno.test("PM02 portmap: without mappings the result passes, and nothing is made", async () => {
  using node = new Node();
  for (const portMappings of [undefined, null, []]) {
    const config = { runtimeConfig: { portMappings } };
    assert.deepEqual(expect(await portmap(node, "ADD", [], config), OK), previous(INET4));
    expect(await portmap(node, "CHECK", [], config), OK);
    expect(await portmap(node, "DEL", [], config), OK);
  }
  assert.equal(rules(node).trim(), "");
});

Deno.test("PM07 portmap: a chain of the operator's marks", async () => {
  using node = new Node();
  node.run("iptables", "-t", "nat", "-N", "PLZ-MARK");
  const config = { externalSetMarkChain: "PLZ-MARK" };
  expect(await portmap(node, "ADD", TCP, config), OK);
  assert.deepEqual(node.nat(4, CHAIN), [
    "-s 10.0.0.0/24 -p tcp -m tcp --dport 8080 -j PLZ-MARK",
    "-s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j PLZ-MARK",
    "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80",
  ]);
  assert.deepEqual(node.chains(4), [CHAIN, ENTRIES]);
  expect(await portmap(node, "CHECK", TCP, config), OK);
});

Deno.test("PM08 portmap: the mark is the bit that was chosen", async () => {
  using node = new Node();
  for (const [bit, mark] of [[5, "0x20"], [31, "0x80000000"], [0, "0x1"]] as const) {
    const config = { markMasqBit: bit };
    expect(await portmap(node, "ADD", TCP, config), OK);
    const [set] = node.nat(4, "CNI-HOSTPORT-SETMARK").filter((rule) =>
      rule.endsWith(`-j MARK --set-xmark ${mark}/${mark}`)
    );
    assert.ok(set, mark);
    const masquerade = `-m mark --mark ${mark}/${mark} -j MASQUERADE`;
    assert.ok(node.nat(4, "CNI-HOSTPORT-MASQ").includes(masquerade), mark);
    expect(await portmap(node, "CHECK", TCP, config), OK);
  }
});

const REFUSED: readonly (readonly [id: string, config: Config])[] = [
  ["PM09", { markMasqBit: 5, externalSetMarkChain: "X" }],
  ["PM09", { markMasqBit: -1 }],
  ["PM09", { markMasqBit: 32 }],
  ["PM11", { backend: "iptables", conditionsV4: ["ip", "saddr", "1.2.3.4"] }],
  ["PM11", { backend: "nftables", conditionsV4: ["-s", "1.2.3.4"] }],
  ["PM11", { backend: "nftables", conditionsV6: ["!", "-s", "fd00::1"] }],
  ["PM11", { backend: "nftables", externalSetMarkChain: "X" }],
  ["PM11", { backend: "zz" }],
  ["PM11", { conditionsV4: ["-s", "1.2.3.4"], conditionsV6: ["ip6", "saddr", "fd00::1"] }],
  ["PM12", { runtimeConfig: { portMappings: [mapping("8080->0/tcp")] } }],
  ["PM12", { runtimeConfig: { portMappings: [mapping("0->80/tcp")] } }],
  ["PM12", { runtimeConfig: { portMappings: [mapping("-1->80/tcp")] } }],
  ["PM12", { runtimeConfig: { portMappings: [mapping("8080->-80/tcp")] } }],
  ["portmap", { runtimeConfig: { portMappings: [mapping("65536->80/tcp")] } }],
  ["portmap", { runtimeConfig: { portMappings: [mapping("8080->65536/tcp")] } }],
  ["portmap", { runtimeConfig: { portMappings: [mapping("8080->80/")] } }],
  ["portmap", { runtimeConfig: { portMappings: [mapping("8080->80/icmp")] } }],
  ["portmap", { runtimeConfig: { portMappings: [mapping("localhost:8080->80/tcp")] } }],
  ["portmap", { runtimeConfig: { portMappings: [null] } }],
  ["portmap", { conditionsV4: ["-s\n-X"] }],
  ["portmap", { externalSetMarkChain: "a b" }],
];

for (const [id, config] of REFUSED) {
  Deno.test(`${id} portmap: refused ${JSON.stringify(config)}`, async () => {
    using node = new Node();
    expect(await portmap(node, "ADD", TCP, config), CONFIG_ERROR);
    assert.equal(rules(node).trim(), "");
  });
}

for (const backend of BACKENDS) {
  Deno.test(`PM16 portmap, ${backend}: a second ADD changes nothing`, async () => {
    using node = new Node();
    const config = { backend, prevResult: previous(INET4, INET6) };
    const conditionsV4 = backend === "iptables"
      ? ["!", "--source", "1.2.3.4", "-m", "mark", "!", "--mark", "7"]
      : ["ip", "saddr", "!=", "1.2.3.4"];
    const mappings = [...TCP, "192.168.0.2:9->9/udp", "9->9/sctp"];
    for (const extra of [{}, { conditionsV4 }]) {
      expect(await portmap(node, "ADD", mappings, { ...config, ...extra }), OK);
      const once = rules(node);
      expect(await portmap(node, "ADD", mappings, { ...config, ...extra }), OK);
      assert.equal(rules(node), once);
      expect(await portmap(node, "CHECK", mappings, { ...config, ...extra }), OK);
    }
  });

  Deno.test(`PM17 portmap, ${backend}: DEL, and DEL again`, async () => {
    using node = new Node();
    expect(await portmap(node, "DEL", TCP, { backend }), OK);
    expect(await portmap(node, "ADD", TCP, { backend }, { CNI_CONTAINERID: "stays" }), OK);
    const before = rules(node);
    expect(await portmap(node, "ADD", TCP, { backend }), OK);
    assert.notEqual(rules(node), before);
    for (const _ of [1, 2]) {
      expect(await portmap(node, "DEL", TCP, { backend }), OK);
      assert.equal(rules(node), before);
    }
  });

  Deno.test(`PM18 portmap, ${backend}: DEL without result and namespace`, async () => {
    using node = new Node();
    expect(await portmap(node, "ADD", TCP, { backend }), OK);
    const config = { backend, prevResult: undefined };
    expect(await portmap(node, "DEL", TCP, config, { CNI_NETNS: undefined }), OK);
    assert.ok(!/8080/.test(rules(node)));
  });

  Deno.test(`portmap, ${backend}: DEL cleans what the other back end made`, async () => {
    using node = new Node();
    expect(await portmap(node, "ADD", TCP, { backend }), OK);
    const other = BACKENDS.find((one) => one !== backend);
    // Mappings that ADD would refuse do not stop it either.
    expect(await portmap(node, "DEL", ["0->0/"], { backend: other }), OK);
    assert.ok(!/8080/.test(rules(node)));
  });

  Deno.test(`portmap, ${backend}: what a refused ADD has made is taken back`, async () => {
    using node = new Node();
    const good = { backend, prevResult: previous(INET4, INET6) };
    const bad = backend === "iptables" ? ["-m", "nonesuch"] : ["ip6", "nonesuch"];
    expect(await portmap(node, "ADD", TCP, { ...good, conditionsV6: bad }), { code: 100 });
    assert.ok(!/8080/.test(rules(node)));
    // The rules of an attachment that was there stay.
    expect(await portmap(node, "ADD", TCP, good), OK);
    const before = rules(node);
    expect(await portmap(node, "ADD", TCP, { ...good, conditionsV6: bad }), { code: 100 });
    if (backend === "iptables") assert.equal(rules(node), before);
    assert.ok(/8080/.test(rules(node)));
  });

  Deno.test(`portmap, ${backend}: GC knows iptables' rules by network and container`, async () => {
    using node = new Node();
    for (const id of ["dead", "alive"]) {
      expect(await portmap(node, "ADD", TCP, { backend }, { CNI_CONTAINERID: id }), OK);
      const config = { backend, name: "othernet" };
      expect(await portmap(node, "ADD", TCP, config, { CNI_CONTAINERID: `${id}-other` }), OK);
    }
    const before = rules(node);
    expect(await portmap(node, "GC", [], { cniVersion: "1.1.0" }), OK);
    assert.equal(rules(node), before);
    const alive = [{ containerID: "alive", ifname: "eth0" }];
    const config = { cniVersion: "1.1.0", "cni.dev/valid-attachments": alive };
    expect(await portmap(node, "GC", [], config), OK);
    if (backend === "nftables") return assert.equal(rules(node), before);
    const owners = node.nat(4, ENTRIES).map((rule) => /id: \\"([^"\\]*)/.exec(rule)?.[1]);
    assert.deepEqual(owners.sort(), ["alive", "alive-other", "dead-other"]);
    assert.equal(node.chains(4).filter((chain) => chain.startsWith("CNI-DN-")).length, 3);
  });
}

Deno.test("PM19 portmap, iptables: CHECK", async () => {
  using node = new Node();
  expect(await portmap(node, "CHECK", TCP), { code: 999, words: ["not found"] });
  expect(await portmap(node, "ADD", TCP), OK);
  expect(await portmap(node, "CHECK", TCP), OK);
  for (const chain of [CHAIN, ENTRIES]) {
    expect(await portmap(node, "ADD", TCP), OK);
    node.run("iptables", "-t", "nat", "-D", chain, "1");
    expect(await portmap(node, "CHECK", TCP), { code: 999, words: [`rule in chain ${chain}`] });
  }
  expect(await portmap(node, "DEL", TCP), OK);
  expect(await portmap(node, "CHECK", TCP), { code: 999, words: [`chain ${CHAIN} not found`] });
});

Deno.test("PM23 portmap, nftables: CHECK", async () => {
  using node = new Node();
  const config = { backend: "nftables" };
  expect(await portmap(node, "CHECK", TCP, config), { code: 999, words: ["chain hostports"] });
  expect(await portmap(node, "ADD", TCP, { ...config, snat: false }), OK);
  expect(await portmap(node, "CHECK", TCP, config), { code: 999, words: ["chain masquerading"] });
  expect(await portmap(node, "ADD", TCP, config), OK);
  expect(await portmap(node, "CHECK", TCP, config), OK);
  // Whoever has not chosen a back end may have changed programs in between.
  expect(await portmap(node, "CHECK", TCP), OK);
  expect(await portmap(node, "DEL", TCP, config), OK);
  expect(await portmap(node, "CHECK", TCP, config), { code: 999, words: ["chain hostports"] });
});

Deno.test("portmap: the back end where iptables is missing", () => {
  using node = new Node();
  const hidden = ["bash", "-c", 'mount -t tmpfs none /usr/sbin && exec "$@"', "-"] as const;
  const call = (command: string, config: Config): string =>
    node.run(
      ...["unshare", "-m", ...hidden, "env", `CNI_COMMAND=${command}`] as const,
      ...["CNI_CONTAINERID=abc123", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0"],
      ...[`CNI_PATH=${node.bench.plugins}`, "bash", "-c"],
      `${node.bench.plugins}/portmap <<< '${
        JSON.stringify({
          cniVersion: "1.0.0",
          name: "dbnet",
          prevResult: previous(INET4),
          runtimeConfig: { portMappings: [mapping("8080->80/tcp")] },
          ...config,
        })
      }' || true`,
    );
  const error = JSON.parse(call("ADD", { backend: "iptables" }));
  assert.equal(error.code, 102);
  assert.match(error.msg, /failed to locate iptables/);
  assert.match(error.details, /package iptables/);
  assert.equal(rules(node).trim(), "");
  assert.deepEqual(JSON.parse(call("ADD", {})).ips, [INET4]);
  assert.equal(node.nft("ip cni_hostport", "hostports").length, 1);
  assert.equal(call("DEL", {}), "");
  assert.equal(node.nft("ip cni_hostport", "hostports").length, 0);
});
