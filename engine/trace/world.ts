/**
 * What a trace is made from, and what it says. The world answers questions about one node; it holds
 * what was read, except for the routing decision, which the kernel makes itself.
 *
 * @module
 */

import type { WireguardPeerFact } from "../fact.ts";
import type { Cidr, Ip } from "../ip.ts";
import type { Mac } from "../mac.ts";
import type { Tunnel } from "../tunnel.ts";
import type { PlacedRule, TracePacket } from "./evaluate.ts";
import type { RouteAnswer, RouteQuestion } from "./lookup.ts";
import type { Encapsulated } from "./marked.ts";
import type { TraceTable } from "./rules.ts";

/** A link of the node. */
export interface TraceLink {
  readonly name: string;
  readonly up: boolean;
  /** Bytes. */
  readonly mtu: number;
  readonly mac?: Mac;
  readonly kind: "bridge" | "veth" | "vxlan" | "ipip" | "other";
  /** The bridge that it is a port of. */
  readonly bridge?: string;
  readonly hairpin?: boolean;
  readonly isolated?: boolean;
  readonly vxlan?: {
    readonly vni: number;
    readonly port: number;
    readonly local?: Ip;
    readonly underlay?: string;
  };
  /** The overlay device of another backend. */
  readonly tunnel?: Tunnel;
}

/** A pod of this node. */
export interface TracePod {
  readonly name: string;
  readonly ips: readonly Ip[];
  /** Path of its network namespace; absent when it could not be entered. */
  readonly netns?: string;
  /** Its interface. */
  readonly ifname: string;
  readonly mtu?: number;
  readonly mac?: Mac;
  /** The other end, on the node. */
  readonly veth?: string;
}

/** Another node, as its lease tells it. */
export interface TracePeer {
  readonly node?: string;
  readonly subnet: Cidr;
  readonly publicIp?: Ip;
  /** MAC address of its VTEP. */
  readonly mac?: Mac;
}

/** See the module. */
export interface TraceWorld {
  /** What this node is called. */
  readonly node: string;
  readonly links: ReadonlyMap<string, TraceLink>;
  /** Addresses of this node. */
  readonly addresses: ReadonlyMap<Ip, string>;
  /** Asks a kernel: this node's, or that of a pod's namespace. @throws {OpError} */
  readonly lookUp: (netns: string | undefined, question: RouteQuestion) => RouteAnswer;
  readonly neighbour: (dev: string, ip: Ip) => Mac | undefined;
  readonly fdb: (dev: string, mac: Mac) => readonly Ip[];
  /** The peers of WireGuard links; a text says why they could not be read. */
  readonly wireguard: readonly WireguardPeerFact[] | string;
  /** The port to which backend udp sends, where it is known. */
  readonly udpPort?: number;
  /** Below `/proc/sys/`. */
  readonly sysctl: (key: string) => string | undefined;
  /** Everybody's rules; a text says why they could not be read. */
  readonly tables: readonly TraceTable[] | string;
  readonly pods: readonly TracePod[];
  /** Empty where no leases are known. */
  readonly peers: readonly TracePeer[];
}

/** What is wrong at a hop, and what to do. */
export interface HopFault {
  readonly id: string;
  readonly short: string;
  /** What does not work; absent: no packet passes. */
  readonly breaks?: string;
  readonly fix: string;
  readonly command?: string;
}

/** One step of a packet's way. */
export interface Hop {
  /** A fixed word: `pod-route`, `veth`, `dnat`, `route`, `forward`, `neighbour`, `fdb`, …. */
  readonly step: string;
  /** The link, table or hook where it happens. */
  readonly at: string;
  /** What happens, in words. */
  readonly what: string;
  /** The entry that decides: a route, a rule, a neighbour. */
  readonly entry?: string;
  /** Rules that may act here: they are not understood. */
  readonly maybe: readonly PlacedRule[];
  /** Present when the packet ends here. */
  readonly fault?: HopFault;
}

/** How it ends. */
export type Ending =
  /** It reaches the pod or the node it is for. */
  | "delivered"
  /** It leaves this node on the way that it should take. */
  | "leaves"
  /** It ends at the last hop. */
  | "fails";

/** A packet's way through one node. */
export interface Trace {
  readonly hops: readonly Hop[];
  readonly ending: Ending;
  /** The packet as it ended. */
  readonly packet: TracePacket;
  /** Where a service has several endpoints: how many ways there are. */
  readonly ways: number;
  /** What is around it when it leaves. */
  readonly outer?: Encapsulated;
  /** The node that it leaves for. */
  readonly next?: TracePeer;
}
