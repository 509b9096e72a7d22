/**
 * Which interfaces a capture looks at. Pure.
 *
 * @module
 */

import type { LinkType } from "../../engine/packet/decode.ts";
import { ROUTED } from "../../engine/packet/correlate.ts";
import type { Ip } from "../../engine/ip.ts";
import type { Mac } from "../../engine/mac.ts";
import { nameOfPod, type Pod } from "../pods/join.ts";

/** What an interface is on the way of a packet. */
export type Role = "pod" | "veth" | "bridge" | "vtep" | "uplink";

/** One interface to look at. */
export interface Tap {
  readonly role: Role;
  readonly name: string;
  readonly index: number;
  /** Path of its namespace; absent for the node's. */
  readonly netns?: string;
  /** Name of the pod that it belongs to. */
  readonly pod?: string;
  readonly mac?: Mac;
  readonly link: LinkType;
}

/** A link of the node. */
export interface NodeLink {
  readonly index: number;
  readonly name: string;
  readonly mac?: Mac;
  /** `ARPHRD_*`, linux/if_arp.h. */
  readonly hardware: number;
}

/** `ARPHRD_ETHER` and those of tunnels whose packets start with the IP header. */
const LINK_TYPES: Readonly<Record<number, LinkType>> = {
  1: "ethernet",
  65534: "ip", // ARPHRD_NONE: wireguard, tun
  768: "ip", // ARPHRD_TUNNEL: ipip
};

/** A pod whose interface was found. */
export interface SeenPod {
  readonly name: string;
  /** Path of its network namespace. */
  readonly netns: string;
  readonly inside: { readonly index: number; readonly name: string };
  /** Name of the node's end, where that was found too. */
  readonly veth?: string;
  readonly ips: readonly Ip[];
}

/** The pods that can be looked at. */
export function seenPods(pods: readonly Pod[]): SeenPod[] {
  return pods.flatMap((pod): SeenPod[] => {
    const { netns, inside, vethName, ips } = pod;
    if (netns === undefined || inside === undefined) return [];
    return [{
      name: nameOfPod(pod),
      netns,
      inside: { index: inside.index, name: inside.name },
      ...(vethName === undefined ? {} : { veth: vethName }),
      ips,
    }];
  });
}

/** What a node has, by role. */
export interface Places {
  readonly links: readonly NodeLink[];
  readonly pods: readonly SeenPod[];
  /** Ports of the pods' bridge whose pod is not known. */
  readonly ports: readonly string[];
  /** Names. */
  readonly bridges: readonly string[];
  readonly vteps: readonly string[];
  readonly uplinks: readonly string[];
}

/** The interfaces, each once, in the order in which a pod's packet to another node passes them. */
export function tapsOf({ links, pods, ports, bridges, vteps, uplinks }: Places): Tap[] {
  const seen = new Set<string>();
  const onNode = (role: Role, name: string, pod?: string): Tap[] => {
    const found = links.find((link) => link.name === name);
    const link = found === undefined ? undefined : LINK_TYPES[found.hardware];
    if (found === undefined || link === undefined || seen.has(name)) return [];
    seen.add(name);
    const { index, mac } = found;
    return [{ role, name, index, link, ...(mac && { mac }), ...(pod && { pod }) }];
  };
  return [
    ...pods.map((pod): Tap => {
      const { netns, inside: { index, name } } = pod;
      return { role: "pod", name, index, netns, pod: pod.name, link: "ethernet" };
    }),
    ...pods.flatMap(({ name, veth }) => veth === undefined ? [] : onNode("veth", veth, name)),
    ...ports.flatMap((name) => onNode("veth", name)),
    ...bridges.flatMap((name) => onNode("bridge", name)),
    ...vteps.flatMap((name) => onNode("vtep", name)),
    ...uplinks.flatMap((name) => onNode("uplink", name)),
  ];
}

/** The name of an interface as people see it: a pod's has the pod's name before it. */
export function labelOf({ role, name, pod }: Tap): string {
  return role === "pod" && pod !== undefined ? `${pod}:${name}` : name;
}

/** How far from the pod an interface is. */
const DISTANCE: Readonly<Record<Role, number>> = { pod: 0, veth: 1, bridge: 2, vtep: 3, uplink: 4 };

const FARTHEST = DISTANCE.uplink;

/**
 * Where on its way a packet is that passes an interface: to the outside in the order of
 * {@link DISTANCE}, to a pod the other way round. What leaves the node's routing comes after all
 * that enters it.
 */
export function stageOf({ role }: Tap, out: boolean): number {
  // The node's end of a pair, and the bridge, receive what a pod sends.
  const outward = role === "veth" || role === "bridge" ? !out : out;
  const routed = role === "pod" ? !out : out;
  const far = DISTANCE[role];
  return (routed ? ROUTED : 0) + (outward ? far : FARTHEST - far);
}
