/**
 * Pods: reservation ⋈ runtime's cache ⋈ namespace ⋈ port of the bridge. Pure; keeps what does not
 * join, because that is where the faults are.
 *
 * @module
 */

import { addressOf, type Cidr, contains, type Ip } from "../../engine/ip.ts";
import type { LinkView } from "../../ffi/netns_view.ts";
import type { Attachment, Namespace, PodSources, Reservation } from "./view.ts";

/** One interface of one pod. */
export interface Pod {
  readonly network?: string;
  readonly containerId?: string;
  readonly ifname?: string;
  /** In Kubernetes. */
  readonly namespace?: string;
  readonly name?: string;
  readonly ips: readonly Ip[];
  readonly mac?: string;
  /** Path of its network namespace. */
  readonly netns?: string;
  /** Its own end of the pair. */
  readonly inside?: LinkView;
  /** The node's end. */
  readonly veth?: LinkView;
  /** Name of that end, where the link itself is gone. */
  readonly vethName?: string;
  /** The bridge that it is plugged into. */
  readonly bridge?: string;
  readonly reservations: readonly Reservation[];
  readonly cached: boolean;
}

/** Joins; sorted by Kubernetes namespace and name, then by address. */
export function joinPods(sources: PodSources, subnets: readonly Cidr[]): Pod[] {
  const { host } = sources;
  const found = new Map<string, Pod>();
  for (const attachment of sources.attachments) {
    if (attachment.ifname === "lo") continue;
    found.set(keyOf(attachment), fromCache(attachment));
  }
  for (const reservation of sources.reservations) {
    const key = reservation.containerId === "" ? reservation.ip : keyOf(reservation);
    const pod = found.get(key) ?? fromReservation(reservation);
    const ips = pod.ips.includes(reservation.ip) ? pod.ips : [...pod.ips, reservation.ip];
    found.set(key, { ...pod, ips, reservations: [...pod.reservations, reservation] });
  }
  const interfaces = sources.namespaces.flatMap((one) => interfacesOf(one, host, subnets));
  const taken = new Set<LinkView>();
  const pods = [...found.values()].map((pod): Pod => {
    const mine = interfaces.find(({ inside }) =>
      !taken.has(inside) && inside.addresses.some((inet) => pod.ips.includes(addressOf(inet)))
    );
    if (mine !== undefined) taken.add(mine.inside);
    return place(pod, mine, host);
  });
  const strangers = interfaces.filter(({ inside }) => !taken.has(inside)).map((one) =>
    place({ ips: [], reservations: [], cached: false }, one, host)
  );
  return [...pods, ...strangers].sort(order);
}

function keyOf({ containerId, ifname }: Reservation | Attachment): string {
  // Very old reservations name no interface: there was one.
  return `${containerId} ${ifname ?? "eth0"}`;
}

function fromCache(
  { network, containerId, ifname, netns, namespace, name, ...rest }: Attachment,
): Pod {
  const { ips, mac, veth } = rest;
  return {
    network,
    containerId,
    ifname,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ips,
    ...(mac === undefined ? {} : { mac }),
    ...(netns === undefined ? {} : { netns }),
    ...(veth === undefined ? {} : { vethName: veth }),
    reservations: [],
    cached: true,
  };
}

function fromReservation({ network, containerId, ifname }: Reservation): Pod {
  return {
    network,
    ...(containerId === "" ? {} : { containerId }),
    ...(ifname === undefined ? {} : { ifname }),
    ips: [],
    reservations: [],
    cached: false,
  };
}

interface Interface {
  readonly netns: string;
  readonly inside: LinkView;
  readonly veth?: LinkView;
}

/** What looks like a pod's: a pair with its other end here, or an address of this node's pods. */
function interfacesOf(
  { path, links }: Namespace,
  host: readonly LinkView[],
  subnets: readonly Cidr[],
): Interface[] {
  return links.flatMap((inside): Interface[] => {
    if (inside.kind !== "veth") return [];
    const veth = host.find(({ index, kind, peer }) =>
      kind === "veth" && index === inside.peer && peer === inside.index
    );
    const ours = inside.addresses.some((inet) =>
      subnets.some((subnet) => contains(subnet, addressOf(inet)))
    );
    if (!ours && veth?.master === undefined) return [];
    return [{ netns: path, inside, ...(veth === undefined ? {} : { veth }) }];
  });
}

function place(pod: Pod, mine: Interface | undefined, host: readonly LinkView[]): Pod {
  const veth = mine?.veth ?? host.find(({ name }) => name === pod.vethName);
  const bridge = host.find(({ index }) => index === veth?.master)?.name;
  return {
    ...pod,
    ...(mine === undefined ? {} : {
      netns: mine.netns,
      inside: mine.inside,
      ifname: pod.ifname ?? mine.inside.name,
      ...(mine.inside.mac === undefined ? {} : { mac: mine.inside.mac }),
      ips: pod.ips.length > 0 ? pod.ips : mine.inside.addresses.map(addressOf),
    }),
    ...(veth === undefined ? {} : { veth, vethName: veth.name }),
    ...(bridge === undefined ? {} : { bridge }),
  };
}

/** By namespace and name; pods whose names nobody knows come behind, by address. */
function order(a: Pod, b: Pod): number {
  const key = (pod: Pod): string =>
    pod.name === undefined ? "1" : `0 ${pod.namespace ?? ""} ${pod.name}`;
  return compare(key(a), key(b)) || compare(wide(a.ips[0]), wide(b.ips[0]));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

/** With leading zeros, so that 10.0.0.9 stands before 10.0.0.10. */
function wide(ip: Ip | undefined): string {
  return (ip ?? "~").replace(/\d+/g, (digits) => digits.padStart(3, "0"));
}

/** The name that people use: `namespace/name`, else the container, else the namespace. */
export function nameOfPod({ namespace, name, containerId, netns, ips }: Pod): string {
  if (name !== undefined) return namespace === undefined ? name : `${namespace}/${name}`;
  return containerId?.slice(0, 12) ?? netns?.split("/").at(-1) ?? ips[0] ?? "unknown";
}

/** True when a word names the pod: its name, with or without namespace, an address, its device. */
export function isNamed(pod: Pod, word: string): boolean {
  const { name, containerId, netns, vethName } = pod;
  return word === nameOfPod(pod) || word === name || word === vethName ||
    pod.ips.includes(word as Ip) || netns?.split("/").at(-1) === word ||
    word.length >= 4 && containerId?.startsWith(word) === true;
}
