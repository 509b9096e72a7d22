/**
 * What a capture must know of the node before it starts: its interfaces, its pods, its overlay.
 *
 * @module
 */

import { type Cidr, contains, hostPrefix, type Ip, networkOf, parseIp } from "../../engine/ip.ts";
import { Kernel } from "../../ffi/kernel.ts";
import type { InspectContext } from "../context.ts";
import { gather } from "../gather.ts";
import { joinPeers } from "../join_peers.ts";
import { nodeNames } from "../node_names.ts";
import { addressesOf, DEFAULTS, type Overlay } from "../overlay.ts";
import { gatherPods } from "../pods/gather.ts";
import { joinPods, type Pod } from "../pods/join.ts";
import type { CaptureFlags } from "./command.ts";
import { type NodeLink, seenPods } from "./taps.ts";

/** Another node of the network. */
export interface PeerNode {
  readonly name?: string;
  readonly publicIp?: Ip;
  readonly subnet?: Cidr;
}

/** The node as a capture sees it. */
export interface Scene {
  readonly links: readonly NodeLink[];
  readonly pods: readonly Pod[];
  /** Ports of the pods' bridge whose pod was not found. */
  readonly unknownPorts: readonly string[];
  /** What could not be looked at. */
  readonly notes: readonly string[];
  readonly peers: readonly PeerNode[];
  /** Names of links. */
  readonly bridges: readonly string[];
  readonly vteps: readonly string[];
  readonly uplinks: readonly string[];
  /** UDP ports of all VXLAN devices. */
  readonly ports: readonly number[];
  /** Where pods are, on this node and on others. */
  readonly networks: readonly Cidr[];
}

/** Looks around. @throws {OpError} when the kernel cannot be read */
export async function lookAround(context: InspectContext, flags: CaptureFlags): Promise<Scene> {
  const { subnetFile } = flags;
  const overlay = await gather(context, { subnetFile, peers: true, addresses: true });
  const names = await nodeNames(context, flags);
  const sources = await gatherPods(context, flags);
  const pods = joinPods(sources, overlay.subnets.map(networkOf));
  using kernel = Kernel.open();
  const links = kernel.links("host");
  const bridge = links.find(({ name }) => name === overlay.bridge?.name);
  const peers = joinPeers(overlay);
  const vxlans = overlay.facts.flatMap((fact) =>
    fact.kind === "link" && fact.driver.kind === "vxlan" ? [{ ...fact, ...fact.driver }] : []
  );
  const veths = new Set(seenPods(pods).map(({ veth }) => veth));
  const plugged = new Set(pods.flatMap(({ bridge }) => bridge ?? []));
  if (bridge !== undefined) plugged.add(bridge.name);
  const direct = peers.filter(({ mode }) => mode === "direct").map(({ device }) => device);
  const underlays = vxlans.flatMap(({ underlay }) => underlay ?? []);
  const uplinks = [...new Set([...underlays, ...direct])];
  return {
    links: links.map(({ index, name, mac, message: { type = 0 } }) => {
      return { index, name, hardware: type, ...(mac && { mac }) };
    }),
    pods,
    unknownPorts: links.filter(({ master, name }) =>
      bridge !== undefined && master === bridge.index && !veths.has(name)
    ).map(({ name }) => name),
    notes: sources.notes,
    peers: peers.map(({ publicIp, subnet }) => ({
      ...nameOf(names.of(subnet)),
      ...(publicIp && { publicIp }),
      ...(subnet && { subnet }),
    })),
    bridges: [...plugged],
    vteps: overlay.vteps.length + overlay.tunnels.length > 0
      ? [...overlay.vteps, ...overlay.tunnels].map(({ name }) => name)
      : vxlans.map(({ name }) => name),
    uplinks: uplinks.length > 0 ? uplinks : defaultDevices(overlay),
    ports: [...new Set(vxlans.map(({ port }) => port))].filter((port) => port > 0),
    networks: networksOf(overlay, pods),
  };
}

function nameOf(name: string | undefined): { readonly name?: string } {
  return name === undefined ? {} : { name };
}

/** Where packets to the rest of the world leave. */
function defaultDevices({ facts }: Overlay): string[] {
  const devices = facts.flatMap((fact) =>
    fact.kind === "route" && DEFAULTS.has(fact.dst) && fact.dev !== undefined ? [fact.dev] : []
  );
  return [...new Set(devices)];
}

/** The cluster's networks; without a subnet file what the bridge and the pods tell. */
function networksOf({ networks, facts, bridge }: Overlay, pods: readonly Pod[]): Cidr[] {
  const own = bridge === undefined ? [] : ([4, 6] as const)
    .flatMap((family) => addressesOf(facts, bridge.name, family)).map(networkOf);
  return [...networks, ...own, ...pods.flatMap(({ ips }) => ips.map(hostPrefix))];
}

/** All addresses of the nodes that a word means: a name, an address, a subnet, one of the pods. */
export function peerPrefixes(peers: readonly PeerNode[], word: string): Cidr[] {
  const ip = addressIn(word);
  return peers
    .filter(({ name, publicIp, subnet }) =>
      name === word || publicIp === word || subnet === word ||
      ip !== undefined && subnet !== undefined && contains(subnet, ip)
    )
    .flatMap(({ publicIp, subnet }) => [
      ...(publicIp === undefined ? [] : [hostPrefix(publicIp)]),
      ...(subnet === undefined ? [] : [subnet]),
    ]);
}

function addressIn(word: string): Ip | undefined {
  try {
    return parseIp(word);
  } catch {
    return undefined; // a name, or a subnet
  }
}
