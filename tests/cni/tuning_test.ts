import fc from "fast-check";
import assert from "node:assert/strict";
import { sysctlKey } from "../../cni/tuning/config.ts";

for (
  const [name, ifname, key] of [
    ["net.core.somaxconn", "eth0", "net/core/somaxconn"],
    ["net.ipv4.conf.IFNAME.arp_filter", "eth0", "net/ipv4/conf/eth0/arp_filter"],
    ["net.ipv4.conf.IFNAME.arp_filter", "eth0.100", "net/ipv4/conf/eth0.100/arp_filter"],
    ["net/ipv4/conf/eth0.100/arp_filter", "eth0", "net/ipv4/conf/eth0.100/arp_filter"],
    ["net.ipv4//conf/./all.forwarding", "eth0", "net/ipv4/conf/all/forwarding"],
  ] as const
) {
  Deno.test(`sysctlKey of ${name} for ${ifname} is ${key}`, () => {
    assert.equal(sysctlKey(name, ifname), key);
  });
}

for (
  const name of ["", "net", "net.", "kernel.panic", "/net/../kernel/panic", "net/x/../../vm/y"]
) {
  Deno.test(`sysctlKey refuses ${JSON.stringify(name)}`, () => {
    assert.throws(() => sysctlKey(name, "eth0"), SyntaxError);
  });
}

Deno.test("sysctlKey: any name is refused, or stays below net", () => {
  const part = fc.constantFrom("net", "..", ".", "/", "IFNAME", "kernel", "", "x", "//", "...");
  fc.assert(fc.property(fc.array(part), fc.constantFrom(".", "/", ""), (parts, between) => {
    let key: string;
    try {
      key = sysctlKey(parts.join(between), "eth0");
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
      return;
    }
    assert.ok(new URL(`file:///proc/sys/${key}`).pathname.startsWith("/proc/sys/net/"), key);
  }));
});
