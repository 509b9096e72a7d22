/**
 * The vxlan backend, wire-compatible with flannel's. For each family the node has one VTEP,
 * `flannel.<VNI>` (IPv6: `flannel-v6.<VNI>`), and for each peer three entries:
 *
 * - a route to its subnet by the subnet's base address, on-link on the VTEP;
 * - a permanent neighbour: that base address has the MAC address of the peer's VTEP;
 * - a permanent FDB entry: that MAC address is found at the peer's public address.
 *
 * So no packet ever waits for ARP or for learning: the kernel knows all peers beforehand. (Before
 * 2017 flannel let the kernel ask its daemon for each missing entry; with one entry of each kind
 * per peer there are few enough to hold them all.)
 *
 * @module
 */

import { type Fact, type LinkFact, TWILL_PROTOCOL } from "../fact.ts";
import { addressOf, contains, type Family, inetOf } from "../ip.ts";
import { Fields, JsonObject, jsonObject } from "../json.ts";
import type { Lease } from "../lease.ts";
import { type Mac, parseMac } from "../mac.ts";
import { enabledFamilies, type NetConf } from "../net_conf.ts";
import type { Ours } from "../plan.ts";
import type {
  Backend,
  BackendFacts,
  BadPeer,
  Identity,
  PeerFacts,
  Self,
  Underlay,
} from "./backend.ts";
import { inRange } from "./options.ts";
import { directRoute, insideOf, isOverlayRoute, LEASE_ROWS } from "./routes.ts";

/** The `Backend` section of a vxlan network. */
export interface VxlanOptions {
  /** VXLAN network identifier, 1 to 2^24-1. */
  readonly vni: number;
  /** Outer UDP port. */
  readonly port: number;
  /** MTU of the underlay, bytes, when the operator sets it; the outer headers are subtracted. */
  readonly mtu?: number;
  /** Carry the group policy of the outer header. */
  readonly gbp: boolean;
  /** Learn forwarding entries from received frames. */
  readonly learning: boolean;
  /** Peers on the underlay's own link are routed without encapsulation. */
  readonly directRouting: boolean;
}

/** The kernel's default port; the registered one, 4789, came later. */
const PORT = 8472;

/** A published MTU is a 16-bit number. */
const LARGEST_MTU = 65_535;

/** What differs between the families. */
const ROWS = {
  4: {
    ...LEASE_ROWS[4],
    device: (vni: number) => `flannel.${vni}`,
    /** Outer IPv4 20, UDP 8, VXLAN 8, inner Ethernet 14 bytes. */
    overhead: 50,
    host: 32,
  },
  6: {
    ...LEASE_ROWS[6],
    device: (vni: number) => `flannel-v6.${vni}`,
    /** Outer IPv6 40, UDP 8, VXLAN 8, inner Ethernet 14 bytes. */
    overhead: 70,
    host: 128,
  },
} as const;

/**
 * Reads the `Backend` section.
 *
 * @throws {SyntaxError} naming the member that has a bad value.
 */
export function vxlanOptions(conf: NetConf): VxlanOptions {
  const fields = new Fields(conf.backend.raw, "Backend");
  const mtu = inRange(fields, "MTU", 1280, LARGEST_MTU);
  return {
    vni: inRange(fields, "VNI", 1, 0xffffff) ?? 1,
    port: inRange(fields, "Port", 0, 65_535) || PORT,
    ...(mtu === undefined ? {} : { mtu }),
    gbp: fields.boolean("GBP") ?? false,
    learning: fields.boolean("Learning") ?? false,
    directRouting: fields.boolean("DirectRouting") ?? false,
  };
}

/** The vxlan backend for a network. @throws see {@link vxlanOptions} */
export function vxlan(conf: NetConf): Backend {
  return new VxlanBackend(vxlanOptions(conf), enabledFamilies(conf), conf);
}

class VxlanBackend implements Backend {
  readonly type = "vxlan";
  readonly leaseType = "vxlan";
  readonly #options: VxlanOptions;
  readonly #families: readonly Family[];
  readonly #conf: NetConf;

  constructor(options: VxlanOptions, families: readonly Family[], conf: NetConf) {
    this.#options = options;
    this.#families = families;
    this.#conf = conf;
  }

