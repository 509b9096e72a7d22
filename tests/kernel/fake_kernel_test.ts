/** The kernel of the planner's property tests behaves like the real one. */

import assert from "node:assert/strict";
import { describe, type Fact, type LinkFact, slotOf } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import type { Change } from "../../engine/plan.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { FakeKernel } from "../engine/fake_kernel.ts";
import { kernelTest, Netns } from "./sandbox.ts";

const where = "host";

function link(name: string, driver: LinkFact["driver"], more: Partial<LinkFact> = {}): LinkFact {
  return { kind: "link", where, name, driver, ...more };
}

function up(dev: string, up = true): Fact {
  return { kind: "up", where, dev, up };
}

function address(dev: string, inet: string): Fact {
  return { kind: "address", where, dev, inet: parseInet(inet) };
}

function route(dst: string, via: string | undefined, dev: string, onlink = false): Fact {
  const gateway = via === undefined ? {} : { via: parseIp(via) };
  return { kind: "route", where, dst: parseCidr(dst), ...gateway, dev, onlink, protocol: 146 };
}

function neighbour(dev: string, ip: string, mac: string): Fact {
  return { kind: "neighbour", where, dev, ip: parseIp(ip), mac: parseMac(mac) };
}

function fdb(dev: string, mac: string, remote: string): Fact {
  return { kind: "fdb", where, dev, mac: parseMac(mac), remote: parseIp(remote) };
}

function put(fact: Fact, had?: Fact): Change {
  return { op: "put", fact, ...(had === undefined ? {} : { had }) };
}

function remove(fact: Fact): Change {
  return { op: "delete", fact };
}

const MAC1 = parseMac("02:00:00:00:00:01");
const MAC2 = parseMac("02:00:00:00:00:02");
const VTEP = link("vx0", { kind: "vxlan", vni: 1, port: 8472, underlay: "v0" }, {
  mac: MAC1,
  mtu: 1450,
});

/** Steps that both kernels take; after each their answers and their facts are compared. */
const STEPS: readonly Change[] = [
  put(link("v0", { kind: "veth", peer: "v1" }, { mac: MAC2 })),
  put(link("v1", { kind: "bridge" })),
  put(VTEP),
  put(VTEP),
  put(address("v0", "192.0.2.1/24")),
  put(address("v0", "192.0.2.1/24")),
  put(address("nosuch", "192.0.2.1/24")),
  put(route("10.1.0.0/24", "192.0.2.9", "v0")),
  put(up("v1")),
  put(up("v0")),
  put(up("nosuch")),
  put(route("10.1.0.0/24", "192.0.2.9", "v0")),
  put(route("10.2.0.0/24", "198.51.100.9", "v0")),
  put(route("fd03::/64", "fd99::1", "v0")),
  put(route("10.2.0.0/24", "10.2.0.0", "vx0", true)),
  put(up("vx0")),
  put(address("vx0", "10.0.0.0/32")),
  put(route("10.2.0.0/24", "10.2.0.0", "vx0", true)),
  put(route("fd02::/64", "fd02::", "vx0", true)),
  put(route("10.3.0.0/24", undefined, "vx0")),
  put({ kind: "route", where, dst: parseCidr("10.9.0.0/16"), blackhole: true, protocol: 146 }),
  put(neighbour("vx0", "10.2.0.0", MAC2)),
  put(neighbour("vx0", "fd02::", MAC2)),
  put(neighbour("nosuch", "10.2.0.0", MAC2)),
  put(fdb("vx0", MAC2, "192.0.2.2")),
  put(fdb("vx0", MAC2, "192.0.2.3")),
  put(fdb("nosuch", MAC2, "192.0.2.2")),
  // Nothing but the MTU: the neighbours stay. With another MAC address they go.
  put({ ...VTEP, mtu: 1400 }, VTEP),
  put({ ...VTEP, mac: MAC2, mtu: 1400 }, { ...VTEP, mtu: 1400 }),
  put(neighbour("vx0", "10.2.0.0", MAC1)),
  remove(neighbour("vx0", "10.2.0.0", MAC1)),
  remove(neighbour("vx0", "10.2.0.0", MAC1)),
  put(neighbour("vx0", "10.2.0.0", MAC1)),
  put(up("vx0", false)),
  put(up("vx0")),
  put(route("10.2.0.0/24", "10.2.0.0", "vx0", true)),
  remove({ ...route("10.2.0.0/24", "10.2.0.0", "vx0", true), protocol: 3 } as Fact),
  remove(address("vx0", "10.0.0.0/32")),
  put(address("vx0", "10.0.0.0/32")),
  put(route("10.2.0.0/24", "10.2.0.0", "vx0", true)),
  put(link("br0", { kind: "bridge" }, { mac: MAC1 })),
  put({ kind: "port", where, dev: "v1", bridge: "br0", hairpin: true }),
  put({ kind: "port", where, dev: "v1", bridge: "v0" }),
  put({ kind: "port", where, dev: "nosuch", bridge: "br0" }),
  put({ kind: "sysctl", where, key: "net/ipv6/conf/nosuch/accept_ra", value: "0" }),
  put({ kind: "sysctl", where, key: "net/ipv6/conf/nosuch/accept_ra", value: "0", optional: true }),
  remove(link("vx0", { kind: "bridge" })),
  remove(link("vx0", { kind: "bridge" })),
  remove(link("br0", { kind: "bridge" })),
  remove(link("v0", { kind: "veth" })),
];

/** What both must agree on: not what the kernel adds by itself (link-local addresses, loopback). */
function comparable(facts: readonly Fact[]): string[] {
  return facts.filter((fact) => {
    switch (fact.kind) {
      case "link":
        return fact.name !== "lo";
      case "up":
        return fact.dev !== "lo";
      case "address":
        return !fact.inet.startsWith("fe80::");
      case "route":
        return fact.dst !== "fe80::/64";
      default:
        return fact.kind !== "sysctl";
    }
  }).map((fact) => {
    const protocol = fact.kind === "route" ? ` proto ${fact.protocol} scope ${fact.scope}` : "";
    // The kernel chooses the MAC address of a bridge or veth that has none in the plan.
    const words = fact.kind === "link"
      ? `${fact.name} type ${fact.driver.kind} mtu ${fact.mtu}`
      : describe(fact);
    return `${slotOf(fact)}: ${words}${protocol}`;
  }).sort();
}

kernelTest("FakeKernel answers and holds what Linux does", () => {
  using pod = new Netns();
  using kernel = Kernel.open({ pod: pod.path });
  const fake = new FakeKernel();
  for (const step of STEPS) {
    const words = `${step.op} ${step.fact.kind} ${describe(step.fact)}`;
    const [outcome] = kernel.apply([step]);
    const [refusal] = fake.apply([step]);
    assert.equal(refusal !== undefined, outcome?.error !== undefined, words);
    const kernels = outcome?.error?.kernel?.replace(/^no such device .*/, "No such device");
    assert.equal(refusal, kernels, words);
    const scope = {
      links: "all",
      addresses: "all",
      routes: true,
      neighbours: ["v0", "vx0"],
      fdb: ["vx0"],
    } as const;
    assert.deepEqual(comparable(fake.read()), comparable(kernel.read(scope)), words);
  }
});
