/** firewall from outside; what `iptables-save` shows is the judge. */

import assert from "node:assert/strict";
import type { ChainOptions, Json } from "./chain.ts";
import { admin, CHAINS, HOOK, isolation, of, rules, Walled } from "./firewall_bench.ts";
import { expect, run, type Want } from "./plugins.ts";

const OK: Want = { ok: true };

Deno.test("CH06 firewall: rules of both families, CHECK, DEL", async () => {
  using chain = new Walled();
  const options = chain.dual({});
  const [bridge, firewall] = options.plugins as [Json, Json];
  const before = expect(await chain.call("ADD", bridge, options, undefined), OK);
  chain.result = expect(await chain.call("ADD", firewall, options, before), OK);
  assert.deepEqual(chain.result, before);
  assert.deepEqual(rules(), [...CHAINS, HOOK, admin(), ...of("10.1.2.2/32")]);
  assert.deepEqual(rules("ip6tables"), [...CHAINS, HOOK, admin(), ...of("2001:db8::2/128")]);
  expect(await chain.check(options), OK);
  for (const _ of [1, 2]) {
    await chain.del(options);
    for (const program of ["iptables", "ip6tables"] as const) {
      assert.deepEqual(rules(program), [...CHAINS, HOOK, admin()]);
    }
  }
});

Deno.test("CH06 firewall: only the families of the pod", async () => {
  using chain = new Walled();
  const options = chain.with({});
  await chain.add(options);
  assert.deepEqual(rules(), [...CHAINS, HOOK, admin(), ...of("10.1.2.2/32")]);
  assert.deepEqual(rules("ip6tables"), []);
  await chain.del(options);
});

Deno.test("CH06 firewall: an admin chain of another name, and a policy that drops", async () => {
  using chain = new Walled();
  const options = chain.with({ iptablesAdminChainName: "MY-RULES" });
  run("iptables", "-A", "FORWARD", "-s", "192.0.2.0/24", "-j", "DROP");
  await chain.add(options);
  assert.deepEqual(rules(), [
    ":CNI-FORWARD -",
    HOOK,
    "-A FORWARD -s 192.0.2.0/24 -j DROP",
    admin("MY-RULES"),
    ...of("10.1.2.2/32"),
  ]);
  expect(await chain.check(options), OK);
  await chain.del(options);
});

Deno.test("CH06 firewall: a second pod, and a second ADD of the first, add what is missing", async () => {
  using chain = new Walled();
  const options = chain.with({});
  const [, firewall] = options.plugins as [Json, Json];
  await chain.add(options);
  const first = chain.result;
  const once = rules();
  expect(await chain.call("ADD", firewall, options, first), OK);
  assert.deepEqual(rules(), once);
  const other = { ...first, ips: [{ address: "10.1.2.3/24" }] };
  expect(await chain.call("ADD", firewall, options, other), OK);
  assert.deepEqual(rules(), [...once, ...of("10.1.2.3/32")]);
  expect(await chain.call("DEL", firewall, options, other), OK);
  assert.deepEqual(rules(), once);
  await chain.del(options);
});

Deno.test("CH06 firewall: DEL takes rules away that are there twice, and those of others not", async () => {
  using chain = new Walled();
  const options = chain.with({});
  await chain.add(options);
  for (const ip of ["10.1.2.2/32", "10.1.2.9/32"]) {
    run("iptables", "-A", "CNI-FORWARD", "-s", ip, "-j", "ACCEPT");
  }
  await chain.del(options);
  const rest = "-A CNI-FORWARD -s 10.1.2.9/32 -j ACCEPT";
  assert.deepEqual(rules(), [...CHAINS, HOOK, admin(), rest]);
});

for (
  const [title, command] of Object.entries({
    "the hook": "-D FORWARD 1",
    "the way to the admin chain": "-D CNI-FORWARD 1",
    "the answers": "-D CNI-FORWARD 2",
    "what the pod sends": "-D CNI-FORWARD 3",
    "all": "-F",
  })
) {
  Deno.test(`CH06 firewall: CHECK misses ${title}`, async () => {
    using chain = new Walled();
    const options = chain.with({});
    await chain.add(options);
    run("iptables", ...command.split(" "));
    expect(await chain.check(options), { code: 999, words: ["not found"] });
    await chain.del(options);
  });
}

Deno.test("CH06 firewall: needs the result of a plugin before it", async () => {
  using chain = new Walled();
  const options = chain.with({});
  const [, firewall] = options.plugins as [Json, Json];
  for (const command of ["ADD", "CHECK"]) {
    expect(await chain.call(command, firewall, options, undefined), {
      code: 999,
      words: ["prevResult missing"],
    });
  }
  expect(await chain.call("DEL", firewall, options, undefined), OK);
  assert.deepEqual(rules(), []);
});

for (const name of ["a b", "-x", "!x", "x".repeat(29)]) {
  Deno.test(`CH06 firewall: admin chain ${JSON.stringify(name)} is refused`, async () => {
    using chain = new Walled();
    const options = chain.with({ iptablesAdminChainName: name });
    expect(await chain.tryAdd(options), { code: 999, words: ["iptablesAdminChainName"] });
    assert.deepEqual(rules(), []);
  });
}

