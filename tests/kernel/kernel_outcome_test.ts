import assert from "node:assert/strict";
import type { Fact, RouteFact } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import type { Change } from "../../engine/plan.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { kernelTest, Netns, run, sh } from "./sandbox.ts";
import { UNDERLAY } from "./wants.ts";

const where = "host";
const mac = parseMac("02:00:00:00:02:00");

function put(fact: Fact): Change {
  return { op: "put", fact };
}

function remove(fact: Fact): Change {
  return { op: "delete", fact };
}

function route(dst: string, via: string, dev = "up0"): RouteFact {
  return { kind: "route", where, dst: parseCidr(dst), via: parseIp(via), dev };
}

/** What became of each change: the kernel's words, or null. */
function words(kernel: Kernel, changes: readonly Change[]): (string | null)[] {
  const outcomes = kernel.apply(changes);
  assert.deepEqual(outcomes.map(({ change }) => change), changes);
  return outcomes.map(({ error }) => error?.message ?? null);
}

/** Changes that Linux refuses in the lab below, with what it says. */
const REFUSED: readonly (readonly [change: Change, message: string, errno: number])[] = [
  [
    put(route("10.9.0.0/24", "203.0.113.1")),
    "Cannot set route 10.9.0.0/24 via 203.0.113.1 dev up0: Nexthop has invalid gateway",
    101,
  ],
  [
    put(route("fd09::/64", "2001:db9::1")),
    "Cannot set route fd09::/64 via 2001:db9::1 dev up0: No route to host",
    113,
  ],
  [
    put({ ...route("10.9.0.0/24", "10.9.0.0", "down0"), onlink: true }),
    "Cannot set route 10.9.0.0/24 via 10.9.0.0 dev down0 onlink: Nexthop device is not up",
    100,
  ],
  [
    put(route("10.9.0.0/24", "192.0.2.254", "nosuch")),
    "Cannot set route 10.9.0.0/24 via 192.0.2.254 dev nosuch: no such device nosuch",
    19,
  ],
  [
    put({ kind: "link", where, name: "up0", driver: { kind: "bridge" } }),
    "Cannot set link up0 type bridge: File exists",
    17,
  ],
  [
    put({ kind: "link", where, name: "x0", driver: { kind: "other", name: "nosuch" } }),
    "Cannot set link x0 type nosuch: Unknown device type",
    95,
  ],
  [
    put({ kind: "link", where, name: "x0", driver: { kind: "bridge" }, mtu: 70_000 }),
    "Cannot set link x0 type bridge mtu 70000: mtu greater than device maximum",
    22,
  ],
  [
    put({ kind: "port", where, dev: "up0", bridge: "down0" }),
    "Cannot set port up0 master down0: Operation not supported",
    95,
  ],
  [
    put({ kind: "address", where, dev: "up0", inet: parseInet("ff02::5/128") }),
    "Cannot set address ff02::5/128 dev up0: ipv6: " +
    'Cannot assign multicast address without "IFA_F_MCAUTOJOIN" flag',
    99,
  ],
  [
    remove({ kind: "link", where, name: "lo", driver: { kind: "other", name: "" } }),
    "Cannot delete link lo type unknown: Operation not supported",
    95,
  ],
  [
    put({ kind: "sysctl", where, key: "net/ipv4/nosuch", value: "1" }),
    "Cannot write sysctl net.ipv4.nosuch: No such file or directory",
    2,
  ],
];

kernelTest(
  "Kernel.apply: the kernel's own words for each change, and the others still apply",
  () => {
    sh(`${UNDERLAY}
    ip link add down0 type veth peer name down1
  `);
    using kernel = Kernel.open();
    const good = Array.from(REFUSED, (_, i) => put(route(`10.1.${i}.0/24`, "192.0.2.254")));
    const changes = REFUSED.flatMap(([change], i) => [change, good[i] as Change]);
    const outcomes = kernel.apply(changes);
    assert.deepEqual(outcomes.map(({ change }) => change), changes);
    assert.deepEqual(
      outcomes.map(({ error }) => [error?.message, error?.errno]),
      REFUSED.flatMap(([, message, errno]) => [[message, errno], [undefined, undefined]]),
    );
    const routes = run("ip", "route");
    for (const i of REFUSED.keys()) assert.ok(routes.includes(`10.1.${i}.0/24 via`), routes);
  },
);

