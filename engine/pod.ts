/**
 * What one pod on a bridge is, as facts: the bridge, the veth pair that joins the pod to it, the
 * pod's addresses and routes, and the settings that make them work. Pure.
 *
 * @module
 */

import type { AddressFact, Fact, LinkFact, RouteFact, SysctlFact, Where } from "./fact.ts";
import {
  addressOf,
  type Cidr,
  type Family,
  familyOf,
  type Inet,
  type Ip,
  ipPlus,
  lastOf,
  lengthOf,
  networkOf,
  overlaps,
} from "./ip.ts";
import type { Mac } from "./mac.ts";

/** A route that a pod gets; fields as in the CNI result. */
export interface PodRoute {
  readonly dst: Inet;
  readonly gw?: Ip;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  readonly scope?: number;
}

/** One pod attachment. */
export interface Pod {
  /** The bridge, and the port settings of the pod's host end. */
  readonly bridge: {
    readonly name: string;
    /** Bytes, for a bridge that is made now; an existing one keeps its own. */
    readonly mtu?: number;
    /** MAC address of a bridge that is made now: with one of its own it never takes a port's. */
    readonly mac?: Mac;
    readonly promisc: boolean;
    readonly hairpin: boolean;
    readonly isolated: boolean;
    /** Addresses that the bridge carries as the pods' gateway. */
    readonly gateways: readonly Inet[];
    /** The device that carries them in its place. */
    readonly gatewayDev?: string;
  };
  /** The host end of the veth pair. */
  readonly hostEnd: string;
  /** The pod's interface. */
  readonly name: string;
  /** Bytes, both ends. */
  readonly mtu?: number;
  readonly mac?: Mac;
  /** Whether the pod's interface is set up. */
  readonly up: boolean;
  readonly addresses: readonly { readonly inet: Inet; readonly gateway?: Ip }[];
  readonly routes: readonly PodRoute[];
  /** Keep IPv6 duplicate address detection on. */
  readonly detectDuplicates: boolean;
}

/** What differs between the families. */
const ROWS = {
  4: { forwarding: "net/ipv4/ip_forward", longestWithBroadcast: 30 },
  6: { forwarding: "net/ipv6/conf/all/forwarding", longestWithBroadcast: -1 },
} as const satisfies Record<Family, unknown>;

/** The sysctls that turn a node into a router for these gateways. */
export function forwardingKeys(gateways: readonly Inet[]): string[] {
  return [...new Set(gateways.map((inet) => ROWS[familyOf(inet)].forwarding))];
}

/** The facts of a pod, for the node and for its namespace. */
export function podFacts(pod: Pod): Fact[] {
  return [...bridgeFacts(pod), ...hostEndFacts(pod), ...insideFacts(pod)];
}

function bridgeFacts({ bridge }: Pod): Fact[] {
  const { name, mtu, mac } = bridge;
  const link: LinkFact = {
    kind: "link",
    where: "host",
    name,
    driver: { kind: "bridge" },
    ...(mtu === undefined ? {} : { mtu }),
    ...(mac === undefined ? {} : { mac }),
    ...(bridge.promisc ? { promisc: true } : {}),
  };
  return [
    link,
    setting("host", `net/ipv6/conf/${name}/accept_ra`, "0"),
    { kind: "up", where: "host", dev: name, up: true },
    ...bridge.gateways.map((inet) => address("host", bridge.gatewayDev ?? name, inet)),
    ...forwardingKeys(bridge.gateways).map((key): Fact => ({
      kind: "sysctl",
      where: "host",
      key,
      value: "1",
    })),
  ];
}

function hostEndFacts({ bridge, hostEnd }: Pod): Fact[] {
  return [
    {
      kind: "port",
      where: "host",
      dev: hostEnd,
      bridge: bridge.name,
      hairpin: bridge.hairpin,
      isolated: bridge.isolated,
    },
    setting("host", `net/ipv6/conf/${hostEnd}/accept_ra`, "0"),
    { kind: "up", where: "host", dev: hostEnd, up: true },
  ];
}

