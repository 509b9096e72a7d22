/** bandwidth from outside; what `tc` and `ip` show is the judge. */

import assert from "node:assert/strict";
import { Chain, type ChainOptions, type Json } from "./chain.ts";
import { expect, run, type Want } from "./plugins.ts";

const OK: Want = { ok: true };
/** What the reference's hash makes of network `dbnet` and container `c1`. */
const IFB = "bwp1383eeb27000";

const INGRESS = { ingressRate: 1_000_000, ingressBurst: 80_000 };
const EGRESS = { egressRate: 2_000_000, egressBurst: 160_000 };
/** As `tc -j -d` shows {@link INGRESS} and {@link EGRESS}. */
const LIMITS = {
  ingress: { rate: 125_000, burst: "10000b/1", lat: 25_000 },
  egress: { rate: 250_000, burst: "20000b/1", lat: 25_000 },
};

// deno-lint-ignore no-explicit-any
type Shown = any;

/** A pod on a bridge, with limits. */
class Limited extends Chain {
  with(config: Json, options: Partial<ChainOptions> = {}): ChainOptions {
    return { plugins: [this.bridge, { type: "bandwidth", ...config }], ...options };
  }

  /** The options of a link's token bucket. */
  limit(dev: string): Json | undefined {
    const found: Shown[] = JSON.parse(run("tc", "-j", "-d", "qdisc", "show", "dev", dev));
    const tbf = found.find(({ kind, root }) => kind === "tbf" && root);
    if (tbf === undefined) return undefined;
    assert.equal(tbf.handle, "1:");
    const { rate, burst, lat } = tbf.options;
    return { rate, burst, lat };
  }

  /** Names of the links that get what a link receives. */
  redirections(dev: string): string[] {
    const text = run("tc", "-j", "-d", "filter", "show", "dev", dev, "parent", "ffff:");
    const found: Shown[] = text.trim() === "" ? [] : JSON.parse(text);
    return found.flatMap(({ options }) => options?.actions ?? []).map((action: Shown) => {
      assert.deepEqual([action.mirred_action, action.direction], ["redirect", "egress"]);
      return action.to_dev;
    });
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    const left = ifbs();
    // The next test must not suffer.
    for (const name of left) run("ip", "link", "delete", name);
    assert.deepEqual(left, [], "IFB devices are left");
  }
}

/** Names of all IFB devices. */
function ifbs(): string[] {
  const found: Shown[] = JSON.parse(run("ip", "-j", "-d", "link", "show", "type", "ifb"));
  return found.map(({ ifname }) => ifname).filter((name) => name !== undefined);
}

Deno.test("CH04 bandwidth: both directions", async () => {
  using chain = new Limited();
  const options = chain.with({ ...INGRESS, ...EGRESS });
  const [bridge, bandwidth] = options.plugins as [Json, Json];
  const before = expect(await chain.call("ADD", bridge, options, undefined), OK);
  chain.result = expect(await chain.call("ADD", bandwidth, options, before), OK);

  const [link]: Shown[] = JSON.parse(run("ip", "-j", "-d", "link", "show", "dev", IFB));
  assert.equal(link.linkinfo.info_kind, "ifb");
  assert.deepEqual([link.mtu, link.txqlen ?? 0, link.flags.includes("UP")], [1500, 0, true]);
  const interfaces = [...before.interfaces, { name: IFB, mac: link.address }];
  assert.deepEqual(chain.result, { ...before, interfaces });
  assert.deepEqual(chain.limit(chain.hostEnd), LIMITS.ingress);
  assert.deepEqual(chain.limit(IFB), LIMITS.egress);
  assert.deepEqual(chain.redirections(chain.hostEnd), [IFB]);

  expect(await chain.check(options), OK);
  await chain.del(options);
  assert.deepEqual(ifbs(), []);
  await chain.del(options);
});

