/**
 * What a node's overlay is, read from facts and the subnet file: VTEPs, networks, the pods' bridge.
 * Pure; all commands start from it.
 *
 * @module
 */

import type { AddressFact, Fact, LinkFact } from "../engine/fact.ts";
import {
  addressOf,
  type Cidr,
  contains,
  FAMILIES,
  type Family,
  familyOf,
  type Inet,
  inetOf,
  type Ip,
  ipNumber,
  lengthOf,
  networkOf,
} from "../engine/ip.ts";
import type { Mac } from "../engine/mac.ts";
import type { SubnetEnv } from "../engine/subnet_env.ts";
import { type Tunnel, tunnelsOf } from "../engine/tunnel.ts";

/** The subnet file, or why it tells nothing. */
export type SubnetFile =
  | { readonly kind: "read"; readonly path: string; readonly env: SubnetEnv }
  | { readonly kind: "missing"; readonly path: string }
  | { readonly kind: "damaged"; readonly path: string; readonly reason: string }
  | { readonly kind: "unreadable"; readonly path: string; readonly reason: string };

/** A VTEP of this node: one per family and VNI. */
export interface Vtep {
  readonly name: string;
  readonly family: Family;
  readonly vni: number;
  /** Outer UDP port. */
  readonly port: number;
  readonly up: boolean;
  /** Bytes. */
  readonly mtu?: number;
  readonly mac?: Mac;
  /** Outer source address. */
  readonly local?: Ip;
  /** The link that carries the outer packets. */
  readonly underlay?: string;
  /** Another VTEP of its family has this node's subnet: this one is of another network. */
  readonly foreign: boolean;
}

/** All that the commands know of a node. */
export interface Overlay {
  readonly file: SubnetFile;
  readonly facts: readonly Fact[];
  readonly vteps: readonly Vtep[];
  /** The devices of other backends. */
  readonly tunnels: readonly Tunnel[];
  /** The kernel told of WireGuard links which keys and peers they have. */
  readonly keysRead: boolean;
  /** The cluster's networks; empty when the subnet file tells none. */
  readonly networks: readonly Cidr[];
  /** This node's subnets, as the first address of each. */
  readonly subnets: readonly Inet[];
  /** The link that the pods are plugged into, if it exists. */
  readonly bridge?: LinkFact;
}

/** The bridge's name in the stock plugin configuration. */
const BRIDGE = "cni0";

/** `flannel.1` carries IPv4 packets, `flannel-v6.1` IPv6 packets. */
const VTEP_NAME = /^flannel(-v6)?\.\d+$/;

/** Bytes that an outer packet adds: IP header (20 or 40), UDP 8, VXLAN 8, inner Ethernet 14. */
export const OVERHEAD = { 4: 50, 6: 70 } as const satisfies Record<Family, number>;

/** Puts together what the files and the kernel said. */
export function overlayOf(file: SubnetFile, facts: readonly Fact[], keysRead = false): Overlay {
  const env = file.kind === "read" ? file.env : undefined;
  const subnets = [env?.subnet, env?.subnet6].filter((subnet) => subnet !== undefined);
  const bridge = bridgeOf(facts, subnets);
  const vteps = vtepsOf(facts);
  const isOurs = ({ name }: Vtep, inet: Inet): boolean =>
    addressesOf(facts, name, familyOf(inet)).includes(vtepAddress(inet));
  return {
    file,
    facts,
    vteps: vteps.map((vtep) => {
      const inet = subnets.find((subnet) => familyOf(subnet) === vtep.family);
      const foreign = inet !== undefined && !isOurs(vtep, inet) &&
        vteps.some((other) => other.family === vtep.family && isOurs(other, inet));
      return { ...vtep, foreign };
    }),
    tunnels: tunnelsOf(facts),
    keysRead,
    networks: env === undefined ? [] : [...env.networks, ...env.networks6],
    subnets,
    ...(bridge === undefined ? {} : { bridge }),
  };
}

