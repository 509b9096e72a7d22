/**
 * The wireguard backend, wire-compatible with flannel's. A node has a pair of keys and one link
 * `flannel-wg`, in the mode `separate` (the default) a second one, `flannel-wg-v6`, for IPv6. A
 * peer is an entry of the link (its public key, where it is reached, which networks it may send
 * from) and a route to each of its subnets.
 *
 * Two things are not flannel's:
 *
 * - a route for each peer, where flannel has one for the whole network: so packets to addresses
 *   that nobody has are refused at once, and a peer that comes from another backend has its route
 *   moved in one step;
 * - in the modes with one link the port that is published for IPv6 is the link's own. flannel
 *   publishes the second one's, at which nobody listens; from flannel's peers we know better.
 *
 * @module
 */

import { type Fact, TWILL_PROTOCOL, type WireguardPeerFact } from "../fact.ts";
import { addressOf, type Cidr, contains, type Family, inetOf, type Ip } from "../ip.ts";
import { Fields, JsonObject, jsonObject } from "../json.ts";
import type { Lease } from "../lease.ts";
import { enabledFamilies, HIDDEN_PSK, type NetConf } from "../net_conf.ts";
import type { Ours } from "../plan.ts";
import type { Secret } from "../secret.ts";
import { NO_PSK, parsePublicKey, parseSecretKey, type PublicKey } from "../wireguard_key.ts";
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
import { insideOf, isOverlayRoute, LEASE_ROWS } from "./routes.ts";

/** How many links, and by which family of outer packets peers are reached. */
export type WireguardMode = (typeof MODES)[number];

const MODES = ["separate", "auto", "ipv4", "ipv6"] as const;

/** The `Backend` section of a wireguard network. */
export interface WireguardOptions {
  readonly mode: WireguardMode;
  /** UDP port of the link, and of the second one in the mode `separate`. */
  readonly ports: Readonly<Record<Family, number>>;
  /** MTU of the underlay, bytes, when the operator sets it. */
  readonly mtu?: number;
  /** Absent: there is one, and it is not for us to know ({@link HIDDEN_PSK}). */
  readonly psk?: Secret;
  /** Seconds; 0: none. */
  readonly keepalive: number;
}

/** Outer IPv6 40, UDP 8, WireGuard 32 bytes; flannel subtracts it for both families. */
const OVERHEAD = 80;

/** A published MTU is a 16-bit number. */
const LARGEST_MTU = 65_535;

/** What differs between the families. */
const ROWS = {
  4: { ...LEASE_ROWS[4], device: "flannel-wg", host: 32 },
  6: { ...LEASE_ROWS[6], device: "flannel-wg-v6", host: 128 },
} as const;

/**
 * Reads the `Backend` section.
 *
 * @throws {SyntaxError} naming the member that has a bad value; a bad PSK is not quoted.
 */
export function wireguardOptions(conf: NetConf): WireguardOptions {
  const fields = new Fields(conf.backend.raw, "Backend");
  const mode = MODES.find((one) => one === (fields.string("Mode") || "separate"));
  if (mode === undefined) {
    throw new SyntaxError(
      `Backend.Mode: no valid Mode configured: want ${MODES.join(", ")}, got ` +
        JSON.stringify(fields.string("Mode")),
    );
  }
  const mtu = inRange(fields, "MTU", 1280 + OVERHEAD, LARGEST_MTU);
  const psk = readPsk(fields.string("PSK"));
  const port = (name: string, usual: number): number => inRange(fields, name, 0, 65_535) || usual;
  return {
    mode,
    ports: { 4: port("ListenPort", 51_820), 6: port("ListenPortV6", 51_821) },
    ...(mtu === undefined ? {} : { mtu }),
    ...(psk === undefined ? {} : { psk }),
    keepalive: inRange(fields, "PersistentKeepaliveInterval", 0, 65_535) ?? 0,
  };
}

function readPsk(text: string | undefined): Secret | undefined {
  if (text === HIDDEN_PSK) return undefined;
  if (text === undefined || text === "") return NO_PSK;
  try {
    return parseSecretKey(text);
  } catch (cause) {
    throw new SyntaxError(`Backend.PSK: ${(cause as Error).message}`, { cause });
  }
}

/** The wireguard backend for a network. @throws see {@link wireguardOptions} */
export function wireguard(conf: NetConf): Backend {
  return new WireguardBackend(wireguardOptions(conf), enabledFamilies(conf), conf);
}

class WireguardBackend implements Backend {
  readonly type = "wireguard";
  readonly leaseType = "wireguard";
  readonly encrypts = true;
  readonly #options: WireguardOptions;
  readonly #families: readonly Family[];
  readonly #conf: NetConf;