function insideFacts(pod: Pod): Fact[] {
  const { name, addresses } = pod;
  const inet6 = addresses.some(({ inet }) => familyOf(inet) === 6);
  const conf = (key: string, value: string): SysctlFact => setting("pod", `net/${key}`, value);
  return [
    {
      kind: "link",
      where: "pod",
      name,
      driver: { kind: "veth", peer: pod.hostEnd, peerWhere: "host" },
      ...(pod.mtu === undefined ? {} : { mtu: pod.mtu }),
      ...(pod.mac === undefined ? {} : { mac: pod.mac }),
    },
    ...(pod.detectDuplicates ? [conf(`ipv6/conf/${name}/enhanced_dad`, "1")] : []),
    conf(`ipv6/conf/${name}/accept_dad`, pod.detectDuplicates ? "1" : "0"),
    // Announces the addresses when the link goes up, so that neighbours forget an older pod.
    conf(`ipv4/conf/${name}/arp_notify`, "1"),
    ...(inet6
      ? [
        conf("ipv6/conf/lo/disable_ipv6", "0"),
        conf(`ipv6/conf/${name}/disable_ipv6`, "0"),
        conf(`ipv6/conf/${name}/keep_addr_on_down`, "1"),
      ]
      : []),
    ...addresses.map(({ inet }) => address("pod", name, inet)),
    ...(pod.up ? [{ kind: "up", where: "pod", dev: name, up: true } as const] : []),
    ...pod.routes.map((route) => podRoute(pod, route)),
  ];
}

function setting(where: Where, key: string, value: string): SysctlFact {
  return { kind: "sysctl", where, key, value, optional: true };
}

function address(where: Where, dev: string, inet: Inet): AddressFact {
  const withBroadcast = where === "pod" &&
    lengthOf(inet) <= ROWS[familyOf(inet)].longestWithBroadcast;
  const broadcast = withBroadcast ? { broadcast: lastOf(networkOf(inet)) } : {};
  return { kind: "address", where, dev, inet, ...broadcast };
}

/** A route without a gateway of its own takes the first gateway of its family, if there is one. */
function podRoute({ name, addresses }: Pod, route: PodRoute): RouteFact {
  const family = familyOf(route.dst);
  const via = route.gw ?? addresses.map((a) => a.gateway)
    .find((gateway) => gateway !== undefined && familyOf(gateway) === family);
  return {
    kind: "route",
    where: "pod",
    dst: networkOf(route.dst),
    dev: name,
    ...(via === undefined ? {} : { via }),
    ...(route.mtu === undefined ? {} : { mtu: route.mtu }),
    ...(route.advmss === undefined ? {} : { advmss: route.advmss }),
    ...(route.priority === undefined ? {} : { metric: route.priority }),
    ...(route.table === undefined ? {} : { table: route.table }),
    ...(route.scope === undefined ? {} : { scope: route.scope }),
  };
}

/** The first address of a network, which is its gateway unless the configuration says otherwise. */
export function gatewayOf(inet: Inet): Ip {
  return ipPlus(addressOf(networkOf(inet)), 1n);
}

/**
 * The addresses on a bridge that stand in the way of a gateway: for IPv4 any other address, for
 * IPv6 those of overlapping networks. The very same address is no conflict.
 */
export function gatewayConflicts(have: readonly Inet[], gateway: Inet): Inet[] {
  const family = familyOf(gateway);
  if (have.includes(gateway)) return [];
  return have.filter((inet) =>
    familyOf(inet) === family && (family === 4 || overlaps(networkOf(inet), networkOf(gateway)))
  );
}

/** The default destination of a family. */
export function isDefault(dst: Cidr | Inet): boolean {
  return lengthOf(dst) === 0;
}
