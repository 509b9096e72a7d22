/**
 * Facts: the vocabulary of the whole product. A fact is one thing we want a kernel to hold, or
 * found there. The plugin, the daemon and inspect speak in facts; only `ffi/` knows messages.
 *
 * A field that is absent from a wanted fact means "any value will do"; a fact that was read from
 * a kernel has every field that the kernel told.
 *
 * @module
 */

import { addressOf, type Cidr, type Family, familyOf, type Inet, type Ip } from "./ip.ts";
import type { Mac } from "./mac.ts";
import type { Secret } from "./secret.ts";
import type { PublicKey } from "./wireguard_key.ts";

/** The network namespace a fact lives in: the node's, or that of the pod at hand. */
export type Where = "host" | "pod";

/** Routes that we make carry this protocol number (`rtm_protocol`; free in `rt_protos`). */
export const TWILL_PROTOCOL = 146;

/** The driver of a link, with what must be known to create it. */
export type Driver =
  /** A bridge; `vlanFiltering`: it tells VLANs apart. */
  | { readonly kind: "bridge"; readonly vlanFiltering?: boolean }
  /** One end of a veth pair; the other is `peer`, in the namespace `peerWhere`. */
  | { readonly kind: "veth"; readonly peer?: string; readonly peerWhere?: Where }
  /** A VTEP. */
  | {
    readonly kind: "vxlan";
    /** VXLAN network identifier, 1 to 2^24-1. */
    readonly vni: number;
    /** Outer UDP port. */
    readonly port: number;
    /** Outer source address. */
    readonly local?: Ip;
    /** The link that carries the outer packets. */
    readonly underlay?: string;
    /** Learn FDB entries from received frames; we want false. */
    readonly learning?: boolean;
    /** Carry the group policy of the outer header (`IFLA_VXLAN_GBP`). */
    readonly gbp?: boolean;
  }
  /** A tunnel for IPv4 in IPv4. */
  | {
    readonly kind: "ipip";
    /** Outer source address. */
    readonly local?: Ip;
    /** No fixed other end: packets go to the gateway of their route. */
    readonly anyPeer?: boolean;
  }
  /** WireGuard; what it is set to are facts of their own: {@link WireguardFact}. */
  | { readonly kind: "wireguard" }
  /** Anything else; never created by us. `name` is the kernel's `IFLA_INFO_KIND`, or empty. */
  | { readonly kind: "other"; readonly name: string };

/** A network interface. Whether it is up is a fact of its own: {@link UpFact}. */
export interface LinkFact {
  readonly kind: "link";
  readonly where: Where;
  /** 1 to 15 bytes. */
  readonly name: string;
  readonly driver: Driver;
  /** Bytes; 0 in a wanted fact would be refused by the kernel. */
  readonly mtu?: number;
  readonly mac?: Mac;
  /** Promiscuous by administrator's wish (`IFF_PROMISC`). */
  readonly promisc?: boolean;
}

/** A link is administratively up, or (when found) down. */
export interface UpFact {
  readonly kind: "up";
  readonly where: Where;
  readonly dev: string;
  readonly up: boolean;
}

/** A link is a port of a bridge. */
export interface PortFact {
  readonly kind: "port";
  readonly where: Where;
  readonly dev: string;
  readonly bridge: string;
  /** Frames may leave by the port they came in. */
  readonly hairpin?: boolean;
  /** No traffic to other isolated ports. */
  readonly isolated?: boolean;
}

/** A port of a bridge carries a VLAN. */
export interface VlanFact {
  readonly kind: "vlan";
  readonly where: Where;
  readonly dev: string;
  /** 1 to 4094. */
  readonly id: number;
  /** Frames that come in without a tag are of this VLAN. A port has one such VLAN at most. */
  readonly pvid?: boolean;
  /** Frames of this VLAN leave without their tag. */
  readonly untagged?: boolean;
}

/** An address on a link. */
export interface AddressFact {
  readonly kind: "address";
  readonly where: Where;
  readonly dev: string;
  readonly inet: Inet;
  /** IPv4 broadcast address. */
  readonly broadcast?: Ip;
}

/** A unicast or blackhole route of the main table, unless `table` says otherwise. */
export interface RouteFact {
  readonly kind: "route";
  readonly where: Where;
  readonly dst: Cidr;
  /** Absent for a blackhole. */
  readonly dev?: string;
  readonly via?: Ip;
  /** The gateway counts as reachable on `dev` whatever the addresses say (`RTNH_F_ONLINK`). */
  readonly onlink?: boolean;
  readonly blackhole?: boolean;
  /** `rtm_protocol`: {@link TWILL_PROTOCOL} for ours, 3 (boot) for most others', 2 for the kernel's. */
  readonly protocol?: number;
  /** `RTA_PRIORITY`; absent or 0 counts as the family's default: 0 for IPv4, 1024 for IPv6. */
  readonly metric?: number;
  /** Routing table; absent counts as 254, main. */
  readonly table?: number;
  /** `rtm_scope`; absent: 253 (link) without gateway for IPv4, else 0 (universe). */
  readonly scope?: number;
  /** Route metrics, bytes. */
  readonly mtu?: number;
  readonly advmss?: number;
  /** Preferred source address. */
  readonly src?: Ip;
  /** The route has several next hops, of which `dev` and `via` are the first; never one of ours. */
  readonly multipath?: boolean;
}

