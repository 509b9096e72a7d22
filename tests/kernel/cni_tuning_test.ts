/** tuning from outside. */

import assert from "node:assert/strict";
import { Chain, type ChainOptions, type Json } from "./chain.ts";
import { expect, run, type Want } from "./plugins.ts";

const OK: Want = { ok: true };
const MAC = "0a:58:00:00:00:07";

/** A pod on a bridge, with a `tuning` that keeps its files in the bench. */
class Tuned extends Chain {
  readonly dataDir: string = `${this.bench.dir}/tuning`;

  with(config: Json, options: Partial<ChainOptions> = {}): ChainOptions {
    const { dataDir } = this;
    return { plugins: [this.bridge, { type: "tuning", dataDir, ...config }], ...options };
  }

  /** Names of the kept files, the unfinished ones too. */
  kept(): string[] {
    try {
      return [...Deno.readDirSync(this.dataDir)].map(({ name }) => name);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  /** The settings of the pod's interface. */
  link(): Json {
    const [{ address, mtu, txqlen, flags }] = this.inPod("link", "show", "eth0");
    return {
      mac: address,
      mtu,
      // ip shows no queue where there is none.
      txQLen: txqlen ?? 0,
      promisc: flags.includes("PROMISC"),
      allmulti: flags.includes("ALLMULTI"),
    };
  }
}

Deno.test("CH02 bridge and tuning: the MAC address is the result's, and bridge's CHECK agrees", async () => {
  using chain = new Tuned();
  const options = chain.with({ mac: MAC.toUpperCase() });
  const result = await chain.add(options);
  assert.deepEqual(result.interfaces[2], { name: "eth0", mac: MAC, sandbox: chain.netns });
  assert.notEqual(result.interfaces[1].mac, MAC);
  assert.equal(chain.link()["mac"], MAC);
  expect(await chain.check(options), OK);
  await chain.del(options);
});

interface Row {
  readonly title: string;
  readonly config: Json;
  /** Settings of the interface afterwards that differ from before. */
  readonly link: Json;
  readonly options?: Partial<ChainOptions>;
}

const ROWS: readonly Row[] = [
  { title: "mac", config: { mac: MAC }, link: { mac: MAC } },
  { title: "mtu", config: { mtu: 1400 }, link: { mtu: 1400 } },
  { title: "promisc", config: { promisc: true }, link: { promisc: true } },
  { title: "allmulti", config: { allmulti: true }, link: { allmulti: true } },
  { title: "txQLen", config: { txQLen: 20000 }, link: { txQLen: 20000 } },
  { title: "txQLen 0", config: { txQLen: 0 }, link: { txQLen: 0 } },
  {
    title: "all at once",
    config: { mac: MAC, mtu: 1300, promisc: true, allmulti: true, txQLen: 7 },
    link: { mac: MAC, mtu: 1300, promisc: true, allmulti: true, txQLen: 7 },
  },
  {
    title: "args before runtimeConfig before CNI_ARGS before the plain member",
    config: { mac: "02:00:00:00:00:01", mtu: 1000, args: { cni: { mac: MAC, mtu: 1200 } } },
    link: { mac: MAC, mtu: 1200 },
    options: { env: { CNI_ARGS: "IgnoreUnknown=1;MAC=02:00:00:00:00:02" } },
  },
  {
    title: "runtimeConfig before CNI_ARGS",
    config: { capabilities: { mac: true }, mac: "02:00:00:00:00:01" },
    link: { mac: MAC },
    options: {
      runtimeConfig: { mac: MAC },
      env: { CNI_ARGS: "IgnoreUnknown=1;MAC=02:00:00:00:00:02" },
    },
  },
  {
    title: "keys in any case",
    config: { MTU: 1350, TxQlen: 9, allMulti: true },
    link: { mtu: 1350, txQLen: 9, allmulti: true },
  },
];

for (const { title, config, link, options } of ROWS) {
  Deno.test(`CH08 tuning: ${title}`, async () => {
    using chain = new Tuned();
    const all = chain.with(config, options);
    // The interface as bridge makes it; CNI_ARGS would reach bridge as well.
    const [bridge, tuning] = all.plugins as [Json, Json];
    chain.result = expect(await chain.call("ADD", bridge, { plugins: [] }, undefined), OK);
    const before = chain.link();
    chain.result = expect(await chain.call("ADD", tuning, all, chain.result), OK);
    assert.deepEqual(chain.link(), { ...before, ...link });
    assert.deepEqual(chain.kept(), ["c1_eth0.json"]);
    const file = `${chain.dataDir}/c1_eth0.json`;
    const changed = Object.fromEntries(Object.keys(link).map((name) => [name, before[name]]));
    assert.deepEqual(JSON.parse(Deno.readTextFileSync(file)), { ...changed, network: "dbnet" });
    assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
    expect(await chain.call("CHECK", tuning, all, chain.result), OK);
    expect(await chain.call("DEL", tuning, all, chain.result), OK);
    assert.deepEqual([chain.link(), chain.kept()], [before, []]);
    expect(await chain.call("DEL", tuning, all, chain.result), OK);
  });
}

Deno.test("CH08 tuning: a second ADD keeps what was there before the first", async () => {
  using chain = new Tuned();
  const { plugins } = chain.with({ mtu: 1400 });
  const [bridge, tuning] = plugins as [Json, Json];
  const options = { plugins };
  chain.result = expect(await chain.call("ADD", bridge, options, undefined), OK);
  const before = chain.link();
  for (const more of [{}, { txQLen: 5 }]) {
    expect(await chain.call("ADD", { ...tuning, ...more }, options, chain.result), OK);
  }
  expect(await chain.call("DEL", tuning, options, chain.result), OK);
  assert.deepEqual(chain.link(), before);
});

for (
  const [title, change] of Object.entries({
    "mtu": ["mtu", "1399"],
    "allmulti": ["allmulticast", "off"],
    "txQLen": ["txqueuelen", "8"],
    "mac": ["address", "02:00:00:00:00:09"],
    "promisc, which was not asked for": ["promisc", "on"],
  })
) {
  Deno.test(`CH08 tuning: CHECK finds a changed ${title}`, async () => {
    using chain = new Tuned();
    const options = chain.with({ mac: MAC, mtu: 1400, allmulti: true, txQLen: 7 });
    const [, tuning] = options.plugins as [Json, Json];
    await chain.add(options);
    run("ip", "-n", chain.netns.split("/").at(-1)!, "link", "set", "eth0", ...change);
    expect(await chain.call("CHECK", tuning, options, chain.result), { code: 999 });
  });
}

Deno.test("CH08 tuning: without link settings nothing is kept", async () => {
  using chain = new Tuned();
  const options = chain.with({ mtu: 0, mac: "", promisc: false });
  const result = await chain.add(options);
  assert.deepEqual(chain.kept(), []);
  assert.equal(result.interfaces.length, 3);
});

Deno.test("CH08 tuning: DEL after the pod is gone, and with a spoilt file", async () => {
  using chain = new Tuned();
  const options = chain.with({ mtu: 1400 });
  const [, tuning] = options.plugins as [Json, Json];
  await chain.add(options);
  for (const netns of ["", "/run/netns/nonexistent", "/etc/hostname"]) {
    Deno.writeTextFileSync(`${chain.dataDir}/c1_eth0.json`, netns === "" ? "{" : '{"mtu":1}');
    const env = { CNI_NETNS: netns, CNI_ARGS: "spoilt" };
    expect(await chain.call("DEL", tuning, { ...options, env }, chain.result), OK);
    assert.deepEqual(chain.kept(), []);
  }
});

for (
  const [title, config] of Object.entries<Json>({
    "an MTU that the kernel refuses": { mtu: 10, txQLen: 7 },
    "a MAC address that is none": { mac: "zz", txQLen: 7 },
    "a multicast MAC address": { txQLen: 7, mac: "01:00:00:00:00:01" },
    "a negative queue": { txQLen: -1, mtu: 1400 },
    "a setting that the kernel does not know, behind one that it does": {
      sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.conf.IFNAME.nonesuch": "1" },
    },
    "a value that the kernel refuses": {
      sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1", "net.ipv4.conf.IFNAME.arp_notify": "much" },
    },
  })
) {
  Deno.test(`CH08 tuning: ${title} is an error, and leaves all as it was`, async () => {
    using chain = new Tuned();
    const options = chain.with(config);
    const [bridge, tuning] = options.plugins as [Json, Json];
    const result = expect(await chain.call("ADD", bridge, options, undefined), OK);
    const before = chain.link();
    expect(await chain.call("ADD", tuning, options, result), { code: 999 });
    assert.deepEqual([chain.link(), chain.kept()], [before, []]);
    assert.equal(chain.sysctl("net/ipv4/conf/eth0/arp_filter"), "0");
  });
}

Deno.test("CH08 tuning: needs the result of a plugin before it", async () => {
  using chain = new Tuned();
  const options = chain.with({ mtu: 1400 });
  const [, tuning] = options.plugins as [Json, Json];
  const words = ["Required prevResult missing"];
  for (const command of ["ADD", "CHECK"]) {
    expect(await chain.call(command, tuning, options, undefined), { code: 999, words });
  }
  expect(await chain.call("DEL", tuning, options, undefined), OK);
});

Deno.test("CH09 tuning: settings of the interface and of the namespace", async () => {
  using chain = new Tuned();
  const options = chain.with({
    sysctl: {
      "net.ipv4.conf.IFNAME.arp_filter": "1",
      "net/ipv4/conf/eth0/arp_announce": "2",
      "net.ipv4.ip_local_port_range": "20000 30000",
    },
  });
  const own = Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range");
  await chain.add(options);
  assert.equal(chain.sysctl("net/ipv4/conf/eth0/arp_filter"), "1");
  assert.equal(chain.sysctl("net/ipv4/conf/eth0/arp_announce"), "2");
  assert.match(chain.sysctl("net/ipv4/ip_local_port_range"), /^20000\s30000$/);
  assert.equal(Deno.readTextFileSync("/proc/sys/net/ipv4/ip_local_port_range"), own);
  expect(await chain.check(options), OK);
  const { name } = { name: chain.netns.split("/").at(-1)! };
  run("ip", "netns", "exec", name, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_filter");
  expect(await chain.check(options), { code: 999, words: ["arp_filter"] });
  await chain.del(options);
});

for (
  const [title, sysctl, word] of [
    ["a setting of the whole kernel", '{"kernel.domainname":"x"}', "kernel.domainname"],
    ["a path that leads out", '{"net/../kernel/domainname":"x"}', "domainname"],
    ["net alone", '{"net":"1"}', "net"],
    ["one key twice", '{"net.core.somaxconn":"9","net.core.somaxconn":"8"}', "duplicate"],
    [
      "one setting by two names",
      '{"net.core.somaxconn":"9","net/core/somaxconn":"8"}',
      "duplicate",
    ],
    ["a value that is no text", '{"net.core.somaxconn":9}', "want a string"],
    ["a list", '["net.core.somaxconn"]', "sysctl"],
  ] as const
) {
  Deno.test(`CH09 tuning: ${title} is refused`, async () => {
    using chain = new Tuned();
    const options = chain.with({});
    const [bridge, tuning] = options.plugins as [Json, Json];
    const result = expect(await chain.call("ADD", bridge, options, undefined), OK);
    const text = JSON.stringify(chain.document(tuning, options, result));
    const reply = await chain.bench.call({
      plugin: "tuning",
      env: { CNI_COMMAND: "ADD", CNI_NETNS: chain.netns },
      config: text.replace(/\}$/, `,"sysctl":${sysctl}}`),
    });
    expect(reply, { code: 999, words: [word] });
    assert.equal(chain.sysctl("net/core/somaxconn"), "4096");
  });
}

/** A program that runs `tuning` where /etc has this allow list; the machine's /etc is not touched. */
function withAllowList(chain: Chain, lines: string): string {
  const program = `${chain.bench.plugins}/allowlisted`;
  const overlay = `${chain.bench.dir}/overlay`;
  Deno.mkdirSync(`${overlay}/up/cni/tuning`, { recursive: true });
  Deno.mkdirSync(`${overlay}/work`);
  Deno.writeTextFileSync(`${overlay}/up/cni/tuning/allowlist.conf`, lines);
  const mount = `mount -t tmpfs tmpfs "$0" && cp -a "$1/up" "$0/up" && mkdir "$0/work" && ` +
    `mount -t overlay overlay -o lowerdir=/etc,upperdir="$0/up",workdir="$0/work" /etc`;
  Deno.writeTextFileSync(
    program,
    `#!/bin/sh
exec unshare --mount sh -c '${mount} && exec "$2"' /mnt '${overlay}' '${chain.bench.plugins}/tuning'
`,
    { mode: 0o755 },
  );
  return "allowlisted";
}

for (
  const [title, lines, want] of [
    ["a list that has the key", "^net.ipv4.conf.IFNAME.[a-z_]*$\n", OK],
    ["several lines, with spaces and empty ones", "\n  ^nothing$ \n\n  arp_filter\n", OK],
    ["a list without the key", "^net.ipv6\n", { code: 999, words: ["arp_filter", "not allowed"] }],
    ["an empty list", "", { code: 999, words: ["not allowed"] }],
    ["a line that is no expression", "(\n", { code: 999, words: ["allowlist.conf"] }],
  ] as const
) {
  Deno.test(`CH09 tuning: ${title}`, async () => {
    using chain = new Tuned();
    const options = chain.with({ sysctl: { "net.ipv4.conf.IFNAME.arp_filter": "1" } });
    const [bridge, tuning] = options.plugins as [Json, Json];
    const result = expect(await chain.call("ADD", bridge, options, undefined), OK);
    const type = withAllowList(chain, lines);
    expect(await chain.call("ADD", { ...tuning, type }, options, result), want);
    assert.equal(chain.sysctl("net/ipv4/conf/eth0/arp_filter"), want === OK ? "1" : "0");
  });
}

Deno.test("tuning: GC forgets this network's attachments that are not listed", async () => {
  using chain = new Tuned();
  const options = chain.with({ mtu: 1400 }, { cniVersion: "1.1.0" });
  const [, tuning] = options.plugins as [Json, Json];
  await chain.add(options);
  const other = { mtu: 1, network: "other" };
  Deno.writeTextFileSync(`${chain.dataDir}/c9_eth0.json`, JSON.stringify(other));
  Deno.writeTextFileSync(`${chain.dataDir}/c8_eth0.json`, JSON.stringify({ mtu: 1500 }));
  const gc = async (list: Json): Promise<string[]> => {
    expect(await chain.call("GC", { ...tuning, ...list }, options, undefined), OK);
    return chain.kept().sort();
  };
  const all = ["c1_eth0.json", "c8_eth0.json", "c9_eth0.json"];
  assert.deepEqual(await gc({}), all);
  const alive = [{ containerID: "c1", ifname: "eth0" }];
  assert.deepEqual(await gc({ "cni.dev/valid-attachments": alive }), all);
  assert.deepEqual(await gc({ "cni.dev/valid-attachments": null }), all.slice(1));
});

Deno.test("tuning: STATUS", async () => {
  using chain = new Tuned();
  const options = chain.with({}, { cniVersion: "1.1.0" });
  const [, tuning] = options.plugins as [Json, Json];
  expect(await chain.call("STATUS", tuning, options, undefined), OK);
  const bad = { ...tuning, sysctl: { "kernel.x": "1" } };
  expect(await chain.call("STATUS", bad, options, undefined), { code: 50 });
});

Deno.test("tuning: the result in the form of every version", async () => {
  for (const cniVersion of ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
    using chain = new Tuned();
    const options = chain.with({ mac: MAC }, { cniVersion });
    const result = await chain.add(options);
    assert.deepEqual([result.cniVersion, result.interfaces[2].mac], [cniVersion, MAC]);
    await chain.del(options);
  }
  using chain = new Tuned();
  const options = chain.with({ mac: MAC }, { cniVersion: "0.2.0" });
  const result = await chain.add(options);
  assert.equal(result.ip4.ip, "10.1.2.2/24");
  assert.equal(chain.link()["mac"], MAC);
});
