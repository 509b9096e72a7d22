/** firewall where firewalld runs: a stand-in for the program that speaks to it. */

import assert from "node:assert/strict";
import type { Chain, Json } from "./chain.ts";
import { admin, CHAINS, HOOK, isolation, of, rules, Walled } from "./firewall_bench.ts";
import { expect, type Want } from "./plugins.ts";

const OK: Want = { ok: true };

/** A stand-in for busctl, that keeps what it is told, and knows what is in the zones. */
const BUSCTL = `#!/bin/sh
echo "$*" >>"$0.log"
case "$*" in
  *NameHasOwner*) echo "b $(cat "$0.owned")" ;;
  *addSource*) if grep -qxF "\${10}" "$0.sources"; then
      echo "Call failed: ZONE_ALREADY_SET: '\${10}' already bound" >&2; exit 1
    fi; echo "\${10}" >>"$0.sources"; echo "s \\"$9\\"" ;;
  *querySource*) if grep -qxF "\${10}" "$0.sources"; then echo "b true"; else echo "b false"; fi ;;
  *removeSource*) if ! grep -qxF "\${10}" "$0.sources"; then
      echo "Call failed: UNKNOWN_SOURCE: \${10}" >&2; exit 1
    fi; sed -i "\\\\#^\${10}\\$#d" "$0.sources"; echo "s \\"$9\\"" ;;
esac
`;

/** A node whose bus has firewalld, or not. */
class Bus {
  readonly #path: string;
  readonly env: { readonly PATH: string; readonly DBUS_SYSTEM_BUS_ADDRESS: string };

  constructor(chain: Chain, owned: boolean) {
    const dir = `${chain.bench.dir}/bus`;
    this.#path = `${dir}/busctl`;
    this.env = {
      PATH: `${dir}:${Deno.env.get("PATH")}`,
      DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${dir}/socket`,
    };
    Deno.mkdirSync(dir);
    Deno.writeTextFileSync(this.#path, BUSCTL, { mode: 0o755 });
    for (const name of ["log", "sources"]) Deno.writeTextFileSync(`${this.#path}.${name}`, "");
    this.own(owned);
  }

  own(owned: boolean): void {
    Deno.writeTextFileSync(`${this.#path}.owned`, String(owned));
  }

  #lines(name: string): string[] {
    return Deno.readTextFileSync(`${this.#path}.${name}`).split("\n").filter((line) => line !== "");
  }

  sources(): string[] {
    return this.#lines("sources");
  }

  /** What was called on firewalld's zones. */
  calls(): string[] {
    const start = "--system --timeout=10 call org.fedoraproject.FirewallD1 " +
      "/org/fedoraproject/FirewallD1 org.fedoraproject.FirewallD1.zone ";
    return this.#lines("log").filter((line) => line.startsWith(start))
      .map((line) => line.slice(start.length));
  }
}

for (const backend of ["firewalld", undefined, "auto"]) {
  Deno.test(`CH06 firewall: firewalld, backend ${backend}`, async () => {
    using chain = new Walled();
    const bus = new Bus(chain, true);
    const options = chain.dual({ backend, firewalldZone: "pods" }, { env: bus.env });
    const result = await chain.add(options);
    assert.equal(result.ips.length, 2);
    const sources = ["10.1.2.2/32", "2001:db8::2/128"];
    assert.deepEqual(bus.calls(), sources.map((source) => `addSource ss pods ${source}`));
    assert.deepEqual([bus.sources(), rules(), rules("ip6tables")], [sources, [], []]);
    expect(await chain.check(options), OK);
    const [, firewall] = options.plugins as [Json, Json];
    expect(await chain.call("ADD", firewall, options, result), OK);
    assert.deepEqual(bus.sources(), sources);
    for (const _ of [1, 2]) {
      await chain.del(options);
      assert.deepEqual(bus.sources(), []);
    }
    expect(await chain.call("CHECK", firewall, options, result), {
      code: 999,
      words: ["10.1.2.2/32", "pods"],
    });
  });
}

Deno.test("CH06 firewall: no firewalld on the bus means iptables; DEL goes by what ADD made", async () => {
  using chain = new Walled();
  const bus = new Bus(chain, false);
  const options = chain.with({ backend: "" }, { env: bus.env });
  await chain.add(options);
  assert.deepEqual(bus.calls(), []);
  assert.deepEqual(rules().slice(-2), of("10.1.2.2/32"));
  bus.own(true);
  await chain.del(options);
  assert.deepEqual(rules(), [...CHAINS, HOOK, admin()]);
});

Deno.test("CH06 firewall: firewalld that is asked for and not there is an error, but not for DEL", async () => {
  using chain = new Walled();
  const env = { DBUS_SYSTEM_BUS_ADDRESS: `unix:path=${chain.bench.dir}/nonexistent` };
  const options = chain.with({ backend: "firewalld" }, { env });
  expect(await chain.tryAdd(options), { words: ["firewalld", "backend to iptables"] });
  await chain.del(options);
  const [, firewall] = options.plugins as [Json, Json];
  const status = { ...options, cniVersion: "1.1.0" };
  expect(await chain.call("STATUS", firewall, status, undefined), { code: 50 });
});

Deno.test("CH07 firewall: isolation with firewalld is made by iptables", async () => {
  using chain = new Walled();
  const bus = new Bus(chain, true);
  const options = chain.with({ backend: "firewalld", ingressPolicy: "same-bridge" }, {
    env: bus.env,
  });
  await chain.add(options);
  const all = isolation("same-bridge", chain.bridgeName);
  assert.deepEqual(rules(), all.filter((line) => !/CNI-FORWARD|CNI-ADMIN/.test(line)));
  expect(await chain.check(options), OK);
  await chain.del(options);
});