Deno.test("CH04 bandwidth: what the pod sends takes the way through the IFB device", async () => {
  using chain = new Limited();
  const options = chain.with(EGRESS);
  await chain.add(options);
  const pod = chain.netns.split("/").at(-1)!;
  run("ip", "netns", "exec", pod, "ping", "-c", "3", "-i", "0.2", "-W", "2", "10.1.2.1");
  const [{ packets }]: Shown[] = JSON.parse(run("tc", "-j", "-s", "qdisc", "show", "dev", IFB));
  assert.ok(packets >= 3, `${packets} packets`);
  await chain.del(options);
});

for (
  const [id, title, config, runtime, want] of [
    ["CH04", "ingress alone", INGRESS, undefined, { ingress: LIMITS.ingress }],
    ["CH04", "egress alone", EGRESS, undefined, { egress: LIMITS.egress }],
    [
      "CH05",
      "the runtime's only",
      { capabilities: { bandwidth: true } },
      { ...INGRESS, ...EGRESS },
      LIMITS,
    ],
    [
      "CH05",
      "the runtime's in containerd's spelling",
      { capabilities: { bandwidth: true } },
      { IngressRate: 1_000_000, IngressBurst: 80_000 },
      { ingress: LIMITS.ingress },
    ],
    [
      "CH05",
      "both: the top level wins",
      { capabilities: { bandwidth: true }, ...INGRESS },
      { ingressRate: 8, ingressBurst: 8, egressRate: 8, egressBurst: 8 },
      { ingress: LIMITS.ingress },
    ],
    ["CH04", "no limit", { ingressRate: 0 }, undefined, {}],
    [
      "CH04",
      "the burst that containerd passes",
      { ingressRate: 1_000_000, ingressBurst: 0xffff_ffff },
      undefined,
      // 2^32 ticks of 64 ns are the most that can be said; what may wait is 512 MiB all the same.
      { ingress: { rate: 125_000, burst: "34359738b/1", lat: 4_020_114_382 } },
    ],
    [
      "CH04",
      "more than 4 GiB a second",
      { ingressRate: 40_000_000_000, ingressBurst: 8_000_000 },
      undefined,
      { ingress: { rate: 5_000_000_000, burst: "1000000b/1", lat: 25_000 } },
    ],
  ] as const
) {
  Deno.test(`${id} bandwidth: ${title}`, async () => {
    using chain = new Limited();
    const options = chain.with(config, runtime && { runtimeConfig: { bandwidth: runtime } });
    const result = await chain.add(options);
    const { ingress, egress }: { ingress?: Json; egress?: Json } = want;
    assert.deepEqual(chain.limit(chain.hostEnd), ingress);
    assert.deepEqual(ifbs(), egress === undefined ? [] : [IFB]);
    assert.equal(result.interfaces.length, egress === undefined ? 3 : 4);
    if (egress !== undefined) assert.deepEqual(chain.limit(IFB), egress);
    expect(await chain.check(options), OK);
    await chain.del(options);
  });
}

for (
  const [title, config] of Object.entries<Json>({
    "a rate without a burst": { ingressRate: 8000 },
    "a burst without a rate": { egressBurst: 8000 },
    "a rate of less than a byte": { ingressRate: 7, ingressBurst: 8 },
    "a burst of 4 GB": { ingressRate: 8, ingressBurst: 8 * 0xffff_ffff },
    "null where an object belongs": { runtimeConfig: { bandwidth: [null] } },
  })
) {
  Deno.test(`CH05 bandwidth: ${title} is an error`, async () => {
    using chain = new Limited();
    const options = chain.with(config);
    expect(await chain.tryAdd(options), { code: 999 });
    assert.equal(chain.limit(chain.hostEnd), undefined);
  });
}

Deno.test("CH05 bandwidth: needs the result of a plugin before it", async () => {
  using chain = new Limited();
  for (const config of [INGRESS, EGRESS, {}]) {
    const options = chain.with(config);
    const [, bandwidth] = options.plugins as [Json, Json];
    const words = ["prevResult"];
    expect(await chain.call("ADD", bandwidth, options, undefined), { code: 999, words });
    expect(await chain.call("CHECK", bandwidth, options, undefined), { code: 999, words });
    expect(await chain.call("DEL", bandwidth, options, undefined), OK);
  }
});

