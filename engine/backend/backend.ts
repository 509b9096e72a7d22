/**
 * What a backend is: the way packets reach another node's pods. A backend is pure: lease records
 * in, facts out. Which one runs is chosen by `Backend.Type` of the network configuration.
 *
 * @module
 */

import type { Fact, Scope } from "../fact.ts";
import type { Cidr, Family, Ip } from "../ip.ts";
import type { Json } from "../json.ts";
import type { Lease } from "../lease.ts";
import type { Mac } from "../mac.ts";
import type { Ours } from "../plan.ts";
import type { KeyPair } from "../wireguard_key.ts";

/** The link that carries the packets between nodes, as interface selection found it. */
export interface Underlay {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** The node's own address in each family in use. */
  readonly addresses: Readonly<Partial<Record<Family, Ip>>>;
  /** Networks whose hosts this link reaches without a router; empty for point-to-point links. */
  readonly onLink: readonly Cidr[];
}

/** This node: where it stands in the underlay, and the lease that it holds. */
export interface Self {
  readonly underlay: Underlay;
  readonly lease: Lease;
  /** Of a backend that encrypts; absent where nothing is made, only compared. */
  readonly keys?: KeyPair;
}

/** What a node makes up, and tells its peers. */
export interface Identity {
  /** The MAC addresses of our VTEPs. */
  readonly macs: Readonly<Partial<Record<Family, Mac>>>;
  /** Of a backend that encrypts. */
  readonly keys?: KeyPair;
}

/** One peer and the facts by which packets reach its pods. */
export interface PeerFacts {
  readonly lease: Lease;
  readonly facts: readonly Fact[];
}

/** A peer whose record cannot be used, and why; nothing else changes because of it. */
export interface BadPeer {
  readonly lease: Lease;
  readonly reason: string;
}

/** What the node is to hold. */
export interface BackendFacts {
  /** The device and its settings; needed whoever the peers are. */
  readonly own: readonly Fact[];
  readonly peers: readonly PeerFacts[];
  readonly bad: readonly BadPeer[];
}

/** What a backend publishes about this node, by family; absent where it publishes nothing. */
export type Published = Readonly<Partial<Record<Family, Json>>>;

/** One way to reach other nodes' pods. */
export interface Backend {
  /** `vxlan`, …, as the configuration names it. */
  readonly type: string;
  /** The same, as leases name it: empty for backends that publish none. */
  readonly leaseType: string;
  /** The MTU of pods, bytes, at most 65535. */
  podMtu(underlay: Underlay): number;
  /** The node needs a pair of keys. */
  readonly encrypts?: true;
  /** The names of the devices by family; empty for backends without any. */
  devices(): Readonly<Partial<Record<Family, string>>>;
  /**
   * Says whether this node can take part.
   *
   * @throws {OpError} when it cannot, with what to change.
   */
  admit(underlay: Underlay, publicIps: Readonly<Partial<Record<Family, Ip>>>): void;
  /** The MAC addresses of the VTEPs that a lease names. */
  macsOf(lease: Lease): Readonly<Partial<Record<Family, Mac>>>;
  /** The data that peers need, given what we made up. */
  publish(identity: Identity): Published;
  /** What this node is to hold so that it reaches these peers (its own lease left out). */
  facts(self: Self, peers: readonly Lease[]): BackendFacts;
  /** What to read of the kernel before planning. */
  scope(): Scope;
  /** Which of the facts found are ours. */
  ours(): Ours;
}
