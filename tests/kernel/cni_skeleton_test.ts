/** The protocol around the plugins, from outside. The ids are those of our case tables. */

import assert from "node:assert/strict";
import { Bench, expect, type PluginCall, type Variables, type Want } from "./plugins.ts";

const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const ADD: Variables = { CNI_COMMAND: "ADD" };
const DEL: Variables = { CNI_COMMAND: "DEL" };
const CHECK: Variables = { CNI_COMMAND: "CHECK" };
/** Only what a command for the whole network needs. */
const ALONE: Variables = {
  CNI_CONTAINERID: undefined,
  CNI_NETNS: undefined,
  CNI_IFNAME: undefined,
};

interface Row {
  readonly id: string;
  readonly title: string;
  readonly plugin?: string;
  readonly env: Variables;
  /** Members that differ from a good configuration of host-local, or stdin's very text. */
  readonly config?: Readonly<Record<string, unknown>> | string;
  readonly want: Want;
}

function missing(id: string, env: Variables, ...names: string[]): Row {
  const list = names.join(",");
  return {
    id,
    title: `${env.CNI_COMMAND} without ${list}`,
    env: { ...env, ...Object.fromEntries(names.map((name) => [name, undefined])) },
    want: { code: 4, words: [`[${list}]`] },
  };
}

function badIfname(id: string, ...names: string[]): Row[] {
  return names.map((name) => ({
    id,
    title: `interface name ${JSON.stringify(name)}`,
    env: { ...ADD, CNI_IFNAME: name },
    want: { code: 4, words: ["CNI_IFNAME"] },
  }));
}

