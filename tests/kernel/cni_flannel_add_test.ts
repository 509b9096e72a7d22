/** flannel from outside: the configuration that it makes for its delegate. */

import assert from "node:assert/strict";
import { DELEGATE_RESULT, DOCUMENT, ENV, FlannelBench, type Json, OK } from "./flannel_bench.ts";
import { expect, type Variables } from "./plugins.ts";

interface Row {
  readonly id: string;
  readonly title: string;
  readonly env?: Variables;
  readonly config?: Json;
  /** Members of the document that differ from {@link DOCUMENT}. */
  readonly document?: Json;
}

const ROWS: readonly Row[] = [
  { id: "FL01", title: "no delegate" },
  {
    id: "FL01",
    title: "no cniVersion",
    config: { cniVersion: undefined },
    document: { cniVersion: undefined },
  },
  {
    id: "FL03",
    title: "two networks",
    env: { FLANNEL_NETWORK: "10.1.0.0/16,10.9.0.0/16,10.1.0.0/16" },
    document: {
      ipam: { ...DOCUMENT.ipam, routes: [{ dst: "10.1.0.0/16" }, { dst: "10.9.0.0/16" }] },
    },
  },
  {
    id: "FL04",
    title: "IPv6 only",
    env: {
      FLANNEL_NETWORK: undefined,
      FLANNEL_SUBNET: undefined,
      FLANNEL_IPV6_NETWORK: "fc00::/48",
      FLANNEL_IPV6_SUBNET: "fc00::1/64",
    },
    document: {
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "fc00::/64" }]],
        routes: [{ dst: "fc00::/48" }],
      },
    },
  },
  {
    id: "FL05",
    title: "both families",
    env: { FLANNEL_IPV6_NETWORK: "fc00::/48", FLANNEL_IPV6_SUBNET: "fc00::1/64" },
    document: {
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.1.17.0/24" }], [{ subnet: "fc00::/64" }]],
        routes: [{ dst: "10.1.0.0/16" }, { dst: "fc00::/48" }],
      },
    },
  },
  {
    id: "FL06",
    title: "masquerade is ours",
    env: { FLANNEL_IPMASQ: "false" },
    document: { ipMasq: true },
  },
  {
    id: "FL07",
    title: "what the delegate says is kept",
    config: {
      delegate: {
        bridge: "mybr0",
        mtu: 1400,
        ipMasq: true,
        hairpinMode: true,
        isGateway: false,
        other: [1],
      },
    },
    document: {
      bridge: "mybr0",
      mtu: 1400,
      ipMasq: true,
      hairpinMode: true,
      isGateway: false,
      other: [1],
    },
  },
  {
    id: "FL07",
    title: "in any spelling, and without isGateway for others than bridge",
    config: { Delegate: { MTU: 1400, type: "my-delegate" } },
    document: { MTU: 1400, mtu: undefined, type: "my-delegate", isGateway: undefined },
  },
  {
    id: "FL08",
    title: "what ipam says is kept",
    config: {
      ipam: {
        type: "my-ipam",
        routes: [{ dst: "10.8.0.0/16" }, { dst: "10.7.0.0/16", gw: "10.1.17.9" }],
        "unknown-param": { deep: true },
        ranges: "overwritten",
      },
    },
    document: {
      ipam: {
        type: "my-ipam",
        routes: [
          { dst: "10.8.0.0/16" },
          { dst: "10.7.0.0/16", gw: "10.1.17.9" },
          { dst: "10.1.0.0/16" },
        ],
        "unknown-param": { deep: true },
        ranges: [[{ subnet: "10.1.17.0/24" }]],
      },
    },
  },
  {
    id: "FL09",
    title: "ipam without a type",
    config: { ipam: { dataDir: "/somewhere" } },
    document: { ipam: { ...DOCUMENT.ipam, dataDir: "/somewhere" } },
  },
  {
    id: "FL13",
    title: "runtimeConfig goes to the delegate",
    config: { runtimeConfig: { mac: "00:11:22:33:44:55" } },
    document: { runtimeConfig: { mac: "00:11:22:33:44:55" } },
  },
];

