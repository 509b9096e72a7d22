import assert from "node:assert/strict";
import { describe, type Fact } from "../../engine/fact.ts";

import { derivedVtepMac } from "../../engine/backend/vxlan_mac.ts";
import { parseCidr } from "../../engine/ip.ts";
import { type Change, type Ours, plan } from "../../engine/plan.ts";
import { podFacts } from "../../engine/pod.ts";
import { Kernel, type Outcome } from "../../ffi/kernel.ts";
import { missing, shownFacts } from "./oracle.ts";
import { kernelTest, Netns, run, sh, shown } from "./sandbox.ts";
import { dualVxlan, OURS_FOR_POD, overlayWants, POD, UNDERLAY, VTEPS } from "./wants.ts";

/** The changes that failed, in words. */
function refused(outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ error }) => error === undefined ? [] : [error.message]);
}

function put(fact: Fact): Change {
  return { op: "put", fact };
}

/** What a plan says, in words. */
function words(changes: readonly Change[]): string[] {
  return changes.map(({ op, fact }) => `${op} ${fact.kind} ${describe(fact)}`);
}

kernelTest("Kernel.apply: an overlay is there as wanted, and a second plan is empty", () => {
  sh(UNDERLAY);
  const backend = dualVxlan();
  const want = overlayWants(3);
  using kernel = Kernel.open();
  const first = plan(want, kernel.read(backend.scope()), backend.ours());
  assert.deepEqual(refused(kernel.apply(first.changes)), []);
  assert.deepEqual(missing(want, shownFacts(VTEPS)), []);

  const second = plan(want, kernel.read(backend.scope()), backend.ours());
  assert.deepEqual([words(second.changes), second.conflicts], [[], []]);
});

kernelTest("Kernel.apply: whatever of an overlay is lost comes back", () => {
  sh(UNDERLAY);
  const backend = dualVxlan();
  const want = overlayWants(3);
  using kernel = Kernel.open();
  const converge = (why: string): string[] => {
    const { changes } = plan(want, kernel.read(backend.scope()), backend.ours());
    const outcomes = kernel.apply(changes);
    assert.deepEqual([refused(outcomes), missing(want, shownFacts(VTEPS))], [[], []], why);
    return words(changes);
  };
  converge("start");
  const damages: readonly (readonly [command: string, changes: number])[] = [
    ["ip route del 10.0.2.0/24", 1],
    ["ip -6 route flush dev flannel-v6.1 proto 146", 3],
    ["ip neigh flush dev flannel.1 nud permanent", 3],
    [`bridge fdb del ${derivedVtepMac(parseCidr("10.0.2.0/24"))} dev flannel.1`, 1],
    // The kernel forgets neighbours and routes of a link that goes down.
    ["ip link set flannel.1 down", 1 + 3 + 3],
    ["ip link set flannel.1 mtu 1300", 1],
    // And the neighbours of a link whose address changes: now, and when it is set right again.
    ["ip link set flannel-v6.1 address 02:00:00:00:00:99", 1 + 3],
    // With its last address a link loses all of IPv4.
    ["ip addr flush dev flannel.1", 1 + 3 + 3],
    ["nft flush ruleset", 1],
    ["sysctl -q -w net/ipv6/conf/flannel.1/accept_ra=1", 1],
  ];
  for (const [command, count] of damages) {
    sh(command);
    const changes = converge(command);
    assert.equal(changes.length, count, `${command}: ${changes}`);
  }
  // A device of another kind is in its place, or none at all: all that hangs on it is put again.
  for (const command of ["ip link del flannel.1", "ip link del flannel-v6.1"]) {
    sh(command);
    assert.equal(converge(command).length, 1 + 1 + 1 + 1 + 3 * 3, command);
  }
  sh("ip link del flannel.1\nip link add flannel.1 type vxlan id 2 dstport 8472");
  const changes = converge("other VNI");
  assert.deepEqual(changes.filter((change) => change.includes(" link ")).length, 2);
  assert.equal(changes.length, 2 + 1 + 1 + 1 + 3 * 3);
});