/** A permanent neighbour entry: the MAC address of an IP address on a link. */
export interface NeighbourFact {
  readonly kind: "neighbour";
  readonly where: Where;
  readonly dev: string;
  readonly ip: Ip;
  readonly mac: Mac;
}

/** A permanent forwarding entry of a VTEP: frames to `mac` go to the outer address `remote`. */
export interface FdbFact {
  readonly kind: "fdb";
  readonly where: Where;
  readonly dev: string;
  readonly mac: Mac;
  readonly remote: Ip;
}

/** What a WireGuard link is set to, but for its peers. */
export interface WireguardFact {
  readonly kind: "wireguard";
  readonly where: Where;
  readonly dev: string;
  /** UDP port. */
  readonly port: number;
  readonly publicKey: PublicKey;
  /** The other half of `publicKey`, by which two of them are compared; never read. */
  readonly privateKey?: Secret;
}

/** A peer of a WireGuard link: packets to these networks go to that endpoint, encrypted. */
export interface WireguardPeerFact {
  readonly kind: "wireguard-peer";
  readonly where: Where;
  readonly dev: string;
  readonly publicKey: PublicKey;
  /** Where the peer is reached: address and UDP port. Absent when the kernel does not know yet. */
  readonly remote?: Ip;
  readonly port?: number;
  /** Sorted as text. A packet from the peer must come from one of them. */
  readonly allowed: readonly Cidr[];
  /** Seconds between packets that keep a NAT open; 0: none. */
  readonly keepalive?: number;
  readonly psk?: Secret;
  /** Found only: what the kernel tells of the connection. */
  readonly traffic?: WireguardTraffic;
}

/** What was heard of a peer of a WireGuard link. */
export interface WireguardTraffic {
  /** The last handshake, as `Date.now()` counts; absent: there was none. */
  readonly handshake?: number;
  /**
   * The last handshake is younger than three minutes, after which a key is not used any more: the
   * peer is where the kernel says.
   */
  readonly alive: boolean;
  /** Bytes, of the outer packets. */
  readonly received: number;
  readonly sent: number;
}

/** A kernel setting below `/proc/sys`. */
export interface SysctlFact {
  readonly kind: "sysctl";
  readonly where: Where;
  /** Path below `/proc/sys/`, slashes: `net/ipv4/ip_forward`. */
  readonly key: string;
  readonly value: string;
  /** A kernel without this setting is fine. */
  readonly optional?: boolean;
}

/** One nftables table, whole. */
export interface RulesFact {
  readonly kind: "rules";
  readonly where: Where;
  /** Family and name: `inet twill`. */
  readonly table: string;
  /** The table as `nft -s list table` prints it; empty when the table does not exist. */
  readonly text: string;
}

/** One chain of iptables that is ours whole, and the rules elsewhere that are part of it. */
export interface ChainFact {
  readonly kind: "chain";
  readonly where: Where;
  readonly family: Family;
  readonly table: "nat" | "filter";
  readonly chain: string;
  /** Comment of our rules; those outside of the chain are known by it, or by jumping to it. */
  readonly comment: string;
  /**
   * The lines of `iptables-save` that make it: those outside of the chain, then its own. Empty
   * when there is none.
   */
  readonly text: string;
}

/** One thing we want a kernel to hold. */
export type Fact =
  | LinkFact
  | UpFact
  | PortFact
  | VlanFact
  | AddressFact
  | RouteFact
  | NeighbourFact
  | FdbFact
  | WireguardFact
  | WireguardPeerFact
  | SysctlFact
  | RulesFact
  | ChainFact;

/** Which facts to read. Names of links that do not exist give no facts. */
export interface Scope {
  /** Default: `host`. */
  readonly where?: Where;
  /** Links, with their "up" and their bridge port. */
  readonly links?: readonly string[] | "all";
  readonly addresses?: readonly string[] | "all";
  /** VLANs of these ports. */
  readonly vlans?: readonly string[];
  /** The main table, whole. */
  readonly routes?: boolean;
  /** Permanent neighbours of these links. */
  readonly neighbours?: readonly string[];
  /** Permanent forwarding entries of these VTEPs. */
  readonly fdb?: readonly string[];
  /** WireGuard links, with their peers. */
  readonly wireguard?: readonly string[];
  /** Keys below `/proc/sys/`. */
  readonly sysctls?: readonly string[];
  /** Tables: `inet twill`. */
  readonly rules?: readonly string[];
  /** Chains of iptables. */
  readonly chains?: readonly Omit<ChainFact, "kind" | "where" | "text">[];
}

/** Main routing table, `RT_TABLE_MAIN`, linux/rtnetlink.h. */
export const MAIN_TABLE = 254;