kernelTest("Kernel.apply: deleting what is gone is done", () => {
  sh(`${UNDERLAY}
    ip link add vx0 type vxlan id 7 dstport 8472
    ip link set vx0 up
  `);
  using kernel = Kernel.open();
  const gone = (dev: string): Change[] => [
    remove(route("10.9.0.0/24", "192.0.2.254", dev)),
    remove(route("fd09::/64", "2001:db8::2", dev)),
    remove({ kind: "neighbour", where, dev, ip: parseIp("10.9.0.0"), mac }),
    remove({ kind: "neighbour", where, dev, ip: parseIp("fd09::"), mac }),
    remove({ kind: "fdb", where, dev, mac, remote: parseIp("192.0.2.2") }),
    remove({ kind: "address", where, dev, inet: parseInet("10.9.0.0/32") }),
    remove({ kind: "address", where, dev, inet: parseInet("fd09::/128") }),
    remove({ kind: "port", where, dev, bridge: "br0" }),
  ];
  const link = remove({ kind: "link", where, name: "nosuch", driver: { kind: "veth" } });
  const rules = remove({ kind: "rules", where, table: "inet twill", text: "" });
  const changes = [...gone("vx0"), ...gone("nosuch"), link, rules];
  assert.deepEqual(words(kernel, changes), changes.map(() => null));
});

kernelTest("Kernel.apply: what a deleted link took with it is gone too", () => {
  sh(`
    ip link add br0 type bridge
    ip link set br0 up
    ip addr add 192.0.2.1/24 dev br0
  `);
  using kernel = Kernel.open();
  const changes = [
    put(route("10.9.0.0/24", "192.0.2.254", "br0")),
    remove({ kind: "link", where, name: "br0", driver: { kind: "bridge" } }),
    remove(route("10.9.0.0/24", "192.0.2.254", "br0")),
    remove({ kind: "address", where, dev: "br0", inet: parseInet("192.0.2.1/24") }),
  ];
  assert.deepEqual(words(kernel, changes), [null, null, null, null]);
});

kernelTest("Kernel.apply: putting the very same address or route again is done", () => {
  using pod = new Netns();
  sh(`
    ip link add e0 type veth peer name eth0 netns ${pod.name}
    ip link set e0 up
    ip -n ${pod.name} link set eth0 up
  `);
  using kernel = Kernel.open({ pod: pod.path });
  const inPod = (fact: RouteFact): RouteFact => ({ ...fact, where: "pod", dev: "eth0" });
  const changes = [
    put({ kind: "address", where: "pod", dev: "eth0", inet: parseInet("10.1.0.2/24") }),
    put({ kind: "address", where: "pod", dev: "eth0", inet: parseInet("fd01::2/64") }),
    put(inPod(route("0.0.0.0/0", "10.1.0.1"))),
    put(inPod(route("::/0", "fd01::1"))),
  ];
  assert.deepEqual(words(kernel, [...changes, ...changes]), Array(8).fill(null));
  const lines = (family: string): number =>
    run("ip", "-n", pod.name, family, "route", "show", "default").trim().split("\n").length;
  assert.deepEqual([lines("-4"), lines("-6")], [1, 1]);
});

kernelTest("Kernel.apply: in a pod equal destinations by other gateways coexist", () => {
  using pod = new Netns();
  sh(`
    ip link add e0 type veth peer name eth0 netns ${pod.name}
    ip -n ${pod.name} addr add 10.1.0.2/24 dev eth0
    ip -n ${pod.name} link set eth0 up
  `);
  using kernel = Kernel.open({ pod: pod.path });
  const by = (via: string): Change => put({ ...route("10.9.0.0/24", via, "eth0"), where: "pod" });
  assert.deepEqual(words(kernel, [by("10.1.0.1"), by("10.1.0.3")]), [null, null]);
  const routes = run("ip", "-n", pod.name, "route", "show", "10.9.0.0/24");
  assert.equal(routes.trim().split("\n").length, 2, routes);
});

kernelTest("Kernel.apply: a link that is made anew is found under its new index", () => {
  using kernel = Kernel.open();
  const link: Fact = { kind: "link", where, name: "br0", driver: { kind: "bridge" } };
  const up: Fact = { kind: "up", where, dev: "br0", up: true };
  const address: Fact = { kind: "address", where, dev: "br0", inet: parseInet("192.0.2.1/24") };
  for (let round = 0; round < 2; round++) {
    const changes: Change[] = [
      put(link),
      put(address),
      put(up),
      put(route("10.9.0.0/24", "192.0.2.9", "br0")),
    ];
    assert.deepEqual(words(kernel, changes), [null, null, null, null]);
    assert.match(run("ip", "route"), /10\.9\.0\.0\/24 via 192\.0\.2\.9 dev br0/);
    assert.deepEqual(words(kernel, [remove(link), put(link), put(address)]), [null, null, null]);
    assert.match(run("ip", "addr", "show", "dev", "br0"), /192\.0\.2\.1\/24/);
    run("ip", "link", "del", "br0");
  }
});
