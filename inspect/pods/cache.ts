/**
 * The files in which the runtime's library (libcni) keeps what plugins answered, and the files of
 * host-local's reservations. Pure; a file of another form tells nothing.
 *
 * @module
 */

import { type Ip, parseIp } from "../../engine/ip.ts";
import type { Attachment, Reservation } from "./view.ts";

/** A file of host-local: its name is the address, its content the container and the interface. */
export function readReservation(
  network: string,
  name: string,
  text: string,
): Reservation | undefined {
  const ip = asIp(name);
  if (ip === undefined) return undefined;
  const [containerId = "", ifname] = text.split(/\r?\n/).map((line) => line.trim());
  return { network, ip, containerId, ...(ifname ? { ifname } : {}) };
}

/** True for the names that {@link readReservation} reads. */
export function isAddress(name: string): boolean {
  return asIp(name) !== undefined;
}

function asIp(text: string): Ip | undefined {
  try {
    return parseIp(text);
  } catch {
    return undefined;
  }
}

/** A file of libcni's cache, `cniCacheV1`. */
export function readAttachment(text: string): Attachment | undefined {
  const file = object(parse(text));
  const result = object(file.result);
  const [network, containerId, ifname] = [file.networkName, file.containerId, file.ifName];
  if (file.kind !== "cniCacheV1" || !isText(network) || !isText(containerId) || !isText(ifname)) {
    return undefined;
  }
  const args = new Map(list(file.cniArgs).map((pair) => [list(pair)[0], list(pair)[1]]));
  const interfaces = list(result.interfaces).map(object);
  const inside = interfaces.find(({ sandbox, name }) => isText(sandbox) && name === ifname);
  const outside = interfaces.filter(({ sandbox }) => !isText(sandbox));
  const netns = isText(file.netns) ? file.netns : inside?.sandbox;
  return {
    network,
    containerId,
    ifname,
    ...optional("netns", netns),
    ...optional("namespace", args.get("K8S_POD_NAMESPACE")),
    ...optional("name", args.get("K8S_POD_NAME")),
    ips: list(result.ips).flatMap((one) =>
      asIp(String(object(one).address ?? "").split("/")[0] ?? "") ?? []
    ),
    ...optional("mac", inside?.mac),
    // The bridge comes first, the pair's outer end behind it.
    ...optional("veth", outside.map(({ name }) => name).findLast((name) => isText(name))),
  };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function optional<K extends string>(key: K, value: unknown): { readonly [P in K]?: string } {
  return isText(value) ? { [key]: value } as { readonly [P in K]: string } : {};
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
