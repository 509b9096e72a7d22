/**
 * From what is read of a node to the world of a trace. Pure.
 *
 * @module
 */

import { udpPort } from "../../engine/backend/udp.ts";
import { makeBackend } from "../../engine/backend/registry.ts";
import { OpError } from "../../engine/errors.ts";
import type { Fact } from "../../engine/fact.ts";
import { addressOf, familyOf, type Ip } from "../../engine/ip.ts";
import { leaseSubnets } from "../../engine/lease.ts";
import type { Mac } from "../../engine/mac.ts";
import type { TraceTable } from "../../engine/trace/rules.ts";
import type { TraceLink, TracePeer, TracePod, TraceWorld } from "../../engine/trace/world.ts";
import { tunnelsOf } from "../../engine/tunnel.ts";
import type { Knowledge } from "../knowledge.ts";
import { nameOfPod, type Pod } from "../pods/join.ts";

/** All that was read. */
export interface Read {
  readonly node: string;
  readonly facts: readonly Fact[];
  readonly pods: readonly Pod[];
  readonly known: Knowledge;
  readonly tables: readonly TraceTable[] | string;
  readonly lookUp: TraceWorld["lookUp"];
  /** The kernel told the keys and peers of WireGuard links. */
  readonly keysRead: boolean;
}

/** Puts it together. */
export function worldOf({ node, facts, pods, known, tables, lookUp, keysRead }: Read): TraceWorld {
  const port = known.leases?.conf.backend.type === "udp" ? udpPort(known.leases.conf) : undefined;
  const addresses = new Map<Ip, string>();
  const neighbours = new Map<string, Mac>();
  const fdb = new Map<string, Ip[]>();
  const sysctls = new Map<string, string>();
  for (const fact of facts) {
    if (fact.kind === "address") addresses.set(addressOf(fact.inet), fact.dev);
    if (fact.kind === "neighbour") neighbours.set(`${fact.dev} ${fact.ip}`, fact.mac);
    if (fact.kind === "sysctl") sysctls.set(fact.key, fact.value);
    if (fact.kind === "fdb") {
      const key = `${fact.dev} ${fact.mac}`;
      fdb.set(key, [...fdb.get(key) ?? [], fact.remote]);
    }
  }
  return {
    node,
    links: linksOf(facts),
    addresses,
    lookUp,
    neighbour: (dev, ip) => neighbours.get(`${dev} ${ip}`),
    fdb: (dev, mac) => fdb.get(`${dev} ${mac}`) ?? [],
    wireguard: keysRead
      ? facts.filter((fact) => fact.kind === "wireguard-peer")
      : "WireGuard tells its peers to root alone",
    ...(port === undefined ? {} : { udpPort: port }),
    sysctl: (key) => sysctls.get(key),
    tables,
    pods: pods.map(podOf),
    peers: peersOf(known),
  };
}

function linksOf(facts: readonly Fact[]): Map<string, TraceLink> {
  const up = new Set(facts.flatMap((fact) => fact.kind === "up" && fact.up ? [fact.dev] : []));
  const tunnels = new Map(tunnelsOf(facts).map((tunnel) => [tunnel.name, tunnel]));
  const ports = new Map(facts.flatMap((fact) => fact.kind === "port" ? [[fact.dev, fact]] : []));
  return new Map(facts.flatMap((fact): [string, TraceLink][] => {
    if (fact.kind !== "link") return [];
    const { name, driver, mac } = fact;
    const port = ports.get(name);
    return [[name, {
      name,
      up: up.has(name),
      mtu: fact.mtu ?? 0,
      kind: driver.kind === "wireguard" ? "other" : driver.kind,
      ...(mac === undefined ? {} : { mac }),
      ...(port === undefined ? {} : {
        bridge: port.bridge,
        hairpin: port.hairpin === true,
        isolated: port.isolated === true,
      }),
      ...(driver.kind === "vxlan" ? { vxlan: driver } : {}),
      ...(tunnels.has(name) ? { tunnel: tunnels.get(name)! } : {}),
    }]];
  }));
}

function podOf(pod: Pod): TracePod {
  const { ips, inside, netns, ifname = "eth0", veth, vethName } = pod;
  const end = veth?.name ?? vethName;
  return {
    name: nameOfPod(pod),
    ips,
    ifname: inside?.name ?? ifname,
    // A namespace that could not be looked into cannot be asked for its routes either.
    ...(netns === undefined || inside === undefined ? {} : { netns, mtu: inside.mtu }),
    ...(inside?.mac === undefined ? {} : { mac: inside.mac }),
    ...(end === undefined ? {} : { veth: end }),
  };
}

function peersOf({ leases }: Knowledge): TracePeer[] {
  if (leases === undefined) return [];
  let macsOf: ReturnType<typeof makeBackend>["macsOf"];
  try {
    const backend = makeBackend(leases.conf);
    macsOf = (lease) => backend.macsOf(lease);
  } catch (e) {
    if (!(e instanceof OpError || e instanceof SyntaxError)) throw e;
    macsOf = () => ({});
  }
  const own = new Set(leaseSubnets(leases.own));
  return leases.leases.flatMap((lease) =>
    leaseSubnets(lease).filter((subnet) => !own.has(subnet)).map((subnet): TracePeer => {
      const family = familyOf(subnet);
      const publicIp = family === 4 ? lease.publicIp : lease.publicIp6;
      const mac = macsOf(lease)[family];
      return {
        subnet,
        ...(lease.node === undefined ? {} : { node: lease.node }),
        ...(publicIp === undefined ? {} : { publicIp }),
        ...(mac === undefined ? {} : { mac }),
      };
    })
  );
}
