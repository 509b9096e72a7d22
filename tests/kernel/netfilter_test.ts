import assert from "node:assert/strict";
import { parseIp } from "../../engine/ip.ts";
import type { IptablesTable } from "../../engine/rules/iptables.ts";
import { editNat, readNat } from "../../ffi/iptables.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { Netfilter } from "../../ffi/netfilter.ts";
import { editTable, nft, nftProgram, nftRunner } from "../../ffi/nft.ts";
import { kernelTest, run, sh } from "./sandbox.ts";

kernelTest("holdsAny knows tables and chains of each family", () => {
  using netfilter = new Netfilter();
  for (const family of ["ip", "ip6", "inet", "bridge"] as const) {
    const table = `some-${family}`;
    const has = (chain?: string): boolean =>
      netfilter.holdsAny([{ family, table, ...(chain === undefined ? {} : { chain }) }]);
    assert.deepEqual([has(), has("a-chain.b")], [false, false]);
    nft(`add table ${family} ${table}\nadd chain ${family} ${table} a-chain.b\n`);
    assert.deepEqual([has(), has("a-chain.b"), has("a-chain")], [true, true, false]);
    const other = { family, table: "none" } as const;
    assert.equal(netfilter.holdsAny([other, { family, table }, other]), true);
    nft(`delete table ${family} ${table}\n`);
    assert.deepEqual([has(), has("a-chain.b")], [false, false]);
  }
  assert.equal(netfilter.holdsAny([]), false);
});

kernelTest("forgetUdp forgets flows to that port of that family only", () => {
  sh(`ip link set lo up
    ip addr add 192.0.2.1/24 dev lo
    ip addr add 2001:db8::1/64 dev lo nodad`);
  nft("table inet t { chain c { type filter hook input priority 0; ct state new accept; }; }");
  const send = (address: string, port: number, kind = "udp"): void => {
    run("bash", "-c", `echo x >/dev/${kind}/${address}/${port} || true`);
  };
  using netfilter = new Netfilter();
  for (const [family, address, other] of [[4, "192.0.2.1", 6], [6, "2001:db8::1", 4]] as const) {
    for (const _ of [1, 2, 3]) send(address, 5300);
    send(address, 5301);
    assert.equal(netfilter.forgetUdp(other, 5300), 0);
    // The kernel chooses the source ports: now and then two sends are one flow.
    const forgotten = netfilter.forgetUdp(family, 5300);
    assert.ok(forgotten >= 1 && forgotten <= 3, `${forgotten} flows`);
    assert.equal(netfilter.forgetUdp(family, 5300), 0);
    assert.equal(netfilter.forgetUdp(family, 5301), 1);
  }
});

kernelTest("linkTo is the link that packets leave by", () => {
  sh(`ip link set lo up
    ip link add br0 type bridge
    ip addr add 10.1.2.1/24 dev br0
    ip addr add 2001:db8::1/64 dev br0 nodad
    ip link set br0 up`);
  using kernel = Kernel.open();
  const nameTo = (ip: string): string | undefined => kernel.linkTo(parseIp(ip))?.name;
  assert.equal(nameTo("10.1.2.7"), "br0");
  assert.equal(nameTo("2001:db8::7"), "br0");
  assert.equal(nameTo("10.1.2.1"), "lo");
  assert.equal(nameTo("10.9.9.9"), undefined);
});

for (const [name, runner] of Object.entries({ library: nftRunner(), program: nftProgram })) {
  kernelTest(
    `editTable by the ${name}: reads again what changed in between, gives up on nonsense`,
    () => {
      const make = (comment: string): void => {
        nft(
          `add table ip t\nadd chain ip t c\nadd rule ip t c accept comment "${comment}"\n`,
          runner,
        );
      };
      make("one");
      let looks = 0;
      editTable("ip t", (listing) => {
        const rule = listing.get("c")?.find(({ comment }) => comment === "one");
        if (++looks === 1) {
          // Somebody makes the rule anew: its handle is another one.
          nft("flush chain ip t c\n", runner);
          make("one");
        }
        return rule === undefined ? "" : `delete rule ip t c handle ${rule.handle}\n`;
      }, runner);
      assert.equal(looks, 2);
      assert.ok(!nft("list table ip t\n", runner).includes("one"));
      assert.throws(() => editTable("ip t", () => "nonsense\n", runner), /Cannot apply nft rules/);
      editTable("ip none", (listing) => {
        assert.equal(listing.size, 0);
        return "";
      }, runner);
    },
  );
}

Deno.test({
  // Not in a namespace of its own: what follows an await would be back in this one.
  name: "editNat reads again what changed in between, and names a line that is refused",
  ignore: Deno.env.get("TWILL_ISOLATED") !== "1",
  fn: async () => {
    const CHAIN = "TWILL-TEST";
    const stale = await readNat(4);
    assert.equal(stale.hasChain(CHAIN), false);
    run("iptables", "-t", "nat", "-N", CHAIN);
    using undo = new DisposableStack();
    undo.defer(() => run("iptables", "-t", "nat", "-X", CHAIN));
    run("iptables", "-t", "nat", "-A", CHAIN, "-j", "RETURN");
    let looks = 0;
    const edit = (table: IptablesTable): string => {
      looks++;
      const rules = table.hasChain(CHAIN) ? `-F ${CHAIN}` : `-N ${CHAIN}`;
      return `*nat\n${rules}\nCOMMIT\n`;
    };
    await editNat(4, edit, stale);
    assert.equal(looks, 2);
    assert.deepEqual((await readNat(4)).rules(CHAIN), []);
    const bad = editNat(4, () => "*nat\n-A NONE -j ACCEPT\nCOMMIT\n");
    await assert.rejects(bad, /Cannot apply rules with iptables-restore: .*: -A NONE -j ACCEPT$/s);
  },
});