Deno.test("CH05 bandwidth: the pod's other end must be in the result", async () => {
  using chain = new Limited();
  const options = chain.with(INGRESS);
  const [bridge, bandwidth] = options.plugins as [Json, Json];
  const result = expect(await chain.call("ADD", bridge, options, undefined), OK);
  for (const interfaces of [[], [result.interfaces[0], result.interfaces[2]]]) {
    const reply = await chain.call("ADD", bandwidth, options, { ...result, interfaces });
    expect(reply, { code: 999, words: ["veth peer"] });
  }
  const env = { CNI_IFNAME: "eth7" };
  expect(await chain.call("ADD", bandwidth, { ...options, env }, result), {
    code: 999,
    words: ["eth7 not found"],
  });
});

Deno.test("CH04 bandwidth: a second ADD fails, and the first attachment keeps its limits", async () => {
  using chain = new Limited();
  for (const config of [{ ...INGRESS, ...EGRESS }, EGRESS]) {
    const options = chain.with(config);
    const [, bandwidth] = options.plugins as [Json, Json];
    await chain.add(options);
    const limits = (): unknown[] => [
      chain.limit(chain.hostEnd),
      chain.limit(IFB),
      chain.redirections(chain.hostEnd),
    ];
    const before = limits();
    expect(await chain.call("ADD", bandwidth, options, chain.result), {});
    assert.deepEqual(limits(), before);
    await chain.del(options);
  }
});

Deno.test("CH04 bandwidth: a failure leaves nothing behind", async () => {
  using chain = new Limited();
  const options = chain.with({ ...INGRESS, ...EGRESS });
  const [bridge, bandwidth] = options.plugins as [Json, Json];
  chain.result = expect(await chain.call("ADD", bridge, options, undefined), OK);
  // In the way of the last but one step.
  run("tc", "qdisc", "add", "dev", chain.hostEnd, "ingress");
  expect(await chain.call("ADD", bandwidth, options, chain.result), { words: [chain.hostEnd] });
  assert.deepEqual([chain.limit(chain.hostEnd), ifbs()], [undefined, []]);
  run("tc", "qdisc", "del", "dev", chain.hostEnd, "ingress");
  chain.result = expect(await chain.call("ADD", bandwidth, options, chain.result), OK);
  await chain.del(options);
});

Deno.test("CH04 bandwidth: two interfaces of a container have two devices", async () => {
  using chain = new Limited();
  const options = chain.with(EGRESS);
  const other = { ...options, env: { CNI_IFNAME: "net1" } };
  await chain.add(options);
  const first = chain.result;
  await chain.add(other);
  const second = chain.result;
  const name = second.interfaces[3].name;
  assert.match(name, /^bwp[0-9a-f]{12}$/);
  assert.deepEqual(ifbs().sort(), [IFB, name].sort());
  expect(await chain.check(other), OK);
  await chain.del(other);
  assert.deepEqual(ifbs(), [IFB]);
  chain.result = first;
  expect(await chain.check(options), OK);
  await chain.del(options);
});

for (const netns of ["", "/run/netns/nonexistent", "/etc/hostname"]) {
  Deno.test(`CH04 bandwidth: DEL with namespace ${JSON.stringify(netns)} removes the device`, async () => {
    using chain = new Limited();
    const options = chain.with(EGRESS);
    const [, bandwidth] = options.plugins as [Json, Json];
    await chain.add(options);
    const env = { CNI_NETNS: netns };
    expect(await chain.call("DEL", bandwidth, { ...options, env }, undefined), OK);
    assert.deepEqual(ifbs(), []);
    await chain.del(options);
  });
}