/** The address that the VTEP of a subnet has: the subnet's base, alone in its prefix. */
export function vtepAddress(subnet: Inet): Inet {
  return inetOf(addressOf(networkOf(subnet)), FAMILIES[familyOf(subnet)].bits);
}

/** The VTEPs among the links: of kind vxlan and with a name that flannel or we give. */
export function vtepsOf(facts: readonly Fact[]): Vtep[] {
  const up = new Set(facts.flatMap((fact) => fact.kind === "up" && fact.up ? [fact.dev] : []));
  return facts.flatMap((fact) => {
    if (fact.kind !== "link" || fact.driver.kind !== "vxlan") return [];
    const match = VTEP_NAME.exec(fact.name);
    if (match === null) return [];
    const { vni, port, local, underlay } = fact.driver;
    return [{
      name: fact.name,
      family: match[1] === undefined ? 4 as const : 6 as const,
      vni,
      port,
      up: up.has(fact.name),
      foreign: false,
      ...(fact.mtu === undefined ? {} : { mtu: fact.mtu }),
      ...(fact.mac === undefined ? {} : { mac: fact.mac }),
      ...(local === undefined ? {} : { local }),
      ...(underlay === undefined ? {} : { underlay }),
    }];
  });
}

/** The bridge that has this node's pod gateway address, else the one with the usual name. */
function bridgeOf(facts: readonly Fact[], subnets: readonly Inet[]): LinkFact | undefined {
  const bridges = facts.filter((fact): fact is LinkFact =>
    fact.kind === "link" && fact.driver.kind === "bridge"
  );
  const holds = ({ name }: LinkFact): boolean =>
    facts.some((fact) =>
      fact.kind === "address" && fact.dev === name && subnets.includes(fact.inet)
    );
  return bridges.find(holds) ?? bridges.find(({ name }) => name === BRIDGE);
}

/** The addresses of a link, but for link-local ones. */
export function addressesOf(facts: readonly Fact[], dev: string, family: Family): Inet[] {
  return facts.filter((fact): fact is AddressFact =>
    fact.kind === "address" && fact.dev === dev && familyOf(fact.inet) === family &&
    !isLinkLocal(addressOf(fact.inet))
  ).map(({ inet }) => inet);
}

/** The link of that name. */
export function linkOf(facts: readonly Fact[], name: string): LinkFact | undefined {
  return facts.find((fact): fact is LinkFact => fact.kind === "link" && fact.name === name);
}

/** True when the whole prefix lies in one of the networks. */
export function isWithin(networks: readonly Cidr[], dst: Cidr): boolean {
  return networks.some((network) =>
    lengthOf(dst) >= lengthOf(network) && contains(network, addressOf(dst))
  );
}

/** True for `fe80::/10` and `ff00::/8`, which the kernel gives every link. */
export function isLinkLocal(ip: Ip): boolean {
  return /^(?:fe[89ab]|ff)/.test(ip) && familyOf(ip) === 6;
}

/** Sorts by family, address and length; items without a prefix come last, in their order. */
export function byPrefix<T>(items: readonly T[], prefix: (item: T) => Cidr | undefined): T[] {
  const keyed = items.map((item) => {
    const cidr = prefix(item);
    if (cidr === undefined) return { item, key: undefined };
    const family = familyOf(cidr);
    const place = BigInt(family) << BigInt(FAMILIES[6].bits + 8);
    return { item, key: place | ipNumber(addressOf(cidr)) << 8n | BigInt(lengthOf(cidr)) };
  });
  return keyed.sort((a, b) => {
    if (a.key === undefined || b.key === undefined) {
      return Number(a.key === undefined) - Number(b.key === undefined);
    }
    return a.key < b.key ? -1 : Number(a.key > b.key);
  }).map(({ item }) => item);
}

/** Whole IPv4 and IPv6 space: the destination of default routes. */
export const DEFAULTS: ReadonlySet<Cidr> = new Set([FAMILIES[4].any, FAMILIES[6].any]);