  constructor(options: WireguardOptions, families: readonly Family[], conf: NetConf) {
    this.#options = options;
    this.#families = families;
    this.#conf = conf;
  }

  /** The family whose row names the link that carries a family's packets, and its port. */
  #home(family: Family): Family {
    return this.#options.mode === "separate" ? family : 4;
  }

  devices(): Partial<Record<Family, string>> {
    return Object.fromEntries(this.#families.map((f) => [f, ROWS[this.#home(f)].device]));
  }

  podMtu(underlay: Underlay): number {
    return Math.min((this.#options.mtu ?? underlay.mtu) - OVERHEAD, LARGEST_MTU);
  }

  /** A public address behind NAT is fine: an endpoint is where packets come from. */
  admit(): void {}

  macsOf(): Record<never, never> {
    return {};
  }

  publish({ keys }: Identity): ReturnType<Backend["publish"]> {
    if (keys === undefined) throw new TypeError("the wireguard backend needs a pair of keys");
    return Object.fromEntries(
      this.#families.map((family) => [
        family,
        jsonObject({ PublicKey: keys.publicKey, Port: this.#options.ports[this.#home(family)] }),
      ]),
    );
  }

  facts(self: Self, peers: readonly Lease[]): BackendFacts {
    const good: PeerFacts[] = [];
    const bad: BadPeer[] = [];
    for (const lease of peers) {
      const found = this.#peerFacts(self, lease);
      bad.push(...found.bad.map((reason) => ({ lease, reason })));
      if (found.facts.length > 0) good.push({ lease, facts: found.facts });
    }
    const homes = [...new Set(this.#families.map((family) => this.#home(family)))];
    return { own: homes.flatMap((home) => this.#ownFacts(home, self)), peers: good, bad };
  }

  #ownFacts(home: Family, self: Self): Fact[] {
    const dev = ROWS[home].device;
    const where = "host";
    const families = this.#families.filter((family) =>
      this.#home(family) === home && ROWS[family].subnet(self.lease) !== undefined
    );
    if (families.length === 0) return [];
    const publicKey = self.keys?.publicKey ?? ownKey(self.lease);
    return [
      {
        kind: "link",
        where,
        name: dev,
        driver: { kind: "wireguard" },
        mtu: this.podMtu(self.underlay),
      },
      ...(publicKey === undefined ? [] : [
        {
          kind: "wireguard" as const,
          where,
          dev,
          port: this.#options.ports[home],
          publicKey,
          ...(self.keys === undefined ? {} : { privateKey: self.keys.privateKey }),
        } as const,
      ]),
      ...families.map((family): Fact => {
        const subnet = ROWS[family].subnet(self.lease) as Cidr;
        return { kind: "address", where, dev, inet: inetOf(addressOf(subnet), ROWS[family].host) };
      }),
      { kind: "up", where, dev, up: true },
    ];
  }

  #peerFacts(self: Self, lease: Lease): { readonly facts: Fact[]; readonly bad: string[] } {
    if (lease.backendType !== this.type) {
      const reason = `its backend is ${JSON.stringify(lease.backendType)}, ours is wireguard`;
      return { facts: [], bad: [reason] };
    }
    const families = this.#families.filter((f) => ROWS[f].subnet(lease) !== undefined);
    const groups: (readonly Family[])[] = this.#options.mode === "separate"
      ? families.map((family) => [family])
      : [families];
    const facts: Fact[] = [];
    const bad: string[] = [];
    // In the mode `separate` a bad IPv6 part costs a peer nothing of its IPv4 part.
    for (const group of groups) {
      const entry = group.length === 0 ? undefined : this.#entry(self, lease, group);
      if (typeof entry === "string") bad.push(entry);
      else if (entry !== undefined) facts.push(entry, ...entry.allowed.map(routeOver(entry.dev)));
    }
    return { facts, bad };
  }

  /** The peer's entry of one link, or why it cannot be made. */
  #entry(self: Self, lease: Lease, families: readonly Family[]): WireguardPeerFact | string {
    const [first] = families as [Family];
    const outer = this.#outer(self, lease, first);
    const remote = ROWS[outer].publicIp(lease);
    if (remote === undefined) return `it has no public IPv${outer} address`;
    if (remote === self.underlay.addresses[outer] || remote === ROWS[outer].publicIp(self.lease)) {
      return `its public address ${remote} is also this node's`;
    }
    const data = peerData(ROWS[outer].data(lease) ?? ROWS[first].data(lease));
    if (typeof data === "string") return data;
    const { publicKey } = data;
    if (publicKey === (self.keys?.publicKey ?? ownKey(self.lease))) {
      return `its public key ${publicKey} is also this node's: one of them is a copy of the other`;
    }
    const { psk, keepalive } = this.#options;
    return {
      kind: "wireguard-peer",
      where: "host",
      dev: ROWS[this.#home(first)].device,
      publicKey,
      remote,
      port: this.#portOf(lease, outer, data.port),
      allowed: families.map((family) => ROWS[family].subnet(lease) as Cidr).sort(),
      keepalive,
      ...(psk === undefined ? {} : { psk }),
    };
  }

  /** By which family of outer packets a peer is reached. */
  #outer({ lease: own, underlay }: Self, { publicIp, publicIp6 }: Lease, inner: Family): Family {
    switch (this.#options.mode) {
      case "separate":
        return inner;
      case "ipv4":
        return 4;
      case "ipv6":
        return 6;
      case "auto": {
        if (publicIp6 === undefined) return 4;
        const has4 = (own.publicIp ?? underlay.addresses[4]) !== undefined;
        if (publicIp !== undefined && !isPrivate(publicIp) && has4) return 4;
        const own6 = own.publicIp6 ?? underlay.addresses[6];
        if (own6 !== undefined && !isPrivate(own6) && !isPrivate(publicIp6)) return 6;
        return publicIp === undefined ? 6 : 4;
      }
    }
  }

  #portOf(lease: Lease, outer: Family, published: number): number {
    const { ports } = this.#options;
    const usual = ports[this.#home(outer)];
    if (this.#options.mode === "separate" || outer === 4) return published || usual;
    // One link: both families have its port. flannel's IPv4 part tells it, its IPv6 part does not.
    const told = peerData(lease.backendData);
    if (typeof told !== "string") return told.port || usual;
    return published === ports[6] ? usual : published || usual;
  }

  scope(): ReturnType<Backend["scope"]> {
    const devices = this.#deviceNames();
    return { links: devices, addresses: devices, routes: true, wireguard: devices };
  }

  #deviceNames(): string[] {
    return [...new Set(Object.values(this.devices()))];
  }

  /** Ours are: our links with all that hangs on them, and the overlay's routes. */
  ours(): Ours {
    const devices = new Set(this.#deviceNames());
    const inside = insideOf(this.#conf);
    return (fact) => {
      switch (fact.kind) {
        case "link":
          return devices.has(fact.name);
        case "up":
        case "wireguard-peer":
          return devices.has(fact.dev);
        case "address":
          return devices.has(fact.dev) && inside(addressOf(fact.inet));
        case "route":
          // Also flannel's for the whole network, which has no number of its own.
          return isOverlayRoute(fact, devices, inside) ||
            (devices.has(fact.dev ?? "") && fact.protocol === BOOT && inside(addressOf(fact.dst)));
        case "wireguard":
        case "neighbour":
        case "fdb":
        case "sysctl":
        case "rules":
        case "chain":
        case "port":
        case "vlan":
          return false;
      }
    };
  }
}

/** `RTPROT_BOOT`, linux/rtnetlink.h: what flannel's routes carry. */
const BOOT = 3;

function routeOver(dev: string): (dst: Cidr) => Fact {
  return (dst) => ({
    kind: "route",
    where: "host",
    dst,
    dev,
    onlink: false,
    protocol: TWILL_PROTOCOL,
    metric: 0,
    multipath: false,
  });
}

/** What a wireguard lease publishes (port 0: the usual one), or why it cannot be read. */
function peerData(
  data: Lease["backendData"],
): { readonly publicKey: PublicKey; readonly port: number } | string {
  if (!(data instanceof JsonObject)) return "its lease carries no WireGuard key";
  try {
    const fields = new Fields(data, "BackendData");
    return {
      publicKey: parsePublicKey(fields.string("PublicKey") ?? ""),
      port: inRange(fields, "Port", 0, 65_535) ?? 0,
    };
  } catch (e) {
    if (e instanceof SyntaxError) return `its lease is damaged: ${e.message}`;
    throw e;
  }
}

function ownKey({ backendData, backendV6Data }: Lease): PublicKey | undefined {
  const data = peerData(backendData ?? backendV6Data);
  return typeof data === "string" ? undefined : data.publicKey;
}

/** RFC 1918 and RFC 4193. */
const PRIVATE: readonly Cidr[] = [
  "10.0.0.0/8" as Cidr,
  "172.16.0.0/12" as Cidr,
  "192.168.0.0/16" as Cidr,
  "fc00::/7" as Cidr,
];

function isPrivate(ip: Ip): boolean {
  return PRIVATE.some((net) => contains(net, ip));
}
