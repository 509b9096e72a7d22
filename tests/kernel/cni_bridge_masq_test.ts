/** bridge from outside: masquerade by either back end, and the check of MAC addresses. */

import assert from "node:assert/strict";
import { Node } from "./node.ts";
import { expect, type Reply, run } from "./plugins.ts";
import { BACKENDS, type Config, OK } from "./portmap_rows.ts";
import { Netns } from "./sandbox.ts";

const CHAIN = "CNI-2c9d881d1924f1d6a7733ee3";
const COMMENT = '-m comment --comment "name: \\"dbnet\\" id: \\"abc123\\""';
const TABLE = "inet cni_plugins_masquerade";
const MARK = "77fa157b4f32b23b-ebce0e3dd4dafae3, net: dbnet, if: eth0, id: abc123";
const DUAL = { ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "2001:db8:9::/64" }]] };

/** A pod's namespace, and calls of bridge for it. */
class Pod implements Disposable {
  readonly netns = new Netns();
  readonly #node: Node;
  readonly #id: string;
  readonly #config: Config;

  constructor(node: Node, id: string, config: Config) {
    [this.#node, this.#id, this.#config] = [node, id, config];
  }

  call(command: string, config: Config = {}, env: Config = {}): Promise<Reply> {
    const { ipam, ...others } = { ...this.#config, ...config };
    return this.#node.call({
      plugin: "bridge",
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: this.#id,
        CNI_NETNS: this.netns.path,
        ...env as Record<string, string>,
      },
      config: {
        cniVersion: "1.0.0",
        name: "dbnet",
        bridge: "br0",
        isDefaultGateway: true,
        ipam: {
          type: "host-local",
          dataDir: `${this.#node.bench.dir}/ipam`,
          ...(ipam as Config ?? { subnet: "10.1.2.0/24" }),
        },
        ...others,
      },
    });
  }

  run(...args: string[]): string {
    return this.netns.inside(() => run(args[0] ?? "", ...args.slice(1)));
  }

  [Symbol.dispose](): void {
    this.netns[Symbol.dispose]();
  }
}

function reserved(node: Node): string[] {
  try {
    return [...Deno.readDirSync(`${node.bench.dir}/ipam/dbnet`)].map(({ name }) => name)
      .filter((name) => /^\d/.test(name));
  } catch {
    return [];
  }
}

/** The rules for the first address of each family. */
const RULES = {
  4: {
    jump: `-s 10.1.2.2/32 ${COMMENT} -j ${CHAIN}`,
    chain: [`-d 10.1.2.0/24 ${COMMENT} -j ACCEPT`, `! -d 224.0.0.0/4 ${COMMENT} -j MASQUERADE`],
  },
  6: {
    jump: `-s 2001:db8:9::2/128 ${COMMENT} -j ${CHAIN}`,
    chain: [`-d 2001:db8:9::/64 ${COMMENT} -j ACCEPT`, `! -d ff00::/8 ${COMMENT} -j MASQUERADE`],
  },
} as const;

Deno.test("BR21 bridge: ipMasq by iptables, where nothing else is chosen", async () => {
  using node = new Node();
  using pod = new Pod(node, "abc123", { ipMasq: true, ipam: DUAL });
  const prevResult = expect(await pod.call("ADD"), OK);
  for (const family of [4, 6] as const) {
    assert.deepEqual(node.nat(family, "POSTROUTING"), [RULES[family].jump]);
    assert.deepEqual(node.nat(family, CHAIN), RULES[family].chain);
  }
  expect(await pod.call("CHECK", { prevResult }), OK);
  node.run("ip6tables", "-t", "nat", "-D", "POSTROUTING", "1");
  expect(await pod.call("CHECK", { prevResult }), {
    code: 999,
    words: ["masquerade", "not found"],
  });
  expect(await pod.call("DEL"), OK);
  assert.deepEqual([node.nat(4), node.nat(6), node.chains(4), node.chains(6)], [[], [], [], []]);
});

Deno.test("BR22 bridge: ipMasq by nftables", async () => {
  using node = new Node();
  using pod = new Pod(node, "abc123", { ipMasq: true, ipMasqBackend: "nftables", ipam: DUAL });
  using other = new Pod(node, "other", { ipMasq: true, ipMasqBackend: "nftables" });
  expect(await other.call("ADD"), OK);
  const before = node.nft(TABLE, "masq_checks");
  const prevResult = expect(await pod.call("ADD"), OK);
  assert.deepEqual(node.nft(TABLE, "postrouting"), [
    "ip daddr 224.0.0.0/4 return",
    "ip6 daddr ff00::/8 return",
    "goto masq_checks",
  ]);
  assert.deepEqual(node.nft(TABLE, "masq_checks"), [
    ...before,
    `ip saddr 10.1.2.3 ip daddr != 10.1.2.0/24 masquerade comment "${MARK}"`,
    `ip6 saddr 2001:db8:9::2 ip6 daddr != 2001:db8:9::/64 masquerade comment "${MARK}"`,
  ]);
  expect(await pod.call("CHECK", { prevResult }), OK);
  expect(await pod.call("DEL"), OK);
  assert.deepEqual(node.nft(TABLE, "masq_checks"), before);
  expect(await pod.call("CHECK", { prevResult }), { code: 999 });
  expect(await other.call("DEL", {}, { CNI_NETNS: "" }), OK);
  assert.deepEqual(node.nft(TABLE, "masq_checks"), []);
  assert.equal(node.nft(TABLE, "postrouting").length, 3);
});