Deno.test("CH04 bandwidth: DEL removes the device that the reference plugin made", async () => {
  using chain = new Limited();
  const options = chain.with(EGRESS);
  const [, bandwidth] = options.plugins as [Json, Json];
  run("ip", "link", "add", IFB, "type", "ifb");
  expect(await chain.call("DEL", bandwidth, options, undefined), OK);
});

for (
  const [title, spoil] of Object.entries<(chain: Limited) => string>({
    "another rate": ({ hostEnd }) =>
      `tc qdisc replace dev ${hostEnd} root handle 1: tbf rate 2mbit burst 10000 latency 25ms`,
    "another burst": ({ hostEnd }) =>
      `tc qdisc replace dev ${hostEnd} root handle 1: tbf rate 1mbit burst 20000 limit 13125`,
    "another limit": () =>
      `tc qdisc replace dev ${IFB} root handle 1: tbf rate 2mbit burst 20000 latency 50ms`,
    "no limit": ({ hostEnd }) => `tc qdisc del dev ${hostEnd} root`,
    "no redirection": ({ hostEnd }) => `tc filter del dev ${hostEnd} parent ffff:`,
    "no device": () => `ip link del ${IFB}`,
  })
) {
  Deno.test(`CH04 bandwidth: CHECK finds ${title}`, async () => {
    using chain = new Limited();
    const options = chain.with({ ...INGRESS, ...EGRESS });
    await chain.add(options);
    const [program, ...args] = spoil(chain).split(" ");
    run(program!, ...args);
    expect(await chain.check(options), { code: 999 });
    await chain.del(options);
  });
}

Deno.test("bandwidth: GC removes this network's devices that belong to no listed attachment", async () => {
  using chain = new Limited();
  const options = chain.with(EGRESS, { cniVersion: "1.1.0" });
  const [, bandwidth] = options.plugins as [Json, Json];
  await chain.add(options);
  const gc = async (list: Json): Promise<string[]> => {
    expect(await chain.call("GC", { ...bandwidth, ...list }, options, undefined), OK);
    return ifbs();
  };
  const key = "cni.dev/valid-attachments";
  assert.deepEqual(await gc({}), [IFB]);
  assert.deepEqual(await gc({ [key]: [{ containerID: "c1", ifname: "eth0" }] }), [IFB]);
  run("ip", "link", "add", "bwp000000000000", "type", "ifb");
  assert.deepEqual(await gc({ [key]: [{ containerID: "c1", ifname: "net1" }] }), [
    "bwp000000000000",
  ]);
  run("ip", "link", "del", "bwp000000000000");
  await chain.del(options);
});

Deno.test("SK15 bandwidth: five versions, and each one's result", async () => {
  using bench = new Limited();
  const { supportedVersions } = expect(
    await bench.bench.call({ plugin: "bandwidth", env: { CNI_COMMAND: "VERSION" } }),
    OK,
  );
  assert.deepEqual(supportedVersions, ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
  for (const cniVersion of supportedVersions) {
    using chain = new Limited();
    const options = chain.with(EGRESS, { cniVersion });
    const result = await chain.add(options);
    assert.deepEqual([result.cniVersion, result.interfaces[3].name], [cniVersion, IFB]);
    await chain.del(options);
  }
});

Deno.test("SK31 bandwidth: refuses 0.2.0", async () => {
  using chain = new Limited();
  const options = chain.with(EGRESS, { cniVersion: "0.2.0" });
  const [, bandwidth] = options.plugins as [Json, Json];
  expect(await chain.call("ADD", bandwidth, options, undefined), { code: 1, words: ["0.2.0"] });
});

Deno.test("bandwidth: STATUS", async () => {
  using chain = new Limited();
  const options = chain.with(EGRESS, { cniVersion: "1.1.0" });
  const [, bandwidth] = options.plugins as [Json, Json];
  expect(await chain.call("STATUS", bandwidth, options, undefined), OK);
  const bad = { ...bandwidth, egressBurst: 0 };
  expect(await chain.call("STATUS", bad, options, undefined), { code: 50, words: ["egressBurst"] });
});
