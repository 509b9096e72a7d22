/**
 * The pods of this node: which namespace, which veth, which name. Pure; joined from what netlink
 * tells about the node and about each namespace, from the IPAM plugin's reservations and from the
 * runtime's notes.
 *
 * @module
 */

import { type Ip, parseIp } from "../../engine/ip.ts";

/** The end of a veth pair, or any link, as far as it matters here. */
export interface LinkView {
  readonly index: number;
  readonly name: string;
  readonly kind: string;
  /** Index of a veth's other end in its own namespace. */
  readonly lower?: number;
  /** The number that its namespace has for the one of the other end; absent for its own. */
  readonly lowerNamespace?: number;
  /** Index of the bridge that it is a port of. */
  readonly master?: number;
}

/** One namespace beside the node's. */
export interface NamespaceView {
  /** A path by which it can be entered. */
  readonly path: string;
  /** The number that the node's namespace has for it. */
  readonly id?: number;
  readonly links: readonly LinkView[];
  /** Addresses, with the index of their link. */
  readonly addresses: readonly { readonly index: number; readonly ip: Ip }[];
}

/** A pod address that the IPAM plugin has given away. */
export interface Reservation {
  readonly ip: Ip;
  readonly containerId: string;
}

/** What the runtime noted of one attachment. */
export interface Note {
  readonly containerId: string;
  /** `namespace/name`, as Kubernetes calls the pod. */
  readonly pod: string;
}

/** A pod with one interface. */
export interface Pod {
  /** `namespace/name`; what its namespace or container is called where nobody noted that. */
  readonly name: string;
  readonly containerId?: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Its interface, in its namespace. */
  readonly link: LinkView;
  /** The other end, on the node. */
  readonly veth: LinkView;
  readonly ips: readonly Ip[];
}

/** Reads a file of `/var/lib/cni/networks/NET`; undefined for those that are no reservations. */
export function parseReservation(file: string, text: string): Reservation | undefined {
  let ip: Ip;
  try {
    ip = parseIp(file);
  } catch {
    return undefined; // lock, last_reserved_ip.0
  }
  const [containerId = ""] = text.split(/\r?\n/);
  return containerId.trim() === "" ? undefined : { ip, containerId: containerId.trim() };
}

/** Reads a file of `/var/lib/cni/results`, libcni's notes; undefined when it names no pod. */
export function parseNote(text: string): Note | undefined {
  let note: unknown;
  try {
    note = JSON.parse(text);
  } catch {
    return undefined; // half written
  }
  const { containerId, cniArgs } = Object(note) as Readonly<Record<string, unknown>>;
  if (typeof containerId !== "string" || !Array.isArray(cniArgs)) return undefined;
  const args = new Map<unknown, unknown>(cniArgs.filter(Array.isArray).map(([k, v]) => [k, v]));
  const [namespace, name] = [args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")];
  if (typeof namespace !== "string" || typeof name !== "string") return undefined;
  return { containerId, pod: `${namespace}/${name}` };
}

/** All that is known, to be joined. */
export interface PodSources {
  /** The node's own links. */
  readonly links: readonly LinkView[];
  readonly namespaces: readonly NamespaceView[];
  readonly reservations: readonly Reservation[];
  readonly notes: readonly Note[];
  /** Index of the pods' bridge. */
  readonly bridge?: number;
}

/** The pods, by name: those plugged into the bridge, and those whose address is reserved. */
export function joinPods({ links, namespaces, reservations, notes, bridge }: PodSources): Pod[] {
  const veths = new Map(
    links.filter(({ kind }) => kind === "veth").map((veth) => [veth.index, veth]),
  );
  const holders = new Map(reservations.map(({ ip, containerId }) => [ip, containerId]));
  const names = new Map(notes.map(({ containerId, pod }) => [containerId, pod]));
  const pods = namespaces.flatMap(({ path, id, links, addresses }) =>
    links.flatMap((link): Pod[] => {
      const veth = link.lower === undefined ? undefined : veths.get(link.lower);
      // Indexes are numbers of a namespace: which one, the node's end says.
      if (link.kind !== "veth" || veth === undefined || veth.lower !== link.index) return [];
      if (id === undefined || veth.lowerNamespace !== id) return [];
      const ips = addresses.filter(({ index, ip }) => index === link.index && !/^fe80:/.test(ip))
        .map(({ ip }) => ip);
      const containerId = ips.map((ip) => holders.get(ip)).find((id) => id !== undefined);
      const plugged = bridge !== undefined && veth.master === bridge;
      if (!plugged && containerId === undefined) return [];
      const name = names.get(containerId ?? "") ?? nameOf(path, containerId);
      return [{ name, netns: path, link, veth, ips, ...(containerId && { containerId }) }];
    })
  );
  return pods.sort((a, b) => a.name < b.name ? -1 : Number(a.name > b.name));
}

/** What a pod is called where the runtime left no note. */
function nameOf(path: string, containerId: string | undefined): string {
  const process = /^\/proc\/(\d+)\//.exec(path)?.[1];
  if (process === undefined) return path.split("/").at(-1)!;
  return containerId?.slice(0, 12) ?? `pid-${process}`;
}

/** The pods that a word of the command line means: a name, an address, the start of an ID. */
export function podsNamed(pods: readonly Pod[], word: string): Pod[] {
  return pods.filter(({ name, containerId, netns, ips }) =>
    name === word || name.split("/").at(-1) === word || (ips as readonly string[]).includes(word) ||
    netns.split("/").at(-1) === word || word.length >= 6 && containerId?.startsWith(word) === true
  );
}