/**
 * The slot that a fact fills: a kernel holds at most one fact of each slot, so two facts with one
 * slot compete and two with different slots never do. (A pod may have several routes to one
 * destination, by different gateways; on the node we never want that.)
 */
export function slotOf(fact: Fact): string {
  switch (fact.kind) {
    case "link":
      return `link ${fact.where} ${fact.name}`;
    case "up":
    case "port":
      return `${fact.kind} ${fact.where} ${fact.dev}`;
    case "vlan":
      return `vlan ${fact.where} ${fact.dev} ${fact.id}`;
    case "address":
      // IPv4 addresses with different lengths are different ones, IPv6 addresses are not.
      return `address ${fact.where} ${fact.dev} ${
        familyOf(fact.inet) === 4 ? fact.inet : addressOf(fact.inet)
      }`;
    case "route":
      return `route ${fact.where} ${fact.table ?? MAIN_TABLE} ${fact.dst} ${metricOf(fact)}${
        fact.where === "pod" ? word("via", fact.via) : ""
      }`;
    case "neighbour":
      return `neighbour ${fact.where} ${fact.dev} ${fact.ip}`;
    case "fdb":
      return `fdb ${fact.where} ${fact.dev} ${fact.mac}`;
    case "wireguard":
      return `wireguard ${fact.where} ${fact.dev}`;
    case "wireguard-peer":
      return `wireguard-peer ${fact.where} ${fact.dev} ${fact.publicKey}`;
    case "sysctl":
      return `sysctl ${fact.where} ${fact.key}`;
    case "rules":
      return `rules ${fact.where} ${fact.table}`;
    case "chain":
      return `chain ${fact.where} ${fact.family} ${fact.table} ${fact.chain}`;
  }
}

/** What the kernel makes of a route without a metric (IPv6: `IP6_RT_PRIO_USER`, linux/ipv6_route.h). */
const DEFAULT_METRIC = { 4: 0, 6: 1024 } as const satisfies Record<Family, number>;

function metricOf({ metric, dst }: RouteFact): number {
  return metric || DEFAULT_METRIC[familyOf(dst)];
}

/** The fact in the words of `ip`, `bridge` and `sysctl`: for errors, logs and the fake kernel. */
export function describe(fact: Fact): string {
  switch (fact.kind) {
    case "link":
      return `${fact.name} type ${driverText(fact.driver)}${word("mtu", fact.mtu)}${
        word("address", fact.mac)
      }`;
    case "up":
      return `${fact.dev} ${fact.up ? "up" : "down"}`;
    case "port":
      return `${fact.dev} master ${fact.bridge}`;
    case "vlan":
      return `dev ${fact.dev} vid ${fact.id}${fact.pvid ? " pvid" : ""}${
        fact.untagged ? " untagged" : ""
      }`;
    case "address":
      return `${fact.inet} dev ${fact.dev}`;
    case "route":
      return `${fact.blackhole ? "blackhole " : ""}${fact.dst}${word("via", fact.via)}${
        word("dev", fact.dev)
      }${fact.onlink ? " onlink" : ""}${word("metric", fact.metric || undefined)}`;
    case "neighbour":
      return `${fact.ip} lladdr ${fact.mac} dev ${fact.dev}`;
    case "fdb":
      return `${fact.mac} dev ${fact.dev} dst ${fact.remote}`;
    case "wireguard":
      return `${fact.dev} listen-port ${fact.port} public-key ${fact.publicKey}`;
    case "wireguard-peer":
      return `peer ${fact.publicKey} dev ${fact.dev}${
        fact.remote === undefined ? "" : ` endpoint ${endpointText(fact.remote, fact.port ?? 0)}`
      } allowed-ips ${fact.allowed.join(",") || "none"}`;
    case "sysctl":
      return `${fact.key.replaceAll("/", ".")}=${fact.value}`;
    case "rules":
      return `table ${fact.table}`;
    case "chain":
      return `${fact.family === 4 ? "iptables" : "ip6tables"} -t ${fact.table} ${fact.chain}`;
  }
}

/** `192.0.2.7:51820`, `[2001:db8::7]:51820`. */
export function endpointText(remote: Ip, port: number): string {
  return familyOf(remote) === 4 ? `${remote}:${port}` : `[${remote}]:${port}`;
}

function word(name: string, value: string | number | undefined): string {
  return value === undefined ? "" : ` ${name} ${value}`;
}

function driverText(driver: Driver): string {
  switch (driver.kind) {
    case "bridge":
      return `bridge${driver.vlanFiltering ? " vlan_filtering 1" : ""}`;
    case "veth":
      return `veth${word("peer", driver.peer)}`;
    case "vxlan":
      return `vxlan id ${driver.vni} dstport ${driver.port}${word("local", driver.local)}${
        word("dev", driver.underlay)
      }`;
    case "ipip":
      return `ipip${word("local", driver.local)}`;
    case "wireguard":
      return driver.kind;
    case "other":
      return driver.name === "" ? "unknown" : driver.name;
  }
}
