/**
 * What `ip` and `bridge` see in the calling thread's network namespace, in the words of our facts.
 * Nothing here uses our codec: it is what our reader is judged by.
 *
 * @module
 */

import {
  describe,
  type Driver,
  type Fact,
  MAIN_TABLE,
  slotOf,
  type Where,
} from "../../engine/fact.ts";
import { type Cidr, FAMILIES, inetOf, parseCidr, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { satisfies } from "../../engine/plan.ts";
import { type Shown, shown } from "./sandbox.ts";

/** Links with their "up" and their bridge port, as `ip -d link` shows them. */
export function shownLinks(where: Where = "host"): Fact[] {
  return shown("ip", "link").flatMap((link): Fact[] => {
    const flags: readonly string[] = link["flags"];
    const dev: string = link["ifname"];
    const { info_slave_kind, info_slave_data } = link["linkinfo"] ?? {};
    const isPort = info_slave_kind === "bridge";
    return [
      {
        kind: "link",
        where,
        name: dev,
        driver: shownDriver(link["linkinfo"]),
        mtu: link["mtu"],
        mac: parseMac(link["address"]),
        promisc: flags.includes("PROMISC"),
      },
      { kind: "up", where, dev, up: flags.includes("UP") },
      ...(isPort
        ? [{
          kind: "port" as const,
          where,
          dev,
          bridge: link["master"],
          hairpin: info_slave_data.hairpin,
          isolated: info_slave_data.isolated,
        }]
        : []),
    ];
  });
}

function shownDriver(info: Shown | undefined): Driver {
  if (info === undefined) return { kind: "other", name: "" };
  switch (info["info_kind"]) {
    case "bridge":
      return { kind: "bridge" };
    case "veth":
      return { kind: "veth" };
    case "vxlan": {
      const { id, port, local, local6, link, learning, gbp } = info["info_data"];
      const from = local ?? local6;
      return {
        kind: "vxlan",
        vni: id,
        port,
        ...(from === undefined ? {} : { local: parseIp(from) }),
        ...(link === undefined ? {} : { underlay: link }),
        learning,
        gbp: gbp === true,
      };
    }
    default:
      return { kind: "other", name: info["info_kind"] };
  }
}

/** Addresses of all links, as `ip addr` shows them. */
export function shownAddresses(where: Where = "host"): Fact[] {
  return shown("ip", "addr").flatMap((link) =>
    link["addr_info"].map((address: Shown): Fact => ({
      kind: "address",
      where,
      dev: link["ifname"],
      inet: inetOf(parseIp(address["local"]), address["prefixlen"]),
      ...(address["broadcast"] === undefined ? {} : { broadcast: parseIp(address["broadcast"]) }),
    }))
  );
}

/** Routes of the main table, as `ip route` shows them. */
export function shownRoutes(where: Where = "host"): Fact[] {
  return ([4, 6] as const).flatMap((family) =>
    shown("ip", "-N", `-${family}`, "route", "show", "table", "main").map((route): Fact => {
      const { dst, prefsrc, nexthops } = route;
      // Of several next hops the first stands for all.
      const { dev, gateway } = nexthops?.[0] ?? route;
      const { mtu, advmss } = route["metrics"]?.[0] ?? {};
      return {
        kind: "route",
        where,
        dst: network(dst === "default" ? FAMILIES[family].any : dst),
        ...(dev === undefined ? {} : { dev }),
        ...(gateway === undefined ? {} : { via: parseIp(gateway) }),
        onlink: route["flags"].includes("onlink"),
        blackhole: route["type"] === "6",
        ...(nexthops === undefined ? {} : { multipath: true }),
        protocol: Number(route["protocol"]),
        metric: route["metric"] ?? 0,
        table: MAIN_TABLE,
        scope: Number(route["scope"]),
        ...(mtu === undefined ? {} : { mtu }),
        ...(advmss === undefined ? {} : { advmss }),
        ...(prefsrc === undefined ? {} : { src: parseIp(prefsrc) }),
      };
    })
  );
}

/** `ip` leaves the length of a single address out. */
function network(dst: string): Cidr {
  return parseCidr(dst.includes("/") ? dst : `${dst}/${dst.includes(":") ? 128 : 32}`);
}

/** Permanent neighbours of a link, as `ip neigh` shows them. */
export function shownNeighbours(dev: string, where: Where = "host"): Fact[] {
  return shown("ip", "neigh", "show", "nud", "permanent", "dev", dev).map((entry): Fact => ({
    kind: "neighbour",
    where,
    dev,
    ip: parseIp(entry["dst"]),
    mac: parseMac(entry["lladdr"]),
  }));
}

/** Permanent forwarding entries of a VTEP, as `bridge fdb` shows them. */
export function shownFdb(dev: string, where: Where = "host"): Fact[] {
  return shown("bridge", "fdb", "show", "dev", dev).flatMap((entry): Fact[] =>
    entry["dst"] === undefined || entry["state"] !== "permanent" ? [] : [{
      kind: "fdb",
      where,
      dev,
      mac: parseMac(entry["mac"]),
      remote: parseIp(entry["dst"]),
    }]
  );
}

/** All that `ip` and `bridge` show, neighbours and FDB entries of the given links only. */
export function shownFacts(entriesOf: readonly string[], where: Where = "host"): Fact[] {
  return [
    ...shownLinks(where),
    ...shownAddresses(where),
    ...shownRoutes(where),
    ...entriesOf.flatMap((dev) => [...shownNeighbours(dev, where), ...shownFdb(dev, where)]),
  ];
}

/** The wanted facts that are not among those shown, in words; settings and rules left out. */
export function missing(want: readonly Fact[], have: readonly Fact[]): string[] {
  return want.filter((fact) =>
    fact.kind !== "sysctl" && fact.kind !== "rules" &&
    !have.some((found) => slotOf(found) === slotOf(fact) && satisfies(found, fact))
  ).map(describe);
}

/** Facts in an order of their own, to be compared whatever order they were told in. */
export function sorted(facts: readonly Fact[]): Fact[] {
  const key = (fact: Fact): string => `${slotOf(fact)} ${JSON.stringify(fact)}`;
  return facts.toSorted((a, b) => key(a) < key(b) ? -1 : 1);
}