const ROWS: readonly Row[] = [
  missing("SK03", ADD, "CNI_CONTAINERID"),
  missing("SK04", ADD, "CNI_NETNS"),
  missing("SK05", ADD, "CNI_IFNAME"),
  missing("SK06", ADD, "CNI_PATH"),
  missing("SK07", ADD, "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
  { id: "SK08", title: "ADD without CNI_ARGS", env: ADD, want: { ok: true } },
  missing("SK09", CHECK, "CNI_CONTAINERID"),
  missing("SK09", CHECK, "CNI_NETNS"),
  missing("SK09", CHECK, "CNI_IFNAME"),
  missing("SK09", CHECK, "CNI_PATH"),
  {
    id: "SK10",
    title: "DEL without CNI_NETNS",
    env: { ...DEL, CNI_NETNS: undefined },
    want: { ok: true },
  },
  missing("SK11", DEL, "CNI_CONTAINERID"),
  missing("SK11", DEL, "CNI_IFNAME"),
  missing("SK11", DEL, "CNI_PATH"),
  {
    id: "SK12",
    title: "GC with only the command and the path",
    env: { ...ALONE, CNI_COMMAND: "GC" },
    config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] },
    want: { ok: true },
  },
  missing("SK13", { ...ALONE, CNI_COMMAND: "GC" }, "CNI_PATH"),
  {
    id: "SK14",
    title: "STATUS with only the command and the path",
    env: { ...ALONE, CNI_COMMAND: "STATUS" },
    config: { cniVersion: "1.1.0" },
    want: { ok: true },
  },
  {
    id: "SK16",
    title: "an unknown command",
    env: { CNI_COMMAND: "NOPE" },
    want: { code: 4, words: ["NOPE"] },
  },
  {
    id: "SK16",
    title: "a command in small letters",
    env: { CNI_COMMAND: "add" },
    want: { code: 4, words: ["add"] },
  },
  {
    id: "SK16",
    title: "an unknown command with a bad configuration: that comes first",
    env: { CNI_COMMAND: "NOPE" },
    config: { name: "" },
    want: { code: 7 },
  },
  {
    id: "SK17",
    title: "a malformed container ID, even when a later variable is missing",
    env: { ...ADD, CNI_CONTAINERID: "some-%%id", CNI_PATH: undefined },
    want: { code: 4, words: [/^some-%%id$/m] },
  },
  ...badIfname("SK18", "a".repeat(16), "ä".repeat(8)),
  ...badIfname("SK19", ".", ".."),
  ...badIfname("SK20", "a/b", "a:b", "a b", "a\u00a0b", "a\u0085"),
  {
    id: "SK20",
    title: "an interface name with letters of another script",
    env: { ...ADD, CNI_IFNAME: "ä\u200bx" },
    want: { ok: true },
  },
  { id: "SK21", title: "stdin is {", env: ADD, config: "{", want: { code: 6 } },
  { id: "SK22", title: "stdin is empty", env: ADD, config: "", want: { code: 6 } },
  { id: "SK23", title: "stdin is a list", env: ADD, config: "[]", want: { code: 6 } },
  {
    id: "SK23",
    title: "stdin begins with a byte order mark",
    env: ADD,
    config: '\ufeff{"name":"dbnet"}',
    want: { code: 6 },
  },
  {
    id: "SK23",
    title: "stdin has more behind the document",
    env: ADD,
    config: '{"name":"dbnet"} {}',
    want: { code: 6 },
  },
  { id: "SK24", title: "no name", env: ADD, config: { name: undefined }, want: { code: 7 } },
  { id: "SK24", title: "a document that is null", env: ADD, config: "null", want: { code: 7 } },
  {
    id: "SK25",
    title: "a malformed name",
    env: ADD,
    config: { name: "te%%st" },
    want: { code: 7 },
  },
  {
    id: "SK25",
    title: "a name with a newline",
    env: ADD,
    config: { name: "a\n" },
    want: { code: 7 },
  },
  {
    id: "SK26",
    title: "a version that nobody has",
    env: ADD,
    config: { cniVersion: "9.8.7" },
    want: { code: 1, words: ["9.8.7", ...VERSIONS] },
  },
  ...["1.0", "v1.0.0", "1.0.0-rc1", "01.0.0"].map((cniVersion): Row => ({
    id: "SK26",
    title: `ADD with version ${cniVersion}`,
    env: ADD,
    config: { cniVersion },
    want: { code: 1 },
  })),
  {
    id: "SK28",
    title: "CHECK with 0.3.1",
    env: CHECK,
    config: { cniVersion: "0.3.1" },
    want: { code: 1 },
  },
  ...["adsf", "1.0.0.0"].map((cniVersion): Row => ({
    id: "SK29",
    title: `CHECK with version ${cniVersion}`,
    env: CHECK,
    config: { cniVersion },
    want: { code: 6 },
  })),
  {
    id: "SK29",
    title: "CHECK with a version in short form",
    env: CHECK,
    config: { cniVersion: "1.0" },
    want: { code: 1 },
  },
  {
    id: "SK30",
    title: "GC with 1.0.0",
    env: { CNI_COMMAND: "GC" },
    config: { cniVersion: "1.0.0" },
    want: { code: 1 },
  },
  {
    id: "SK30",
    title: "STATUS with 0.4.0",
    env: { CNI_COMMAND: "STATUS" },
    config: { cniVersion: "0.4.0" },
    want: { code: 1 },
  },
  {
    id: "SK30",
    title: "GC with a version of the future",
    env: { CNI_COMMAND: "GC" },
    config: { cniVersion: "2.0.0" },
    want: { code: 1 },
  },
  {
    id: "SK32",
    title: "cniVersion is a number",
    env: ADD,
    config: { cniVersion: 1 },
    want: { code: 6 },
  },
  { id: "SK32", title: "name is a number", env: ADD, config: { name: 1 }, want: { code: 6 } },
  {
    id: "SK34",
    title: "CNI_ARGS that host-local does not know",
    env: { ...ADD, CNI_ARGS: "FOO=bar" },
    want: { code: 999, words: ["FOO=bar"] },
  },
  ...["1", "true", "True"].map((truth): Row => ({
    id: "SK35",
    title: `CNI_ARGS with IgnoreUnknown=${truth}`,
    env: { ...ADD, CNI_ARGS: `FOO=bar;IgnoreUnknown=${truth}` },
    want: { ok: true },
  })),
  {
    id: "SK36",
    title: "IgnoreUnknown that is neither true nor false",
    env: { ...ADD, CNI_ARGS: "IgnoreUnknown=maybe" },
    want: { code: 999 },
  },
  ...["KEY", "A=b=c", "IP=;"].map((args): Row => ({
    id: "SK36",
    title: `CNI_ARGS ${args}`,
    env: { ...ADD, CNI_ARGS: args },
    want: { code: 999, words: ["ARGS: invalid pair"] },
  })),
];

function goodConfig(bench: Bench): Record<string, unknown> {
  return {
    cniVersion: "1.0.0",
    name: "dbnet",
    ipam: { type: "host-local", dataDir: `${bench.dir}/ipam`, subnet: "10.1.2.0/24" },
  };
}

for (const { id, title, plugin = "host-local", env, config = {}, want } of ROWS) {
  Deno.test(`${id} ${title}`, async () => {
    using bench = new Bench();
    const document = typeof config === "string" ? config : { ...goodConfig(bench), ...config };
    const reply = await bench.call({ plugin, env, config: document });
    const json = expect(reply, want);
    if (!("ok" in want) || env.CNI_COMMAND !== "ADD") {
      assert.equal(json === undefined, "ok" in want);
    }
  });
}

for (const [id, command] of [["SK01", undefined], ["SK02", ""]] as const) {
  for (const plugin of ["flannel", "bridge", "host-local", "portmap", "loopback"]) {
    Deno.test(`${id} ${plugin} without a command is harmless`, async () => {
      using bench = new Bench();
      const { status, stdout, stderr } = await bench.call({
        plugin,
        env: { CNI_COMMAND: command },
      });
      assert.deepEqual([status, stdout], [0, ""]);
      assert.match(stderr, new RegExp(`${plugin}.*\n.*${VERSIONS.join(", ")}`));
    });
  }
}

