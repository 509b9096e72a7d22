/** The kernel's routing decisions, compared with `ip route get`; and what a scratch namespace leaves. */

import assert from "node:assert/strict";
import { parseIp } from "../../engine/ip.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { tryFeatures } from "../../ffi/scratch.ts";
import { kernelTest, run, sh, shown } from "./sandbox.ts";

const NODE = `
  ip link set lo up
  ip link add eth0 mtu 1500 type veth peer name far
  ip link set far up
  ip link set eth0 up
  ip addr add 192.0.2.1/24 dev eth0
  ip route add default via 192.0.2.254 dev eth0
  ip link add cni0 type bridge
  ip addr add 10.244.1.1/24 dev cni0
  ip link set cni0 up
  ip route add 10.244.2.0/24 via 192.0.2.2 proto 146 metric 7
  ip route add 10.244.3.0/24 via 192.0.2.3 table 99
  ip rule add fwmark 0x5 lookup 99
  ip route add blackhole 10.244.9.0/24
`;

kernelTest("lookUp: the way, and the entry that decided it", () => {
  sh(NODE);
  using kernel = Kernel.open();
  const answer = kernel.lookUp("host", { to: parseIp("10.244.2.9") });
  const [said] = shown("ip", "route", "get", "10.244.2.9");
  assert.deepEqual(answer, {
    kind: "found",
    dev: said?.dev,
    via: said?.gateway,
    src: said?.prefsrc,
    entry: { dst: "10.244.2.0/24", protocol: 146, metric: 7, table: 254 },
  });
  const outside = kernel.lookUp("host", { to: parseIp("203.0.113.9") });
  assert.equal(outside.kind === "found" && outside.entry?.dst, "0.0.0.0/0");
});

kernelTest("lookUp: a mark takes the packet to another table", () => {
  sh(NODE);
  using kernel = Kernel.open();
  const marked = kernel.lookUp("host", { to: parseIp("10.244.3.9"), mark: 5 });
  assert.equal(marked.kind === "found" && marked.via, "192.0.2.3");
  assert.equal(marked.kind === "found" && marked.entry?.table, 99);
  const plain = kernel.lookUp("host", { to: parseIp("10.244.3.9") });
  assert.equal(plain.kind === "found" && plain.via, "192.0.2.254");
});

kernelTest("lookUp: an address of this host, and a blackhole", () => {
  sh(NODE);
  using kernel = Kernel.open();
  assert.equal(kernel.lookUp("host", { to: parseIp("10.244.1.1") }).kind, "local");
  const black = kernel.lookUp("host", { to: parseIp("10.244.9.1") });
  assert.equal(black.kind, "none");
});

kernelTest(
  "lookUp: what comes in is judged by forwarding and by the filter of return paths",
  () => {
    sh(NODE);
    using kernel = Kernel.open();
    const packet = { to: parseIp("10.244.2.9"), from: parseIp("10.244.1.5"), iif: "cni0" };
    run("sysctl", "-qw", "net.ipv4.ip_forward=0");
    const closed = kernel.lookUp("host", packet);
    assert.match(closed.kind === "none" ? closed.words : "", /does not forward/);
    run("sysctl", "-qw", "net.ipv4.ip_forward=1");
    const open = kernel.lookUp("host", packet);
    assert.equal(open.kind === "found" && open.dev, "eth0");
    run("sysctl", "-qw", "net.ipv4.conf.cni0.rp_filter=1");
    assert.equal(kernel.lookUp("host", packet).kind, "found");
    const astray = kernel.lookUp("host", { ...packet, from: parseIp("203.0.113.7") });
    assert.match(astray.kind === "none" ? astray.words : "", /comes in by cni0 .*rp_filter/);
    const nowhere = kernel.lookUp("host", { ...packet, iif: "nothing0" });
    assert.match(nowhere.kind === "none" ? nowhere.words : "", /no link nothing0/);
  },
);

kernelTest("tryFeatures: all of them here, and nothing is left", (host) => {
  const before = run("ip", "link");
  assert.deepEqual(tryFeatures(), ["vxlan", "bridge", "veth", "nft"].map((name) => ({ name })));
  assert.equal(run("ip", "link"), before);
  // The thread is home again.
  assert.match(run("ip", "netns", "identify"), new RegExp(`^${host.name}$`, "m"));
});
