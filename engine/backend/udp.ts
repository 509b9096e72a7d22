/**
 * The udp backend: a tun device takes the packets for other nodes' pods, and a process sends each
 * of them, as it is, in a datagram to the peer that owns its destination. It was made for kernels
 * without VXLAN. Nothing flows while no process runs.
 *
 * The kernel holds the device, its address and one route for the whole network; the peers are known
 * to the relay alone ({@link relayTable}), so they have no facts.
 *
 * @module
 */

import { ErrorCode, OpError } from "../errors.ts";
import { type Fact, TWILL_PROTOCOL } from "../fact.ts";
import { addressOf, inetOf, type Ip4 } from "../ip.ts";
import { Fields } from "../json.ts";
import type { Lease } from "../lease.ts";
import type { NetConf } from "../net_conf.ts";
import type { Ours } from "../plan.ts";
import type { Backend, BackendFacts, BadPeer, Self, Underlay } from "./backend.ts";
import { insideOf, isOverlayRoute } from "./routes.ts";
import { PrefixTable } from "./udp_packet.ts";

/**
 * The tun device: the name that flannel's pattern `flannel%d` gives on a node with one daemon. With
 * another port than the usual one it carries that number: several overlays on a host need different
 * ports, and then have different devices.
 */
export function udpDevice(conf: NetConf): string {
  const port = udpPort(conf);
  return `flannel${port === PORT ? 0 : port}`;
}

/** Outer IPv4 20, UDP 8 bytes. */
const OVERHEAD = 28;

/** The port on which all nodes listen, unless `Backend.Port` says otherwise. */
const PORT = 8285;

/** Reads `Backend.Port`. @throws {SyntaxError} when it is no port */
export function udpPort(conf: NetConf): number {
  const port = new Fields(conf.backend.raw, "Backend").integer("Port") || PORT;
  if (port > 0 && port <= 65_535) return port;
  throw new SyntaxError(`Backend.Port: want 1 to 65535, got ${port}`);
}

/**
 * The udp backend for a network.
 *
 * @throws {OpError} when the network has IPv6, which this backend cannot carry.
 * @throws see {@link udpPort}
 */
export function udp(conf: NetConf): Backend {
  refuseIpv6(conf, "udp");
  const device = udpDevice(conf);
  return {
    type: "udp",
    leaseType: "",
    podMtu: tunMtu,
    devices: () => ({ 4: device }),
    admit: () => {},
    macsOf: () => ({}),
    publish: () => ({}),
    facts: (self, peers) => facts(conf, self, peers),
    scope: () => ({ links: [device], addresses: [device], routes: true }),
    ours: () => ours(conf),
  };
}

/** @throws {OpError} when the network has IPv6 or lacks IPv4, for backends that carry IPv4 alone. */
export function refuseIpv6({ families }: NetConf, type: string): void {
  if (families[4].enabled && !families[6].enabled) return;
  throw new OpError("use", `backend ${type}`, {
    code: ErrorCode.badConfig,
    kernel: "it carries IPv4 alone",
    advice: "Set EnableIPv4 to true and EnableIPv6 to false, or use backend vxlan",
  });
}

function tunMtu(underlay: Underlay): number {
  return Math.min(underlay.mtu, 65_535) - OVERHEAD;
}

/** Who owns which packets, for the relay: destinations to public addresses of peers. */
export function relayTable(peers: readonly Lease[], self: Self): PrefixTable<Ip4> {
  const table = new PrefixTable<Ip4>();
  for (const peer of peers) {
    const { subnet, publicIp } = peer;
    if (flawOf(peer, self) !== undefined || subnet === undefined || publicIp === undefined) {
      continue;
    }
    table.set(subnet, publicIp);
  }
  return table;
}

/** Why no packet can be sent to a peer; undefined when it can. */
function flawOf({ backendType, publicIp }: Lease, { underlay, lease }: Self): string | undefined {
  // flannel's udp nodes publish no type.
  if (backendType !== "" && backendType !== "udp") {
    return `its backend is ${JSON.stringify(backendType)}, ours is udp`;
  }
  if (publicIp === undefined) return "it has no public IPv4 address";
  const own = publicIp === underlay.addresses[4] || publicIp === lease.publicIp;
  return own ? `its public address ${publicIp} is also this node's` : undefined;
}

function facts(conf: NetConf, self: Self, peers: readonly Lease[]): BackendFacts {
  const bad: BadPeer[] = [];
  const good: Lease[] = [];
  for (const lease of peers) {
    if (lease.subnet === undefined) continue;
    const reason = flawOf(lease, self);
    if (reason === undefined) good.push(lease);
    else bad.push({ lease, reason });
  }
  return { own: ownFacts(conf, self), peers: good.map((lease) => ({ lease, facts: [] })), bad };
}

function ownFacts(conf: NetConf, { underlay, lease: { subnet } }: Self): Fact[] {
  const { network } = conf.families[4];
  if (subnet === undefined || network === undefined) return [];
  const where = "host";
  const dev = udpDevice(conf);
  return [
    {
      kind: "link",
      where,
      name: dev,
      driver: { kind: "other", name: "tun" },
      mtu: tunMtu(underlay),
    },
    { kind: "address", where, dev, inet: inetOf(addressOf(subnet), 32) },
    { kind: "up", where, dev, up: true },
    {
      kind: "route",
      where,
      dst: network,
      dev,
      protocol: TWILL_PROTOCOL,
      metric: 0,
      multipath: false,
    },
  ];
}

function ours(conf: NetConf): Ours {
  const inside = insideOf(conf);
  const dev = udpDevice(conf);
  const devices = new Set([dev]);
  return (fact) => {
    if (fact.kind === "address") return fact.dev === dev && inside(addressOf(fact.inet));
    if (fact.kind === "route") return isOverlayRoute(fact, devices, inside);
    // The link is made and unmade with the relay's descriptor; its MTU is set like any other.
    return fact.kind === "link" && fact.name === dev;
  };
}
