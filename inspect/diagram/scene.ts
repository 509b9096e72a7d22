/**
 * What the picture shows, from what the other commands know. Pure.
 *
 * @module
 */

import type { Scene } from "../../engine/diagram/picture.ts";
import { networkOf } from "../../engine/ip.ts";
import { type Tunnel, wrapping } from "../../engine/tunnel.ts";
import type { Finding } from "../finding.ts";
import { joinPeers } from "../join_peers.ts";
import { judgePeers, nameOfPeer } from "../judge_peers.ts";
import { judgeWanted, type KnownPeer, withoutLeases } from "../judge_wanted.ts";
import type { Knowledge } from "../knowledge.ts";
import { addressesOf, DEFAULTS, linkOf, type Overlay, type Vtep } from "../overlay.ts";
import { nameOfPod } from "../pods/join.ts";
import type { JudgedPod } from "../pods/judge.ts";
import { compareWanted } from "../wanted.ts";

/** Peers as `twill inspect peers` judges them. */
export function peersOf(
  overlay: Overlay,
  { leases, daemon }: Knowledge,
  devices: readonly Finding[],
): readonly KnownPeer[] {
  const judged = judgePeers(overlay, joinPeers(overlay), devices);
  const wanted = leases && compareWanted(overlay, leases, daemon?.uplink?.name);
  return leases === undefined || typeof wanted !== "object"
    ? withoutLeases(judged)
    : judgeWanted(judged, wanted, leases.from, devices);
}

/** Everything that is drawn. */
export function sceneOf(
  overlay: Overlay,
  known: Knowledge,
  peers: readonly KnownPeer[],
  pods: readonly JudgedPod[],
  devices: readonly Finding[],
): Scene {
  const { facts, bridge, vteps, tunnels, subnets, file } = overlay;
  const ours = vteps.filter(({ foreign }) => !foreign);
  const uplink = uplinkOf(overlay, known, ours);
  const node = known.leases?.own.node;
  return {
    ...(node === undefined ? {} : { node }),
    subnets: subnets.map(networkOf),
    pods: pods.map(({ pod, findings }) => ({
      name: nameOfPod(pod),
      ips: pod.ips,
      ...(pod.vethName === undefined ? {} : { veth: pod.vethName }),
      ok: findings.length === 0,
    })),
    ...(bridge === undefined ? {} : {
      bridge: {
        name: bridge.name,
        lines: ["bridge, the pods' gateway", ...addressLines(overlay, bridge.name)],
      },
    }),
    overlays: [
      ...ours.map((vtep) => ({
        name: vtep.name,
        lines: [`VXLAN, VNI ${vtep.vni}`, ...addressLines(overlay, vtep.name), vtep.mac ?? ""]
          .filter((line) => line !== ""),
        wraps: `as VXLAN in UDP, port ${vtep.port}`,
        ok: !devices.some(({ subject }) => subject === vtep.name),
      })),
      ...tunnels.map((tunnel) => ({
        name: tunnel.name,
        lines: [...addressLines(overlay, tunnel.name), ...keyLine(tunnel)],
        wraps: wrapping(tunnel),
        ok: tunnel.up,
      })),
    ],
    ...(uplink === undefined ? {} : {
      uplink: {
        name: uplink,
        lines: [
          ...addressLines(overlay, uplink),
          ...facts.flatMap((fact) =>
            fact.kind === "route" && DEFAULTS.has(fact.dst) && fact.dev === uplink && fact.via
              ? [`default gateway ${fact.via}`]
              : []
          ),
        ],
      },
    }),
    peers: peers.map(({ peer, lease, findings }) => ({
      name: lease?.lease.node ?? peer.publicIp ?? nameOfPeer(peer),
      lines: [
        ...(lease?.lease.node === undefined || peer.publicIp === undefined ? [] : [peer.publicIp]),
        ...(peer.subnet === undefined ? [] : [`pods in ${peer.subnet}`]),
        ...(peer.mac === undefined ? [] : [peer.mac]),
      ],
      ...(peer.mode === "direct" ? {} : { by: peer.device }),
      ok: findings.length === 0,
    })),
    masquerade: known.daemon?.masquerade ?? (file.kind === "read" && file.env.ipMasq),
  };
}

function keyLine({ set }: Tunnel): string[] {
  return set === undefined ? [] : [`public key ${set.publicKey}`];
}

function uplinkOf(
  { facts }: Overlay,
  { daemon }: Knowledge,
  ours: readonly Vtep[],
): string | undefined {
  const told = daemon?.uplink?.name ?? ours.find(({ underlay }) => underlay)?.underlay;
  if (told !== undefined) return told;
  const route = facts.find((fact) => fact.kind === "route" && DEFAULTS.has(fact.dst));
  return route?.kind === "route" ? route.dev : undefined;
}

/** `10.244.1.1/24, MTU 1450`. */
function addressLines({ facts }: Overlay, name: string): string[] {
  const inets = ([4, 6] as const).flatMap((family) => addressesOf(facts, name, family));
  const mtu = linkOf(facts, name)?.mtu;
  return [...inets, ...(mtu === undefined ? [] : [`MTU ${mtu}`])];
}