for (const plugin of ["flannel", "bridge", "host-local", "portmap", "loopback"]) {
  Deno.test(`SK15 ${plugin} answers VERSION, and does not read stdin`, async () => {
    using bench = new Bench();
    const env = { ...ALONE, CNI_PATH: undefined, CNI_COMMAND: "VERSION" };
    const started = bench.start({ plugin, env, config: "garbage" });
    const { code, stdout } = await started.output();
    assert.equal(code, 0);
    const { cniVersion, supportedVersions } = JSON.parse(new TextDecoder().decode(stdout));
    assert.deepEqual([cniVersion, supportedVersions], ["1.1.0", VERSIONS]);
  });
}

Deno.test("SK15 VERSION does not wait for a stdin that never ends", async () => {
  using bench = new Bench();
  const child = new Deno.Command(`${bench.plugins}/host-local`, {
    clearEnv: true,
    env: { CNI_COMMAND: "VERSION" },
    stdin: "piped",
    stdout: "null",
  }).spawn();
  assert.equal((await child.status).code, 0);
  await child.stdin.close().catch(() => {});
});

Deno.test("SK27 no cniVersion is 0.1.0, and so is the result", async () => {
  using bench = new Bench();
  const config = { ...goodConfig(bench), cniVersion: undefined };
  const result = expect(await bench.call({ plugin: "host-local", env: ADD, config }), { ok: true });
  assert.deepEqual(result, {
    cniVersion: "0.1.0",
    ip4: { ip: "10.1.2.2/24", gateway: "10.1.2.1" },
    dns: {},
  });
});

const V4 = { address: "10.1.2.2/24", gateway: "10.1.2.1" };
const V6 = { address: "2001:db8:1::2/64", gateway: "2001:db8:1::1" };
const ROUTES = [{ dst: "0.0.0.0/0" }, { dst: "fd00::/8", gw: "2001:db8:1::5" }];

/** The result of one dual-stack ADD in each form. */
function dualStack(version: string): unknown {
  if (version < "0.3.0") {
    const family = ({ address: ip, gateway }: typeof V4, routes: unknown[]): unknown => ({
      ip,
      gateway,
      routes,
    });
    return { ip4: family(V4, ROUTES.slice(0, 1)), ip6: family(V6, ROUTES.slice(1)), dns: {} };
  }
  if (version < "1.0.0") {
    const ips = [{ version: "4", ...V4 }, { version: "6", ...V6 }];
    return { ips, routes: ROUTES, dns: {} };
  }
  return { ips: [V4, V6], routes: ROUTES };
}

for (const cniVersion of VERSIONS) {
  Deno.test(`SK33 result in the form of ${cniVersion}`, async () => {
    using bench = new Bench();
    const ranges = [[{ subnet: "10.1.2.0/24" }], [{ subnet: "2001:db8:1::/64" }]];
    const ipam = { type: "host-local", dataDir: `${bench.dir}/ipam`, ranges, routes: ROUTES };
    const call: PluginCall = {
      plugin: "host-local",
      env: ADD,
      config: { cniVersion, name: "dbnet", ipam },
    };
    const result = expect(await bench.call(call), { ok: true });
    assert.deepEqual(result, { cniVersion, ...dualStack(cniVersion) as object });
  });
}

Deno.test("SK37 an error object has four spaces, no newline, and the config's version", async () => {
  using bench = new Bench();
  const config = { ...goodConfig(bench), ipam: undefined };
  const { status, stdout } = await bench.call({ plugin: "host-local", env: ADD, config });
  assert.equal(status, 1);
  assert.match(
    stdout,
    /^\{\n {4}"cniVersion": "1\.0\.0",\n {4}"code": 7,\n {4}"msg": "[^\n]+"\n\}$/,
  );
});

Deno.test("the reader takes 17 MiB of stdin", async () => {
  using bench = new Bench();
  const config = { ...goodConfig(bench), padding: "x".repeat(17 << 20) };
  expect(await bench.call({ plugin: "host-local", env: ADD, config }), { ok: true });
});

for (const command of ["ADD", "CHECK", "DEL"]) {
  for (const plugin of ["flannel", "bridge", "host-local", "portmap", "loopback"]) {
    Deno.test(`${plugin} ${command} refuses its own namespace before it acts`, async () => {
      using bench = new Bench();
      const env = { CNI_COMMAND: command, CNI_NETNS: "/proc/self/ns/net" };
      const error = expect(await bench.call({ plugin, env, config: goodConfig(bench) }), {
        code: 8,
      });
      assert.equal(error.cniVersion, "1.0.0");
      assert.deepEqual([...Deno.readDirSync(bench.dir)].map(({ name }) => name), ["bin"]);
    });
  }
}

for (const override of ["1", "true", "TRUE"]) {
  Deno.test(`CNI_NETNS_OVERRIDE=${override} allows its own namespace`, async () => {
    using bench = new Bench();
    const env = { ...ADD, CNI_NETNS: "/proc/self/ns/net", CNI_NETNS_OVERRIDE: override };
    expect(await bench.call({ plugin: "host-local", env, config: goodConfig(bench) }), {
      ok: true,
    });
  });
}
