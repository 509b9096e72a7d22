/**
 * Random facts for property tests: any at all, and whole overlays that make sense.
 *
 * @module
 */

import fc from "fast-check";
import { makeBackend } from "../../engine/backend/registry.ts";
import type { Backend } from "../../engine/backend/backend.ts";
import { type Driver, type Fact, slotOf } from "../../engine/fact.ts";
import {
  type Cidr,
  inetOf,
  type Ip,
  parseCidr4,
  parseCidr6,
  parseIp4,
  parseIp6,
} from "../../engine/ip.ts";
import { jsonObject } from "../../engine/json.ts";
import type { Lease } from "../../engine/lease.ts";
import { parseNetConf } from "../../engine/net_conf.ts";
import * as any from "./arbitraries.ts";

const where = fc.constantFrom("host" as const, "pod" as const);
/** Few names, so that facts meet. */
const name = fc.constantFrom("eth0", "br0", "v0", "flannel.1");
const ip: fc.Arbitrary<Ip> = fc.oneof(any.ip(4), any.ip(6));
const cidr: fc.Arbitrary<Cidr> = fc.oneof(any.cidr(4), any.cidr(6));
const inet = any.family.chain((family) =>
  fc.tuple(any.ip(family), fc.integer({ min: 0, max: family === 4 ? 32 : 128 }))
).map(([ip, length]) => inetOf(ip, length));
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });

/** Leaves out what is undefined, as exact optional members want it. */
function exact<T extends object>(fact: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fact).filter(([, value]) => value !== undefined)) as T;
}

const driver: fc.Arbitrary<Driver> = fc.oneof(
  fc.constant<Driver>({ kind: "bridge" }),
  fc.record({ kind: fc.constant("veth" as const), peer: name, peerWhere: where }),
  fc.record({
    kind: fc.constant("vxlan" as const),
    vni: fc.nat(3),
    port: fc.nat(3),
    local: ip,
    underlay: name,
    learning: fc.boolean(),
    gbp: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("ipip" as const), local: ip, anyPeer: fc.boolean() }),
  fc.record({ kind: fc.constant("other" as const), name: fc.constantFrom("", "bond") }),
);

/** Any fact, sensible or not. */
export const fact: fc.Arbitrary<Fact> = fc.oneof(
  fc.record({
    kind: fc.constant("link" as const),
    where,
    name,
    driver,
    mtu: maybe(fc.nat(3)),
    mac: maybe(any.mac),
    promisc: maybe(fc.boolean()),
  }).map((link) => exact<Fact>(link)),
  fc.record({ kind: fc.constant("up" as const), where, dev: name, up: fc.boolean() }),
  fc.record({
    kind: fc.constant("port" as const),
    where,
    dev: name,
    bridge: name,
    hairpin: maybe(fc.boolean()),
  }).map((port) => exact<Fact>(port)),
  fc.record({ kind: fc.constant("vlan" as const), where, dev: name, id: fc.nat(3) }),
  fc.record({ kind: fc.constant("address" as const), where, dev: name, inet }),
  fc.record({
    kind: fc.constant("route" as const),
    where,
    dst: cidr,
    dev: maybe(name),
    via: maybe(ip),
    onlink: maybe(fc.boolean()),
    blackhole: maybe(fc.boolean()),
    protocol: maybe(fc.constantFrom(2, 3, 146)),
    metric: maybe(fc.nat(1)),
    table: maybe(fc.constantFrom(254, 100)),
    mtu: maybe(fc.nat(2000)),
  }).map((route) => exact<Fact>(route)),
  fc.record({ kind: fc.constant("neighbour" as const), where, dev: name, ip, mac: any.mac }),
  fc.record({ kind: fc.constant("fdb" as const), where, dev: name, mac: any.mac, remote: ip }),
  fc.record({
    kind: fc.constant("sysctl" as const),
    where,
    key: name.map((dev) => `net/ipv6/conf/${dev}/accept_ra`),
    value: fc.constantFrom("0", "1"),
  }),
  fc.record({
    kind: fc.constant("rules" as const),
    where,
    table: fc.constantFrom("inet twill", "ip other"),
    text: fc.constantFrom("", "table inet twill {\n}\n"),
  }),
  fc.record({
    kind: fc.constant("chain" as const),
    where,
    family: any.family,
    table: fc.constantFrom("nat" as const, "filter" as const),
    chain: fc.constantFrom("FLANNEL-FWD", "FLANNEL-POSTRTG"),
    comment: fc.constant("twill"),
    text: fc.constantFrom("", "-A FORWARD -j FLANNEL-FWD\n"),
  }),
);

/** Facts that a kernel could hold together: one of each slot. */
export const facts: fc.Arbitrary<Fact[]> = fc.uniqueArray(fact, {
  selector: slotOf,
  maxLength: 30,
});

/** An overlay: its backend, and the facts that node 1 wants with its peers of the moment. */
export interface World {
  readonly backend: Backend;
  readonly want: readonly Fact[];
}

/** Node `n` of 1 to 9; `alias` chooses one of a few public addresses and MAC addresses. */
export function node(n: number, alias = 0): Lease {
  const data = (v: number): Lease["backendData"] =>
    jsonObject({ VNI: 1, VtepMAC: `0${v === 4 ? "a" : "e"}:00:00:00:0${alias}:0${n}` });
  return {
    node: `n${n}`,
    subnet: parseCidr4(`10.244.${n}.0/24`),
    subnet6: parseCidr6(`fd00:10:244:${n}::/64`),
    publicIp: parseIp4(`192.0.2.${10 * alias + n}`),
    publicIp6: parseIp6(`2001:db8::${10 * alias + n}`),
    backendType: "vxlan",
    backendData: data(4) ?? null,
    backendV6Data: data(6) ?? null,
  };
}

/** A vxlan network of the families, with more members of its Backend section. */
export function network(
  families: { readonly v4: boolean; readonly v6: boolean },
  backend: Readonly<Record<string, string | number | boolean>> = {},
): Backend {
  return makeBackend(parseNetConf(JSON.stringify({
    EnableIPv4: families.v4,
    Network: "10.244.0.0/16",
    EnableIPv6: families.v6,
    IPv6Network: "fd00:10:244::/48",
    Backend: { Type: "vxlan", ...backend },
  })));
}

/** The link that carries the overlay; node 1 is at 192.0.2.1. */
export const UNDERLAY = {
  name: "up0",
  mtu: 1500,
  addresses: { 4: parseIp4("192.0.2.1"), 6: parseIp6("2001:db8::1") },
  onLink: [],
} as const;

/** Overlays of one VNI that differ in all else. */
export const world: fc.Arbitrary<World> = fc.record({
  families: fc.constantFrom({ v4: true, v6: false }, { v4: false, v6: true }, {
    v4: true,
    v6: true,
  }),
  options: fc.record({
    Port: fc.constantFrom(0, 4789),
    Learning: fc.boolean(),
    MTU: fc.constantFrom(1500, 1400),
  }),
  self: fc.nat(1),
  peers: fc.uniqueArray(fc.tuple(fc.integer({ min: 2, max: 9 }), fc.nat(2)), {
    selector: ([n]) => n,
    maxLength: 6,
  }),
}).map(({ families, options, self, peers }) => {
  const backend = network(families, options);
  const { own, peers: good } = backend.facts(
    { underlay: UNDERLAY, lease: node(1, self) },
    peers.map(([n, alias]) => node(n, alias)),
  );
  return { backend, want: [...own, ...good.flatMap((peer) => peer.facts)] };
});
