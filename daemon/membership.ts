/**
 * How this node takes part in the overlay: by which interface, under which addresses, with which
 * lease. Decided at the start, and again whenever the interface changes.
 *
 * @module
 */

import type { Backend, Published } from "../engine/backend/backend.ts";
import type { RouteFact } from "../engine/fact.ts";
import type { Family, Ip } from "../engine/ip.ts";
import { type Lease, leaseKey, type LeaseRecord, type LeaseSubnets } from "../engine/lease.ts";
import { localMac, type Mac } from "../engine/mac.ts";
import { enabledFamilies, type NetConf } from "../engine/net_conf.ts";
import type { KeyPair } from "../engine/wireguard_key.ts";
import type { KernelEvent } from "../ffi/events.ts";
import type { Kernel } from "../ffi/kernel.ts";
import { chooseInterface, type Chosen, type InterfaceWish, type NodeView } from "./interface.ts";
import type { Log } from "./log.ts";
import type { KnownSelf, Store } from "./store/store.ts";

/** What the operator said about the interface. */
export interface MembershipOptions {
  /** `--iface`, `--iface-regex`, `--iface-can-reach`. */
  readonly interface: Pick<InterfaceWish, "ifaces" | "patterns"> & { readonly canReach?: Ip };
  /** `--public-ip`, `--public-ipv6`. */
  readonly publicIps: Readonly<Partial<Record<Family, Ip>>>;
}

/** See the module. */
export class Membership {
  readonly #kernel: Kernel;
  readonly #backend: Backend;
  readonly #store: Store;
  readonly #known: KnownSelf;
  readonly #wish: InterfaceWish;
  readonly #keys: KeyPair | undefined;
  readonly #log: Log;
  readonly #published: Published | undefined;

  constructor(parts: {
    readonly kernel: Kernel;
    readonly backend: Backend;
    readonly conf: NetConf;
    readonly store: Store;
    /** What the store knew of this node beforehand. */
    readonly known: KnownSelf;
    /** Of a backend that encrypts. */
    readonly keys?: KeyPair;
    readonly options: MembershipOptions;
    /** What peers are told, when the backend does not say it. */
    readonly published: Published | undefined;
    readonly log: Log;
  }) {
    const { known, options } = parts;
    this.#kernel = parts.kernel;
    this.#backend = parts.backend;
    this.#store = parts.store;
    this.#known = known;
    this.#keys = parts.keys;
    this.#log = parts.log;
    this.#published = parts.published;
    const knownIps = {
      ...(known.publicIp && { 4: known.publicIp }),
      ...(known.publicIp6 && { 6: known.publicIp6 }),
    };
    this.#wish = {
      ...options.interface,
      families: enabledFamilies(parts.conf),
      publicIps: known.beforeFlags
        ? { ...options.publicIps, ...knownIps }
        : { ...knownIps, ...options.publicIps },
    };
  }

  /**
   * The interface as things are now.
   *
   * @throws {OpError} when none fits, or the backend cannot work with it.
   */
  choose(): Chosen {
    const chosen = chooseInterface(viewOf(this.#kernel), this.#wish);
    this.#backend.admit(chosen.underlay, chosen.publicIps);
    return chosen;
  }

  /** True when such an event may mean another interface, or another address of it. */
  follows(kind: KernelEvent["kind"]): boolean {
    const { ifaces, patterns, canReach } = this.#wish;
    const byRoute = canReach !== undefined || ifaces.length + patterns.length === 0;
    return kind === "link" || kind === "address" || kind === "lost" ||
      (kind === "route" && byRoute);
  }

  /** Says what was chosen, and for which reason. */
  tell({ underlay, publicIps, because }: Chosen): void {
    for (const [family, address] of Object.entries(underlay.addresses)) {
      const published = publicIps[family === "4" ? 4 : 6];
      this.#log.info(`Using interface with name ${underlay.name} and address ${address}`, {
        because,
        mtu: underlay.mtu,
        public: published === address ? undefined : published,
      });
    }
  }

  /**
   * Gets the lease, or publishes a changed address with the one that we have.
   *
   * @param previous the subnets to ask for again.
   */
  async join(chosen: Chosen, previous: LeaseSubnets, signal: AbortSignal): Promise<Lease> {
    const record = this.#record(chosen);
    const lease = await this.#store.acquire({ record, previous }, signal);
    this.#log.info("Lease acquired", { lease: leaseKey(lease) });
    return lease;
  }

  #record({ publicIps }: Chosen): LeaseRecord {
    const published = this.#published ?? this.#backend.publish({
      macs: this.#vtepMacs(),
      ...(this.#keys && { keys: this.#keys }),
    });
    return {
      ...(publicIps[4] && { publicIp: publicIps[4] as NonNullable<LeaseRecord["publicIp"]> }),
      ...(publicIps[6] && { publicIp6: publicIps[6] as NonNullable<LeaseRecord["publicIp6"]> }),
      backendType: this.#backend.leaseType,
      ...(published[4] !== undefined && { backendData: published[4] }),
      ...(published[6] !== undefined && { backendV6Data: published[6] }),
    };
  }

  /** The MAC addresses of our VTEPs: of devices that exist, of the last lease, or new ones. */
  #vtepMacs(): Partial<Record<Family, Mac>> {
    const { lease } = this.#known;
    const known: Readonly<Record<string, Mac>> = lease ? this.#backend.macsOf(lease) : {};
    return Object.fromEntries(
      Object.entries(this.#backend.devices()).map(([family, device]) => [
        family,
        this.#kernel.link("host", device)?.mac ?? known[family] ??
          localMac(crypto.getRandomValues(new Uint8Array(6))),
      ]),
    );
  }
}

function viewOf(kernel: Kernel): NodeView {
  const routes = kernel.read({ routes: true })
    .filter((fact): fact is RouteFact => fact.kind === "route");
  return { links: kernel.links("host"), addresses: kernel.addresses("host"), routes };
}

/** True when two choices differ in what the data plane or peers see. */
export function isOther(a: Chosen, b: Chosen): boolean {
  const seen = ({ underlay, publicIps }: Chosen): string =>
    JSON.stringify([
      underlay.name,
      underlay.mtu,
      Object.entries(underlay.addresses),
      underlay.onLink,
      Object.entries(publicIps),
    ]);
  return seen(a) !== seen(b);
}
