/**
 * What a kernel holds, as iproute2 reads it: the judge of what our own code says that it did.
 *
 * @module
 */

import type { Node, Pod } from "./node.ts";
import type { Space } from "./space.ts";

/** A route, as `ip -j route` prints it. */
export interface Route {
  readonly dst: string;
  readonly dev: string;
  readonly gateway?: string;
  readonly protocol?: string;
  readonly scope?: string;
  readonly prefsrc?: string;
  readonly flags: readonly string[];
}

/** A device, as `ip -d -j address` prints it. */
export interface Device {
  readonly ifname: string;
  readonly mtu: number;
  readonly address: string;
  readonly flags: readonly string[];
  readonly master?: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: Readonly<Record<string, unknown>>;
    readonly info_slave_data?: Readonly<Record<string, unknown>>;
  };
  readonly addr_info: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
  }[];
}

/** A neighbour, as `ip -j neighbour` prints it. */
export interface Neighbour {
  readonly dst: string;
  readonly lladdr?: string;
  readonly state: readonly string[];
}

/** A forwarding entry, as `bridge -j fdb` prints it. */
export interface FdbEntry {
  readonly mac: string;
  readonly dst?: string;
  readonly flags: readonly string[];
  readonly state: string;
}

async function json<T>(space: Space, pod: Pod | undefined, ...args: string[]): Promise<T[]> {
  const inPod = pod === undefined ? [] : ["-n", pod.name];
  const stdout = await space.must(["ip", ...inPod, "-j", ...args]);
  // Where there is nothing, some versions print nothing, and objects without members come along.
  const all = JSON.parse(stdout.trim() || "[]") as T[];
  return all.filter((one) => Object.keys(one as object).length > 0);
}

/** IPv4 routes of the main table. */
export function routes(node: Node, pod?: Pod): Promise<Route[]> {
  return json<Route>(node, pod, "-4", "route");
}

/** All devices with their addresses. */
export function devices(node: Node, pod?: Pod): Promise<Device[]> {
  return json<Device>(node, pod, "-d", "address");
}

/** One device with its addresses; undefined when there is none. */
export async function device(node: Node, name: string, pod?: Pod): Promise<Device | undefined> {
  return (await devices(node, pod)).find(({ ifname }) => ifname === name);
}

/** IPv4 neighbours of one device, those of every state. */
export function neighbours(node: Node, dev: string): Promise<Neighbour[]> {
  return json<Neighbour>(node, undefined, "-4", "neighbour", "show", "dev", dev, "nud", "all");
}

/** Forwarding entries of one device. */
export async function fdb(node: Node, dev: string): Promise<FdbEntry[]> {
  return JSON.parse(await node.must(["bridge", "-j", "fdb", "show", "dev", dev])) as FdbEntry[];
}

/** IPv4 addresses of a device, with lengths. */
export function addresses(dev: Device | undefined): string[] {
  return (dev?.addr_info ?? [])
    .filter(({ family }) => family === "inet")
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}