for (const { id, title, env, config, document } of ROWS) {
  Deno.test(`${id} flannel: ${title}`, async () => {
    using bench = new FlannelBench({ ...ENV, ...env });
    expect(await bench.flannel("ADD", config), OK);
    const want = JSON.parse(JSON.stringify({ ...DOCUMENT, ...document }));
    const file = `${bench.dataDir}/c1`;
    assert.deepEqual(JSON.parse(Deno.readTextFileSync(file)), want);
    assert.deepEqual(bench.got("ADD"), want);
    assert.equal(Deno.statSync(file).mode! & 0o777, 0o600);
    assert.equal(Deno.statSync(bench.dataDir).mode! & 0o777, 0o700);
  });
}

Deno.test("flannel: the delegate's result is the result", async () => {
  using bench = new FlannelBench();
  assert.deepEqual(expect(await bench.flannel("ADD"), OK), DELEGATE_RESULT);
});

for (
  const [title, delegate] of Object.entries<unknown>({
    "a type that is a number": { type: 5 },
    "a name": { name: "x" },
    "an ipam": { ipam: {} },
    "a list": [],
  })
) {
  Deno.test(`FL10 flannel: delegate with ${title}`, async () => {
    using bench = new FlannelBench();
    expect(await bench.flannel("ADD", { delegate }), { code: 999, words: ["delegate"] });
    assert.deepEqual(bench.kept(true), []);
  });
}

const BAD_ENV: Readonly<Record<string, readonly [Variables, readonly string[]]>> = {
  "is empty": [
    Object.fromEntries(Object.keys(ENV).map((key) => [key, undefined])),
    [
      "FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ",
    ],
  ],
  "lacks the MTU": [{ FLANNEL_MTU: undefined }, ["is missing FLANNEL_MTU"]],
  "has a bad subnet": [{ FLANNEL_SUBNET: "10.1.17.1" }, ["FLANNEL_SUBNET"]],
  "has a bad MTU": [{ FLANNEL_MTU: "-1" }, ["FLANNEL_MTU"]],
};

for (const [title, [env, words]] of Object.entries(BAD_ENV)) {
  Deno.test(`FL11 flannel: subnet file that ${title}`, async () => {
    using bench = new FlannelBench({ ...ENV, ...env });
    expect(await bench.flannel("ADD"), { code: 999, words: ["subnet.env", ...words] });
    assert.deepEqual(bench.kept(true), []);
  });
}

Deno.test("FL11 flannel: subnet file whose line has no value", async () => {
  using bench = new FlannelBench();
  Deno.writeTextFileSync(bench.subnetFile, "FLANNEL_MTU\n");
  expect(await bench.flannel("ADD"), { code: 999, words: ["subnet.env", "FLANNEL_MTU"] });
});

Deno.test("FL11 flannel: no subnet file", async () => {
  using bench = new FlannelBench();
  Deno.removeSync(bench.subnetFile);
  expect(await bench.flannel("ADD"), {
    code: 999,
    words: ["open ", "subnet.env: no such file or directory"],
  });
});

Deno.test("FL12 flannel: defaults of subnetFile and dataDir", async () => {
  using bench = new FlannelBench();
  const id = `fl12-${crypto.randomUUID()}`;
  using cleanUp = new DisposableStack();
  for (const dir of ["/run/flannel", "/var/lib/cni", "/var/lib/cni/flannel"]) {
    try {
      Deno.mkdirSync(dir);
      cleanUp.defer(() => Deno.removeSync(dir, { recursive: true }));
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    }
  }
  Deno.copyFileSync(bench.subnetFile, "/run/flannel/subnet.env");
  cleanUp.defer(() => Deno.removeSync("/run/flannel/subnet.env"));
  const config = { subnetFile: undefined, dataDir: undefined };
  const env = { CNI_CONTAINERID: id };
  expect(await bench.flannel("ADD", config, env), OK);
  const kept = Deno.readTextFileSync(`/var/lib/cni/flannel/${id}`);
  assert.deepEqual(JSON.parse(kept), DOCUMENT);
  expect(await bench.flannel("DEL", config, env), OK);
  assert.throws(() => Deno.statSync(`/var/lib/cni/flannel/${id}`), Deno.errors.NotFound);
});
