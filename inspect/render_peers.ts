/**
 * Peers as a table and as JSON. Pure.
 *
 * @module
 */

import { describe, type WireguardPeerFact } from "../engine/fact.ts";
import { nameOfPeer } from "./judge_peers.ts";
import type { KnownPeer } from "./judge_wanted.ts";
import type { Overlay } from "./overlay.ts";
import { ownerOf, protocolName } from "./owner.ts";
import { type Column, NONE, table, type TableOptions } from "./style.ts";
import { endpointText, type Tunnel } from "../engine/tunnel.ts";
import { duration } from "./words.ts";

/** The columns at the left. */
const FIRST: readonly Column<KnownPeer>[] = [
  { head: "SUBNET", cell: ({ peer }) => peer.subnet ?? NONE },
  { head: "NODE", cell: ({ lease }) => lease?.lease.node ?? NONE },
  {
    head: "PUBLIC-IP",
    // The daemon alone knows where udp sends.
    cell: ({ peer, lease }) =>
      peer.publicIp ?? (peer.mode === "udp" ? lease?.lease.publicIp : undefined) ?? NONE,
  },
];

const VTEP: readonly Column<KnownPeer>[] = [
  { head: "VTEP-MAC", cell: ({ peer }) => peer.mac ?? NONE },
];

/** What a WireGuard link tells of its peers. */
function wireguardColumns(now: number): readonly Column<KnownPeer>[] {
  const cell =
    (text: (peer: WireguardPeerFact) => string | undefined): Column<KnownPeer>["cell"] =>
    ({ peer: { wireguard } }) => (wireguard && text(wireguard)) ?? NONE;
  return [
    {
      head: "ENDPOINT",
      cell: cell(({ remote, port }) => remote && port && endpointText(remote, port) || undefined),
    },
    {
      head: "HANDSHAKE",
      cell: cell(({ traffic }) =>
        traffic?.handshake === undefined ? "never" : `${duration(now - traffic.handshake)} ago`
      ),
    },
    { head: "RECEIVED", cell: cell(({ traffic }) => traffic && bytes(traffic.received)) },
    { head: "SENT", cell: cell(({ traffic }) => traffic && bytes(traffic.sent)) },
    { head: "PUBLIC-KEY", cell: cell(({ publicKey }) => publicKey), wide: true },
  ];
}

/** `512 B`, `1.5 KiB`, `20.0 MiB`. */
function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const at = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, count)) / 10));
  return `${at === 0 ? count : (count / 1024 ** at).toFixed(1)} ${units[at]}`;
}

/** All other columns; the text of each cell comes from one table of the kernel. */
const COLUMNS: readonly Column<KnownPeer>[] = [
  { head: "DEVICE", cell: ({ peer }) => peer.device },
  { head: "GATEWAY", cell: ({ peer }) => peer.gateway ?? NONE, wide: true },
  { head: "ROUTE", cell: ({ peer }) => peer.route ? ownerOf(peer.route) : "missing", wide: true },
  {
    head: "NEIGHBOUR",
    cell: ({ peer }) => {
      if (peer.mode === "direct") return "arp";
      if (peer.mode !== "vxlan") return "unneeded";
      return peer.neighbour ? "yes" : "missing";
    },
    wide: true,
  },
  {
    head: "FDB",
    cell: ({ peer }) =>
      peer.mode !== "vxlan" ? "unneeded" : peer.fdb.length > 0 ? "yes" : "missing",
    wide: true,
  },
  {
    head: "WANTED",
    cell: ({ wanted }) => {
      const ok = wanted.filter(({ state }) => state === "ok").length;
      return wanted.length === 0 ? NONE : `${ok}/${wanted.length}`;
    },
    wide: true,
  },
  {
    head: "STATUS",
    cell: ({ findings }) => findings.map(({ short }) => short).join(", ") || "ok",
    colour: ({ findings }) => findings.length > 0 ? "red" : "green",
  },
];