Deno.test("CH06 firewall: without iptables ADD names the package, and DEL succeeds", async () => {
  using chain = new Walled();
  // Our own search goes on in the usual places, so these must be out of sight too.
  const program = `${chain.bench.plugins}/without-iptables`;
  const hide = `for d in /usr/local/sbin /usr/sbin /sbin; do mount -t tmpfs tmpfs $d; done`;
  Deno.writeTextFileSync(
    program,
    `#!/bin/sh\nexec unshare --mount sh -c '${hide} 2>/dev/null; exec "$0"' '${chain.bench.plugins}/firewall'\n`,
    { mode: 0o755 },
  );
  const options = chain.with({});
  const [bridge, firewall] = options.plugins as [Json, Json];
  const result = expect(await chain.call("ADD", bridge, options, undefined), OK);
  const hidden = { ...firewall, type: "without-iptables" };
  expect(await chain.call("ADD", hidden, options, result), {
    words: ["iptables", "Install the package iptables"],
  });
  expect(await chain.call("DEL", hidden, options, result), OK);
});

for (const policy of ["same-bridge", "isolated"] as const) {
  Deno.test(`CH07 firewall: ${policy}`, async () => {
    using chain = new Walled();
    const options = chain.with({ ingressPolicy: policy });
    await chain.add(options);
    const want = isolation(policy, chain.bridgeName);
    assert.deepEqual(rules(), want);
    expect(await chain.check(options), OK);
    const [, firewall] = options.plugins as [Json, Json];
    expect(await chain.call("ADD", firewall, options, chain.result), OK);
    assert.deepEqual(rules(), want);
    await chain.del(options);
    assert.deepEqual(rules(), want.filter((line) => !line.includes("10.1.2.2/32")));
    run("iptables", "-F", "CNI-ISOLATION-STAGE-2");
    expect(await chain.call("CHECK", firewall, options, chain.result), { code: 999 });
  });
}

Deno.test("CH07 firewall: an unknown policy is an error, but not for DEL", async () => {
  using chain = new Walled();
  const options = chain.with({ ingressPolicy: "zz" });
  expect(await chain.tryAdd(options), { code: 999, words: ["zz"] });
  assert.deepEqual(rules(), []);
  await chain.del(options);
});

Deno.test("CH07 firewall: isolation needs a bridge", async () => {
  using chain = new Walled();
  const options = chain.with({ ingressPolicy: "isolated" });
  const [bridge, firewall] = options.plugins as [Json, Json];
  const result = expect(await chain.call("ADD", bridge, options, undefined), OK);
  for (const interfaces of [[], [result.interfaces[2]]]) {
    const reply = await chain.call("ADD", firewall, options, { ...result, interfaces });
    expect(reply, { code: 999, words: ["needs a bridge"] });
  }
  assert.deepEqual(rules(), []);
});

Deno.test("CH07 firewall: isolation stays in front of rules that come later", async () => {
  using chain = new Walled();
  const options = chain.with({ ingressPolicy: "same-bridge" });
  const [, firewall] = options.plugins as [Json, Json];
  await chain.add(options);
  const want = rules();
  run("iptables", "-D", "FORWARD", "2");
  expect(await chain.call("ADD", firewall, options, chain.result), OK);
  assert.deepEqual(rules(), want);
});

Deno.test("CH07 firewall: pods of two isolated networks do not reach each other", async () => {
  using one = new Walled();
  using other = new Walled();
  const at = (chain: Walled, subnet: string, policy: string): ChainOptions => {
    const { plugins } = chain.with({ ingressPolicy: policy });
    const { dataDir } = chain.bridge["ipam"] as Json;
    const ipam = { type: "host-local", subnet, dataDir };
    return { plugins: [{ ...plugins[0], ipam }, plugins[1]!] };
  };
  await one.add(at(one, "10.1.2.0/24", "open"));
  await other.add(at(other, "10.1.3.0/24", "open"));
  const reaches = (): boolean =>
    new Deno.Command("ip", {
      args: ["netns", "exec", one.netns.split("/").at(-1)!, "ping", "-c1", "-W1", "10.1.3.2"],
      stdout: "null",
    }).outputSync().success;
  assert.ok(reaches());
  for (const [chain, subnet] of [[one, "10.1.2.0/24"], [other, "10.1.3.0/24"]] as const) {
    const options = at(chain, subnet, "same-bridge");
    expect(await chain.call("ADD", options.plugins[1]!, options, chain.result), OK);
  }
  assert.ok(!reaches());
});

Deno.test("SK15 firewall: three versions, and each one's result", async () => {
  using bench = new Walled();
  const { supportedVersions } = expect(
    await bench.bench.call({ plugin: "firewall", env: { CNI_COMMAND: "VERSION" } }),
    OK,
  );
  assert.deepEqual(supportedVersions, ["0.4.0", "1.0.0", "1.1.0"]);
  for (const cniVersion of supportedVersions) {
    using chain = new Walled();
    const options = chain.with({}, { cniVersion });
    const result = await chain.add(options);
    assert.deepEqual([result.cniVersion, result.interfaces.length], [cniVersion, 3]);
    await chain.del(options);
  }
});

Deno.test("SK31 firewall: refuses 0.3.1", async () => {
  using chain = new Walled();
  const options = chain.with({}, { cniVersion: "0.3.1" });
  const [, firewall] = options.plugins as [Json, Json];
  expect(await chain.call("ADD", firewall, options, undefined), { code: 1, words: ["0.3.1"] });
});

Deno.test("firewall: GC and STATUS", async () => {
  using chain = new Walled();
  const options = chain.with({}, { cniVersion: "1.1.0" });
  const [, firewall] = options.plugins as [Json, Json];
  await chain.add(options);
  const before = rules();
  const gc = { ...firewall, "cni.dev/valid-attachments": [] };
  expect(await chain.call("GC", gc, options, undefined), OK);
  assert.deepEqual(rules(), before);
  expect(await chain.call("STATUS", firewall, options, undefined), OK);
  const bad = { ...firewall, ingressPolicy: "zz" };
  expect(await chain.call("STATUS", bad, options, undefined), { code: 50, words: ["zz"] });
  await chain.del(options);
});
