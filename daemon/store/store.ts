/**
 * A store is where the nodes of a cluster learn of each other: etcd, a file, the Kubernetes API.
 * The daemon sees only this interface. It gets whole snapshots, never events: a snapshot says how
 * the world is now, so that nothing depends on having heard every word before it.
 *
 * How the daemon uses a store: {@link Store.self} before it chooses an interface,
 * {@link Store.config} and {@link Store.acquire} at start, {@link Store.snapshots} from then on.
 *
 * @module
 */

import type { Ip4, Ip6 } from "../../engine/ip.ts";
import type { Lease, LeaseRecord, LeaseSubnets } from "../../engine/lease.ts";
import type { NetConf } from "../../engine/net_conf.ts";

/** What a store knows about this node before the node has said anything. */
export interface KnownSelf {
  /** The address that peers use; counts like `--public-ip`. */
  readonly publicIp?: Ip4;
  /** Counts like `--public-ipv6`. */
  readonly publicIp6?: Ip6;
  /** The two addresses count before `--public-ip` and `--public-ipv6`, as in flannel. */
  readonly beforeFlags?: boolean;
  /** The lease as it stands; its backend data has the MAC address that peers know. */
  readonly lease?: Lease;
}

/** What a node asks for. */
export interface LeaseRequest {
  /** What peers shall know. A store may decide otherwise: the lease that it returns counts. */
  readonly record: LeaseRecord;
  /** The subnets that the node had in its last run; taken again where that is possible. */
  readonly previous: LeaseSubnets;
}

/** A record in the store that is not a lease. Nothing else changes because of it. */
export interface BadRecord {
  /** Where the record is: an etcd key, a file, the name of a node. */
  readonly key: string;
  /** What is wrong with it. */
  readonly reason: string;
}

/** All leases at one moment. */
export interface Snapshot {
  /**
   * The leases of all nodes, the own one included. A lease that did not change since the snapshot
   * before is the same object, so that `===` finds what did.
   */
  readonly leases: readonly Lease[];
  /** This node's lease as peers see it; absent before it is acquired and while it is lost. */
  readonly own?: Lease;
  /** Records that are no leases. */
  readonly bad: readonly BadRecord[];
}

/** How a store is doing, for `/readyz`, metrics and `inspect`. */
export interface StoreStatus {
  /** The store answered the last request, and a watch is open if there should be one. */
  readonly connected: boolean;
  /** What keeps the store from doing its work, for people; absent when all is well. */
  readonly problem?: string;
  /** When the own lease ends, as `Date.now()` counts; absent when it has no end or there is none. */
  readonly leaseEnds?: number;
  /** Number of bad records in the last snapshot. */
  readonly bad: number;
  /** How often the view of the leases was read anew after a gap. */
  readonly gaps: number;
  /**
   * The store has not answered since the start, and what it says is the last good snapshot: when
   * that was, as `Date.now()` counts.
   */
  readonly remembered?: number;
}

/**
 * Where leases are kept. Every method waits as long as it takes: a store that cannot be reached is
 * logged, shown in {@link Store.status}, and tried again. Only the signal ends a wait early, with
 * its reason.
 */
export interface Store extends AsyncDisposable {
  /** For the log: `etcd`, `file /etc/twill/leases.yaml`. */
  readonly name: string;

  /** What is known about this node; empty where the store knows nothing. */
  self(signal: AbortSignal): Promise<KnownSelf>;

  /** The network configuration, as soon as there is a valid one. */
  config(signal: AbortSignal): Promise<NetConf>;

  /**
   * Gets this node's lease and keeps it until {@link Store.close}. May be called again with another
   * record, for instance when the node's address has changed: the subnet is kept if that can be.
   *
   * @returns the lease as peers see it.
   */
  acquire(request: LeaseRequest, signal: AbortSignal): Promise<Lease>;

  /**
   * Snapshots of all leases, the first one at once. A consumer that is slow gets the newest one,
   * not all. Ends when the signal is aborted, and never throws.
   */
  snapshots(signal: AbortSignal): AsyncIterable<Snapshot>;

  /** The node is ready for pods: tells it where others look for that, if there is such a place. */
  ready?(): void;

  /** How the store is doing; costs nothing. */
  status(): StoreStatus;

  /** Stops keeping the lease and closes connections. The lease stays until it runs out. */
  close(): Promise<void>;
}
