/**
 * Peers as a table and as JSON. Pure.
 *
 * @module
 */

import { describe } from "../engine/fact.ts";
import { nameOfPeer } from "./judge_peers.ts";
import type { KnownPeer } from "./judge_wanted.ts";
import type { Overlay } from "./overlay.ts";
import { ownerOf, protocolName } from "./owner.ts";
import { type Column, NONE, table, type TableOptions } from "./style.ts";

/** All columns; the text of each cell comes from one table of the kernel. */
const COLUMNS: readonly Column<KnownPeer>[] = [
  { head: "SUBNET", cell: ({ peer }) => peer.subnet ?? NONE },
  { head: "NODE", cell: ({ lease }) => lease?.lease.node ?? NONE },
  { head: "PUBLIC-IP", cell: ({ peer }) => peer.publicIp ?? NONE },
  { head: "VTEP-MAC", cell: ({ peer }) => peer.mac ?? NONE },
  { head: "DEVICE", cell: ({ peer }) => peer.device },
  { head: "GATEWAY", cell: ({ peer }) => peer.gateway ?? NONE, wide: true },
  { head: "ROUTE", cell: ({ peer }) => peer.route ? ownerOf(peer.route) : "missing", wide: true },
  {
    head: "NEIGHBOUR",
    cell: ({ peer }) => peer.mode === "direct" ? "arp" : peer.neighbour ? "yes" : "missing",
    wide: true,
  },
  {
    head: "FDB",
    cell: ({ peer }) =>
      peer.mode === "direct" ? "unneeded" : peer.fdb.length > 0 ? "yes" : "missing",
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

/** The table for people; empty without peers. */
export function peersTable(peers: readonly KnownPeer[], options: TableOptions): string {
  return peers.length === 0 ? "" : table(peers, COLUMNS, options);
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