Deno.test("BR23 bridge: a back end that does not exist", async () => {
  using node = new Node();
  using pod = new Pod(node, "abc123", { ipMasq: true, ipMasqBackend: "zz" });
  expect(await pod.call("ADD"), { code: 999, words: ["unknown ipmasq backend"] });
  assert.deepEqual(reserved(node), []);
  assert.ok(!pod.run("ip", "link").includes("eth0"));
});

for (const backend of BACKENDS) {
  Deno.test(`BR45 bridge, ${backend}: outside, a pod looks like its node`, async () => {
    using node = new Node();
    using outside = new Netns();
    node.run("ip", "link", "add", "up0", "type", "veth", "peer", "eth0", "netns", outside.name);
    node.run("ip", "addr", "add", "192.168.7.1/24", "dev", "up0");
    node.run("ip", "link", "set", "up0", "up");
    run("ip", "-n", outside.name, "addr", "add", "192.168.7.2/24", "dev", "eth0");
    run("ip", "-n", outside.name, "link", "set", "eth0", "up");
    using pod = new Pod(node, "abc123", { ipMasq: true, ipMasqBackend: backend });
    using other = new Pod(node, "other", {});
    expect(await pod.call("ADD"), OK);
    expect(await other.call("ADD"), OK);
    // Outside has no route to pods, so an answer proves the translation.
    pod.run("ping", "-c1", "-W2", "192.168.7.2");
    assert.throws(() => other.run("ping", "-c1", "-W1", "192.168.7.2"));
    // Inside its network a pod keeps its address.
    const listener = other.netns.inside(() => Deno.listen({ hostname: "0.0.0.0", port: 80 }));
    const accepted = listener.accept();
    pod.run("bash", "-c", "exec 3<>/dev/tcp/10.1.2.3/80");
    using connection = await accepted;
    listener.close();
    assert.equal((connection.remoteAddr as Deno.NetAddr).hostname, "10.1.2.2");
  });

  Deno.test(`bridge, ${backend}: masquerade goes whatever DEL still finds`, async () => {
    const ways: readonly (readonly [config: Config, env: Config])[] = [
      [{}, {}],
      [{ ipMasq: false }, {}],
      [{ ipMasqBackend: BACKENDS.find((one) => one !== backend) }, {}],
      [{}, { CNI_NETNS: "" }],
      [{}, { CNI_NETNS: "/run/netns/nonesuch" }],
      [{ prevResult: "garbage", cniVersion: "1.1.0" }, { CNI_ARGS: "garbage" }],
    ];
    for (const [config, env] of ways) {
      using node = new Node();
      using pod = new Pod(node, "abc123", { ipMasq: true, ipMasqBackend: backend, ipam: DUAL });
      expect(await pod.call("ADD"), OK);
      expect(await pod.call("DEL", config, env), OK);
      const left = [node.nat(4), node.nat(6), node.chains(4), node.chains(6)];
      assert.deepEqual(left, [[], [], [], []], JSON.stringify([config, env]));
      assert.deepEqual(node.nft(TABLE, "masq_checks"), []);
    }
  });

  Deno.test(`bridge, ${backend}: two interfaces of a pod in one network`, async () => {
    for (const gone of [false, true]) {
      using node = new Node();
      using pod = new Pod(node, "abc123", { ipMasq: true, ipMasqBackend: backend });
      // One default route is enough for a pod.
      const second = { isDefaultGateway: false, isGateway: true };
      const eth1 = { CNI_IFNAME: "eth1" };
      const first = expect(await pod.call("ADD"), OK);
      const prevResult = expect(await pod.call("ADD", second, eth1), OK);
      const where = gone ? { CNI_NETNS: "" } : {};
      expect(await pod.call("DEL", {}, where), OK);
      if (!gone) {
        expect(await pod.call("CHECK", { ...second, prevResult }, eth1), OK);
        assert.ok(!node.nat(4, "POSTROUTING").some((rule) => rule.includes("10.1.2.2/32")));
        expect(await pod.call("CHECK", { prevResult: first }), { code: 999 });
      }
      expect(await pod.call("DEL", second, { ...eth1, ...where }), OK);
      assert.deepEqual([node.nat(4), node.chains(4)], [[], []]);
      assert.deepEqual(node.nft(TABLE, "masq_checks"), []);
    }
  });

  Deno.test(`bridge, ${backend}: an ADD that fails takes its rules back`, async () => {
    using node = new Node();
    // Another machine on the bridge has the pod's address already: the last thing that is looked at.
    using twin = new Netns();
    node.run("ip", "link", "add", "br0", "type", "bridge");
    node.run("ip", "link", "add", "v0", "type", "veth", "peer", "eth0", "netns", twin.name);
    for (const set of ["br0 up", "v0 master br0 up"]) {
      node.run("ip", "link", "set", ...set.split(" "));
    }
    run("ip", "-n", twin.name, "link", "set", "eth0", "up");
    run("ip", "-n", twin.name, "addr", "add", "2001:db8:9::2/64", "dev", "eth0", "nodad");
    const rules = { ipMasq: true, ipMasqBackend: backend, macspoofchk: true };
    using pod = new Pod(node, "abc123", { ...rules, enabledad: true, ipam: DUAL });
    expect(await pod.call("ADD"), { code: 999, words: ["another host has the same IPv6 address"] });
    assert.deepEqual([node.nat(4), node.nat(6), node.chains(4), node.chains(6)], [[], [], [], []]);
    assert.deepEqual(node.nft(TABLE, "masq_checks"), []);
    assert.ok(!node.run("nft", "list", "ruleset").includes("cni-br-iface"));
    assert.deepEqual(reserved(node), []);
  });

  Deno.test(`bridge, ${backend}: GC takes stale masquerade of its own network`, async () => {
    using node = new Node();
    using dead = new Pod(node, "dead", { ipMasq: true, ipMasqBackend: backend });
    using alive = new Pod(node, "alive", { ipMasq: true, ipMasqBackend: backend });
    using foreign = new Pod(node, "foreign", {
      ...{ ipMasq: true, ipMasqBackend: backend, name: "othernet", bridge: "br1" },
      ipam: { subnet: "10.1.3.0/24" },
    });
    for (const pod of [dead, alive, foreign]) expect(await pod.call("ADD"), OK);
    const shown = (): string[] => [...node.nat(4), ...node.nft(TABLE, "masq_checks")];
    const all = shown();
    expect(await dead.call("GC", { cniVersion: "1.1.0" }), OK);
    assert.deepEqual(shown(), all);
    const valid = [{ containerID: "alive", ifname: "eth0" }];
    const config = { cniVersion: "1.1.0", "cni.dev/valid-attachments": valid };
    expect(await dead.call("GC", config), OK);
    assert.deepEqual(shown(), all.filter((rule) => !/id: (?:\\")?dead/.test(rule)));
    assert.equal(reserved(node).length, 1);
  });
}

Deno.test("BR27 bridge: macspoofchk drops frames with a foreign MAC address", async () => {
  using node = new Node();
  using pod = new Pod(node, "abc123", { macspoofchk: true });
  using other = new Pod(node, "other", { macspoofchk: true });
  expect(await other.call("ADD"), OK);
  const before = node.run("nft", "list", "ruleset");
  const result = expect(await pod.call("ADD"), OK);
  const [, { name: hostEnd }, { mac }] = result.interfaces;
  const comment = 'comment "macspoofchk-abc123-eth0"';
  const chain = "cni-br-iface-abc123-eth0";
  const jump = `iifname "${hostEnd}" jump ${chain} ${comment}`;
  assert.equal(node.nft("bridge nat", "PREROUTING").at(-1), jump);
  assert.deepEqual(node.nft("bridge nat", chain), [`jump ${chain}-mac ${comment}`]);
  assert.deepEqual(node.nft("bridge nat", `${chain}-mac`), [
    `ether saddr ${mac} return ${comment}`,
    `drop ${comment}`,
  ]);
  expect(await pod.call("CHECK", { prevResult: result }), OK);
  const ping = (): string => pod.run("ping", "-c1", "-W1", "10.1.2.1");
  ping();
  pod.run("ip", "link", "set", "eth0", "address", "02:00:00:00:00:99");
  assert.throws(ping);
  pod.run("ip", "link", "set", "eth0", "address", mac);
  ping();
  expect(await pod.call("DEL", { macspoofchk: false }, { CNI_NETNS: "" }), OK);
  assert.equal(node.run("nft", "list", "ruleset"), before);
  expect(await pod.call("DEL"), OK);
  const gone = await pod.call("CHECK", { prevResult: result });
  expect(gone, { code: 999 });
});

Deno.test("bridge: macspoofchk, for an interface that nft cannot name", async () => {
  using node = new Node();
  using pod = new Pod(node, "abc123", { macspoofchk: true });
  const env = { CNI_IFNAME: 'e";flush' };
  expect(await pod.call("ADD", {}, env), { code: 2, words: ["macspoofchk"] });
  assert.deepEqual(reserved(node), []);
  expect(await pod.call("DEL", {}, env), OK);
});