/**
 * The table for people; empty without peers.
 *
 * @param now as `Date.now()` counts.
 */
export function peersTable(
  peers: readonly KnownPeer[],
  options: TableOptions,
  now: number,
): string {
  if (peers.length === 0) return "";
  const some = (mode: string): boolean => peers.some(({ peer }) => peer.mode === mode);
  const own = some("wireguard") ? wireguardColumns(now) : [];
  const vtep = own.length > 0 && !some("vxlan") ? [] : VTEP;
  return table(peers, [...FIRST, ...vtep, ...own, ...COLUMNS], options);
}

/** One name a peer. */
export function peerNames(peers: readonly KnownPeer[]): string[] {
  return peers.map(({ peer }) => nameOfPeer(peer));
}

/** The document of `-o json`: `docs/schema/inspect_peers.json`. */
export function peersJson(
  overlay: Overlay,
  peers: readonly KnownPeer[],
): Record<string, unknown> {
  return {
    networks: overlay.networks,
    devices: overlay.vteps.map((vtep) => ({
      name: vtep.name,
      family: vtep.family,
      vni: vtep.vni,
      port: vtep.port,
      up: vtep.up,
      mtu: vtep.mtu ?? null,
      mac: vtep.mac ?? null,
      local: vtep.local ?? null,
      underlay: vtep.underlay ?? null,
      foreign: vtep.foreign,
    })),
    tunnels: overlay.tunnels.map(tunnelJson),
    items: peers.map(({ peer, findings, lease, wanted }) => ({
      name: nameOfPeer(peer),
      mode: peer.mode,
      subnet: peer.subnet ?? null,
      gateway: peer.gateway ?? null,
      publicIP: peer.publicIp ?? null,
      vtepMAC: peer.mac ?? null,
      device: peer.device,
      ok: findings.length === 0,
      problems: findings.map(({ id }) => id),
      route: peer.route === undefined ? null : {
        destination: peer.route.dst,
        gateway: peer.route.via ?? null,
        device: peer.route.dev ?? null,
        onlink: peer.route.onlink ?? false,
        protocol: peer.route.protocol ?? 0,
        protocolName: protocolName(peer.route.protocol),
        metric: peer.route.metric ?? 0,
      },
      neighbour: peer.neighbour === undefined ? null : {
        address: peer.neighbour.ip,
        mac: peer.neighbour.mac,
        device: peer.neighbour.dev,
      },
      fdb: [...peer.fdb, ...(peer.stray === undefined ? [] : [peer.stray])].map((entry) => ({
        mac: entry.mac,
        remote: entry.remote,
        device: entry.dev,
      })),
      wireguard: peer.wireguard === undefined ? null : wireguardJson(peer.wireguard),
      node: lease?.lease.node ?? null,
      wanted: wanted.map(({ fact, state, have }) => ({
        kind: fact.kind,
        fact: describe(fact),
        state,
        actual: have === undefined ? null : describe(have),
      })),
    })),
  };
}

/** A device that is no VTEP. */
export function tunnelJson({ name, kind, up, mtu, local, set }: Tunnel): Record<string, unknown> {
  return {
    name,
    kind,
    up,
    mtu: mtu ?? null,
    local: local ?? null,
    port: set?.port ?? null,
    publicKey: set?.publicKey ?? null,
  };
}

function wireguardJson(peer: WireguardPeerFact): Record<string, unknown> {
  const { publicKey, remote, port, allowed, keepalive, traffic } = peer;
  const handshake = traffic?.handshake;
  return {
    publicKey,
    endpoint: remote === undefined || port === undefined ? null : endpointText(remote, port),
    allowed,
    keepalive: keepalive ?? 0,
    handshake: handshake === undefined ? null : new Date(handshake).toISOString(),
    received: traffic?.received ?? null,
    sent: traffic?.sent ?? null,
  };
}