kernelTest("Kernel.apply: what is not ours stays as it was", () => {
  sh(`${UNDERLAY}
    ip link add br0 type bridge
    ip route add 10.0.9.0/24 via 192.0.2.254 dev up0
    ip route add 203.0.113.0/24 via 192.0.2.254 dev up0 proto 146
  `);
  const backend = dualVxlan();
  using kernel = Kernel.open();
  kernel.apply(plan(overlayWants(2), kernel.read(backend.scope()), backend.ours()).changes);
  sh(`
    ip addr add 198.51.100.1/32 dev flannel.1
    ip route add 198.51.100.0/24 dev flannel.1 proto 4
    ip route add 10.99.0.0/24 via 192.0.2.254 dev up0 proto 146 metric 9
    ip route add 10.0.200.0/24 via 10.0.200.0 dev flannel.1 onlink proto 146
    ip neigh add 10.0.200.0 lladdr 02:00:00:00:00:c8 dev flannel.1 nud permanent
    bridge fdb append 00:00:00:00:00:00 dev flannel.1 dst 192.0.2.200 self permanent
    bridge fdb append 02:00:00:00:00:c8 dev flannel.1 dst 192.0.2.200 self permanent
    nft add table inet other
  `);
  const { changes, conflicts } = plan(
    overlayWants(2),
    kernel.read(backend.scope()),
    backend.ours(),
  );
  assert.deepEqual(conflicts, []);
  assert.deepEqual(words(changes), [
    // The one in our network with our number is a leftover; so is the peer that nobody wants.
    "delete route 10.99.0.0/24 via 192.0.2.254 dev up0 metric 9",
    "delete route 10.0.200.0/24 via 10.0.200.0 dev flannel.1 onlink",
    "delete fdb 02:00:00:00:00:c8 dev flannel.1 dst 192.0.2.200",
    "delete neighbour 10.0.200.0 lladdr 02:00:00:00:00:c8 dev flannel.1",
  ]);
  assert.deepEqual(refused(kernel.apply(changes)), []);
  const routes = run("ip", "route");
  for (const kept of ["10.0.9.0/24 via", "203.0.113.0/24 via", "198.51.100.0/24 dev flannel.1"]) {
    assert.ok(routes.includes(kept), routes);
  }
  assert.ok(!routes.includes("10.0.200.0/24"), routes);
  assert.ok(!routes.includes("10.99.0.0/24"), routes);
  assert.match(run("ip", "addr", "show", "dev", "flannel.1"), /198\.51\.100\.1\/32/);
  assert.match(run("bridge", "fdb"), /00:00:00:00:00:00 dev flannel.1 dst 192.0.2.200/);
  assert.match(run("nft", "list", "tables"), /inet other/);
});

kernelTest("Kernel.apply: a foreign route in our way is a conflict and stays", () => {
  sh(`${UNDERLAY}
    ip route add 10.0.2.0/24 via 192.0.2.254 dev up0
  `);
  const backend = dualVxlan();
  using kernel = Kernel.open();
  const { changes, conflicts } = plan(
    overlayWants(2),
    kernel.read(backend.scope()),
    backend.ours(),
  );
  assert.deepEqual(conflicts.map(({ have }) => describe(have)), [
    "10.0.2.0/24 via 192.0.2.254 dev up0",
  ]);
  assert.deepEqual(refused(kernel.apply(changes)), []);
  assert.match(run("ip", "route", "show", "10.0.2.0/24"), /via 192.0.2.254 dev up0/);
  assert.match(run("ip", "route", "show", "10.0.3.0/24"), /via 10.0.3.0 dev flannel.1/);
});

kernelTest("Kernel.apply: a pod is there as wanted, in both namespaces, and planned once", () => {
  using pod = new Netns();
  using kernel = Kernel.open({ pod: pod.path });
  const want = podFacts(POD);
  // The loopback and what the kernel adds by itself are nobody's.
  const kernels: Ours = (fact) =>
    OURS_FOR_POD(fact) && fact.kind !== "address" && fact.kind !== "link" &&
    !(fact.kind === "route" && fact.protocol === 2);
  const read = (): Fact[] => [
    ...kernel.read({ links: "all", addresses: ["cni0"], sysctls: keysOf("host", want) }),
    ...kernel.read({
      where: "pod",
      links: "all",
      addresses: ["eth0"],
      routes: true,
      sysctls: keysOf("pod", want),
    }),
  ];
  const { changes } = plan(want, read(), kernels);
  assert.deepEqual(refused(kernel.apply(changes)), []);
  const inPod = pod.inside(() => shownFacts([], "pod"));
  assert.deepEqual(missing(want, [...shownFacts([]), ...inPod]), []);
  const [address] = pod.inside(() => shown("ip", "addr", "show", "dev", "eth0"));
  assert.equal(address?.["addr_info"][0].broadcast, "10.0.1.255");
  assert.equal(shown("ip", "link", "show", "dev", "veth1")[0]?.["mtu"], 1430);

  const again = plan(want, read(), kernels);
  assert.deepEqual([words(again.changes), again.conflicts], [[], []]);
});

/** The settings among facts, of one namespace. */
function keysOf(where: string, facts: readonly Fact[]): string[] {
  return facts.flatMap((fact) => fact.kind === "sysctl" && fact.where === where ? [fact.key] : []);
}

kernelTest("Kernel.apply: a pod's settings are written in the pod, the host's in the host", () => {
  using pod = new Netns();
  using kernel = Kernel.open({ pod: pod.path });
  const key = "net/ipv4/ip_forward";
  kernel.apply([put({ kind: "sysctl", where: "pod", key, value: "1" })]);
  const shows = (): string => run("sysctl", "-n", "net.ipv4.ip_forward").trim();
  assert.deepEqual([shows(), pod.inside(shows)], ["0", "1"]);
  assert.deepEqual([kernel.sysctl("host", key), kernel.sysctl("pod", key)], ["0", "1"]);
});