  devices(): Partial<Record<Family, string>> {
    return Object.fromEntries(this.#families.map((f) => [f, ROWS[f].device(this.#options.vni)]));
  }

  podMtu(underlay: Underlay): number {
    return Math.min(...this.#families.map((family) => this.#deviceMtu(family, underlay)));
  }

  /** A public address behind NAT is fine: the tunnel starts at the interface's own address. */
  admit(): void {}

  #deviceMtu(family: Family, underlay: Underlay): number {
    return Math.min((this.#options.mtu ?? underlay.mtu) - ROWS[family].overhead, LARGEST_MTU);
  }

  macsOf(lease: Lease): Partial<Record<Family, Mac>> {
    return Object.fromEntries(
      this.#families.flatMap((family) => {
        const vtep = vtepOf(ROWS[family].data(lease));
        return typeof vtep === "string" ? [] : [[family, vtep.mac]];
      }),
    );
  }

  publish({ macs }: Identity): ReturnType<Backend["publish"]> {
    return Object.fromEntries(
      this.#families.flatMap((family) => {
        const mac = macs[family];
        return mac === undefined
          ? []
          : [[family, jsonObject({ VNI: this.#options.vni, VtepMAC: mac })]];
      }),
    );
  }

  facts(self: Self, peers: readonly Lease[]): BackendFacts {
    const own = this.#families.flatMap((family) => this.#ownFacts(family, self));
    const good: PeerFacts[] = [];
    const bad: BadPeer[] = [];
    for (const lease of peers) {
      const facts: Fact[] = [];
      // Each family stands alone: a bad IPv6 part costs a peer nothing of its IPv4 part.
      for (const family of this.#families) {
        const found = this.#peerFacts(family, self, lease);
        if (typeof found === "string") bad.push({ lease, reason: found });
        else facts.push(...found);
      }
      if (facts.length > 0) good.push({ lease, facts });
    }
    return { own, peers: good, bad };
  }

  #ownFacts(family: Family, { underlay, lease }: Self): Fact[] {
    const row = ROWS[family];
    const dev = row.device(this.#options.vni);
    const subnet = row.subnet(lease);
    if (subnet === undefined) return [];
    const vtep = vtepOf(row.data(lease));
    const local = underlay.addresses[family];
    const link: LinkFact = {
      kind: "link",
      where: "host",
      name: dev,
      driver: {
        kind: "vxlan",
        vni: this.#options.vni,
        port: this.#options.port,
        underlay: underlay.name,
        ...(local === undefined ? {} : { local }),
        learning: this.#options.learning,
        gbp: this.#options.gbp,
      },
      mtu: this.#deviceMtu(family, underlay),
      ...(typeof vtep === "string" ? {} : { mac: vtep.mac }),
    };
    return [
      link,
      {
        kind: "sysctl",
        where: "host",
        key: `net/ipv6/conf/${dev}/accept_ra`,
        value: "0",
        optional: true,
      },
      { kind: "address", where: "host", dev, inet: inetOf(addressOf(subnet), row.host) },
      { kind: "up", where: "host", dev, up: true },
    ];
  }

  /** The facts of one peer in one family, or why its record cannot be used. */
  #peerFacts(family: Family, self: Self, lease: Lease): readonly Fact[] | string {
    const row = ROWS[family];
    const subnet = row.subnet(lease);
    if (subnet === undefined) return [];
    if (lease.backendType !== this.type) {
      return `its backend is ${JSON.stringify(lease.backendType)}, ours is vxlan`;
    }
    const remote = row.publicIp(lease);
    if (remote === undefined) return `it has no public IPv${family} address`;
    if (remote === self.underlay.addresses[family] || remote === row.publicIp(self.lease)) {
      return `its public address ${remote} is also this node's`;
    }
    const { name: underlay, onLink } = self.underlay;
    if (this.#options.directRouting && onLink.some((net) => contains(net, remote))) {
      return [directRoute(subnet, remote, underlay)];
    }
    const vtep = vtepOf(row.data(lease));
    if (typeof vtep === "string") return vtep;
    const { mac } = vtep;
    const dev = row.device(this.#options.vni);
    const gateway = addressOf(subnet);
    return [
      { kind: "neighbour", where: "host", dev, ip: gateway, mac },
      { kind: "fdb", where: "host", dev, mac, remote },
      {
        kind: "route",
        where: "host",
        dst: subnet,
        via: gateway,
        dev,
        onlink: true,
        protocol: TWILL_PROTOCOL,
        metric: 0,
        multipath: false,
      },
    ];
  }

  scope(): ReturnType<Backend["scope"]> {
    const devices = Object.values(this.devices());
    return {
      links: devices,
      addresses: devices,
      routes: true,
      neighbours: devices,
      fdb: devices,
      sysctls: devices.map((dev) => `net/ipv6/conf/${dev}/accept_ra`),
    };
  }

  /**
   * Ours are: our devices with all that hangs on them, except addresses outside the network; and
   * the overlay's routes.
   */
  ours(): Ours {
    const devices = new Set(Object.values(this.devices()));
    const inside = insideOf(this.#conf);
    return (fact) => {
      switch (fact.kind) {
        case "link":
          return devices.has(fact.name);
        case "up":
        case "neighbour":
          return devices.has(fact.dev);
        case "fdb":
          return devices.has(fact.dev) && fact.mac !== ALL_UNKNOWN;
        case "address":
          return devices.has(fact.dev) && inside(addressOf(fact.inet));
        case "route":
          return isOverlayRoute(fact, devices, inside);
        case "port":
        case "vlan":
        case "wireguard":
        case "wireguard-peer":
        case "sysctl":
        case "rules":
        case "chain":
          return false;
      }
    };
  }
}

/** The FDB entry for frames to unknown MAC addresses: never made by flannel or us. */
const ALL_UNKNOWN = "00:00:00:00:00:00" as Mac;

/** What a vxlan lease publishes, or why it cannot be read. */
function vtepOf(
  data: Lease["backendData"],
): { readonly mac: Mac } | string {
  if (!(data instanceof JsonObject)) return "its lease carries no VTEP data";
  try {
    const mac = parseMac(new Fields(data, "BackendData").string("VtepMAC") ?? "");
    const isUnicast = (parseInt(mac.slice(0, 2), 16) & 1) === 0 && mac !== ALL_UNKNOWN;
    return isUnicast ? { mac } : `its VtepMAC ${mac} is no unicast address`;
  } catch (e) {
    if (e instanceof SyntaxError) return `its lease is damaged: ${e.message}`;
    throw e;
  }
}
