import assert from "node:assert/strict";
import { describe } from "../../engine/fact.ts";
import { Kernel } from "../../ffi/kernel.ts";
import {
  shownAddresses,
  shownFdb,
  shownLinks,
  shownNeighbours,
  shownRoutes,
  sorted,
} from "./oracle.ts";
import { kernelTest, Netns, sh } from "./sandbox.ts";

/** An underlay, a bridge with a port, and both kinds of VTEP. */
const LAB = `
  ip link set lo up
  ip link add up0 address 02:00:00:00:00:01 type veth peer name up1
  ip link add br0 mtu 1450 type bridge
  ip link set br0 promisc on
  ip link set up1 master br0
  ip link set up1 type bridge_slave hairpin on isolated on
  ip link add p0 type veth peer name p1
  ip link set p0 master br0
  ip link set up0 up
  ip link set up1 up
  ip addr add 192.0.2.1/24 broadcast 192.0.2.255 dev up0
  ip addr add 198.51.100.1 peer 198.51.100.2 dev up0
  ip addr add 2001:db8::1/64 dev up0 nodad
  ip link add vx4 mtu 1400 type vxlan id 1 local 192.0.2.1 dev up0 dstport 8472 nolearning
  ip link add vx6 type vxlan id 16777215 local 2001:db8::1 dev up0 dstport 4789 gbp
  ip link add vx0 type vxlan id 7 dstport 8473
  ip link set vx4 up
  ip link set vx6 up
`;

kernelTest("Kernel.read: links, up and ports are those of ip link", () => {
  sh(LAB);
  using kernel = Kernel.open();
  assert.deepEqual(sorted(kernel.read({ links: "all" })), sorted(shownLinks()));
});

kernelTest("Kernel.read: chosen links are found by name, missing ones give nothing", () => {
  sh(LAB);
  using kernel = Kernel.open();
  const names = ["up1", "vx4", "nosuch"];
  const chosen = shownLinks().filter((fact) => {
    assert.ok(fact.kind === "link" || fact.kind === "up" || fact.kind === "port");
    return names.includes(fact.kind === "link" ? fact.name : fact.dev);
  });
  assert.deepEqual(sorted(kernel.read({ links: names })), sorted(chosen));
});

kernelTest("Kernel.read: addresses are those of ip addr", () => {
  sh(LAB);
  using kernel = Kernel.open();
  assert.deepEqual(sorted(kernel.read({ addresses: "all" })), sorted(shownAddresses()));
  const ofUp0 = shownAddresses().filter((fact) => fact.kind === "address" && fact.dev === "up0");
  assert.deepEqual(sorted(kernel.read({ addresses: ["up0", "nosuch"] })), sorted(ofUp0));
  assert.ok(ofUp0.length >= 3);
});

kernelTest("Kernel.read: routes of the main table are those of ip route", () => {
  sh(`${LAB}
    ip route add default via 192.0.2.254 dev up0
    ip route add 10.244.2.0/24 via 10.244.2.0 dev vx4 onlink proto 146
    ip route add blackhole 10.244.0.0/16 proto 146
    ip route add 10.8.0.0/24 via 192.0.2.254 mtu 1400 advmss 1300 metric 5 src 192.0.2.1
    ip route add 10.8.0.0/24 dev up0 metric 6
    ip route add unreachable 10.7.0.0/24
    ip route add 10.66.0.0/16 nexthop via 192.0.2.3 nexthop via 192.0.2.4
    ip route add 10.5.0.0/24 dev up0 table 100
    ip -6 route add default via 2001:db8::ff dev up0
    ip -6 route add fd02::/64 via fd02:: dev vx6 onlink proto 146
    ip -6 route add blackhole fd00::/48
    ip -6 route add fd03::1/128 dev up0 metric 77 mtu 1300
  `);
  using kernel = Kernel.open();
  assert.deepEqual(sorted(kernel.read({ routes: true })), sorted(shownRoutes()));
});

kernelTest("Kernel.read: permanent neighbours and FDB entries are those of ip and bridge", () => {
  sh(`${LAB}
    ip neigh add 10.244.2.0 lladdr 02:00:00:00:02:00 dev vx4 nud permanent
    ip neigh add fd02:: lladdr 02:00:00:00:02:01 dev vx6 nud permanent
    ip neigh add 10.244.3.0 lladdr 02:00:00:00:03:00 dev vx4 nud reachable
    ip neigh add 192.0.2.9 lladdr 02:00:00:00:09:00 dev up0 nud permanent
    bridge fdb add 02:00:00:00:02:00 dev vx4 dst 192.0.2.2 self permanent
    bridge fdb add 02:00:00:00:02:01 dev vx6 dst 2001:db8::2 self permanent
    bridge fdb add 02:00:00:00:03:00 dev vx4 dst 192.0.2.3 self dynamic
    bridge fdb append 00:00:00:00:00:00 dev vx4 dst 192.0.2.4 self permanent
  `);
  using kernel = Kernel.open();
  const neighbours = kernel.read({ neighbours: ["vx4", "vx6", "nosuch"] });
  assert.deepEqual(sorted(neighbours), sorted(["vx4", "vx6"].flatMap((d) => shownNeighbours(d))));
  assert.deepEqual(neighbours.map(describe).sort(), [
    "10.244.2.0 lladdr 02:00:00:00:02:00 dev vx4",
    "fd02:: lladdr 02:00:00:00:02:01 dev vx6",
  ]);
  const fdb = kernel.read({ fdb: ["vx4", "vx6", "nosuch"] });
  assert.deepEqual(sorted(fdb), sorted(["vx4", "vx6"].flatMap((d) => shownFdb(d))));
  assert.deepEqual(fdb.map(describe).sort(), [
    "00:00:00:00:00:00 dev vx4 dst 192.0.2.4",
    "02:00:00:00:02:00 dev vx4 dst 192.0.2.2",
    "02:00:00:00:02:01 dev vx6 dst 2001:db8::2",
  ]);
});

kernelTest("Kernel.read: sysctls and tables, those that there are", () => {
  sh(`${LAB}
    sysctl -q -w net.ipv6.conf.up0.accept_ra=2
    nft add table inet other
    nft add chain inet other c
  `);
  using kernel = Kernel.open();
  const sysctls = ["net/ipv6/conf/up0/accept_ra", "net/ipv6/conf/nosuch/accept_ra"];
  assert.deepEqual(kernel.read({ sysctls, rules: ["inet twill", "inet other"] }), [
    { kind: "sysctl", where: "host", key: sysctls[0], value: "2" },
    { kind: "rules", where: "host", table: "inet twill", text: "" },
    {
      kind: "rules",
      where: "host",
      table: "inet other",
      text: "table inet other {\n\tchain c {\n\t}\n}\n",
    },
  ]);
});

kernelTest("Kernel.read: a pod's namespace is read apart from the host's", () => {
  using pod = new Netns();
  sh(`${LAB}
    ip link add e0 type veth peer name eth0 netns ${pod.name}
    ip -n ${pod.name} addr add 10.244.1.2/24 dev eth0
    ip -n ${pod.name} link set eth0 up
  `);
  using kernel = Kernel.open({ pod: pod.path });
  const scope = { links: "all", addresses: "all", routes: true } as const;
  const inPod = pod.inside(() =>
    sorted([...shownLinks("pod"), ...shownAddresses("pod"), ...shownRoutes("pod")])
  );
  assert.deepEqual(sorted(kernel.read({ where: "pod", ...scope })), inPod);
  assert.deepEqual(
    sorted(kernel.read(scope)),
    sorted([...shownLinks(), ...shownAddresses(), ...shownRoutes()]),
  );
});
