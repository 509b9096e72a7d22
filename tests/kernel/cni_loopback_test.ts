/** loopback from outside. */

import assert from "node:assert/strict";
import { Bench, expect, type Reply, run, type Want } from "./plugins.ts";

const OK: Want = { ok: true };
const PREVIOUS = {
  cniVersion: "1.0.0",
  interfaces: [{ name: "eth0", mac: "00:11:22:33:44:55", sandbox: "/run/netns/x" }],
  ips: [{ address: "10.1.2.3/24", gateway: "10.1.2.1", interface: 0 }],
  routes: [{ dst: "0.0.0.0/0", table: 0 }],
  dns: { nameservers: ["10.1.2.1"] },
};

function loopback(
  bench: Bench,
  command: string,
  netns: string | undefined,
  config: Readonly<Record<string, unknown>> = {},
): Promise<Reply> {
  return bench.call({
    plugin: "loopback",
    env: { CNI_COMMAND: command, CNI_NETNS: netns },
    config: { cniVersion: "1.0.0", name: "cni-loopback", ...config },
  });
}

function ip(netns: string, ...args: string[]): string {
  return run("ip", "-n", netns.split("/").at(-1) ?? "", ...args);
}

function isUp(netns: string): boolean {
  return ip(netns, "-br", "link", "show", "lo").includes(",UP");
}

function resultIn(netns: string): object {
  return {
    cniVersion: "1.0.0",
    interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: netns }],
    ips: [{ interface: 0, address: "127.0.0.1/8" }, { interface: 0, address: "::1/128" }],
  };
}

Deno.test("LO01 loopback: ADD", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  assert.equal(isUp(pod), false);
  assert.deepEqual(expect(await loopback(bench, "ADD", pod), OK), resultIn(pod));
  assert.equal(isUp(pod), true);
});

Deno.test("LO01 loopback: ADD again", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  for (const _ of [1, 2]) {
    assert.deepEqual(expect(await loopback(bench, "ADD", pod), OK), resultIn(pod));
  }
});

Deno.test("LO02 loopback: DEL", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  expect(await loopback(bench, "ADD", pod), OK);
  expect(await loopback(bench, "DEL", pod), OK);
  assert.equal(isUp(pod), false);
});

for (const netns of [undefined, "", "/run/netns/nonexistent", "/etc/hostname"]) {
  Deno.test(`LO03 loopback: DEL in namespace ${netns}`, async () => {
    using bench = new Bench();
    expect(await loopback(bench, "DEL", netns), OK);
  });
}

Deno.test("LO04 loopback: CHECK with lo up and down", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  const prevResult = expect(await loopback(bench, "ADD", pod), OK);
  expect(await loopback(bench, "CHECK", pod, { prevResult }), OK);
  ip(pod, "link", "set", "lo", "down");
  expect(await loopback(bench, "CHECK", pod, { prevResult }), { code: 999, words: ["down"] });
});

Deno.test("LO05 loopback: ADD with prevResult answers it", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  const config = { prevResult: { ...PREVIOUS, unknown: 1 } };
  assert.deepEqual(expect(await loopback(bench, "ADD", pod, config), OK), PREVIOUS);
  assert.equal(isUp(pod), true);
});

for (const command of ["ADD", "CHECK"]) {
  for (const netns of ["/run/netns/nonexistent", "/etc/hostname"]) {
    Deno.test(`LO06 loopback: ${command} in ${netns}`, async () => {
      using bench = new Bench();
      const words = [`failed to open netns "${netns}"`];
      expect(await loopback(bench, command, netns), { code: 999, words });
    });
  }
}

Deno.test("LO07 loopback: lo has an address of another kind", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  ip(pod, "address", "add", "10.9.9.9/32", "dev", "lo");
  expect(await loopback(bench, "ADD", pod), { code: 999, words: ["10.9.9.9/32"] });
});

Deno.test("LO08 loopback: the forms of older versions", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  const of = async (cniVersion: string): Promise<unknown> =>
    expect(await loopback(bench, "ADD", pod, { cniVersion }), OK);
  assert.deepEqual(await of("0.3.1"), {
    cniVersion: "0.3.1",
    interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: pod }],
    ips: [
      { version: "4", interface: 0, address: "127.0.0.1/8" },
      { version: "6", interface: 0, address: "::1/128" },
    ],
    dns: {},
  });
  assert.deepEqual(await of("0.2.0"), {
    cniVersion: "0.2.0",
    ip4: { ip: "127.0.0.1/8" },
    ip6: { ip: "::1/128" },
    dns: {},
  });
});

Deno.test("loopback: an address of lo that is a loopback address is fine", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  ip(pod, "address", "add", "127.9.9.9/32", "dev", "lo");
  expect(await loopback(bench, "ADD", pod), OK);
});

Deno.test("loopback: a prevResult of another family of versions", async () => {
  using bench = new Bench();
  const pod = bench.pod();
  const config = { prevResult: { ...PREVIOUS, cniVersion: "0.3.1" } };
  expect(await loopback(bench, "ADD", pod, config), { code: 999, words: ["prevResult"] });
  expect(await loopback(bench, "DEL", pod, config), OK);
  assert.equal(isUp(pod), false);
});
