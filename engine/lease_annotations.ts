/**
 * Leases as flannel keeps them in Kubernetes: the subnet is the node's `podCIDR`, which somebody
 * else hands out; the rest are annotations of the node object, byte for byte flannel's, so that
 * nodes of both programs form one overlay.
 *
 * Each family stands alone: what is wrong with one costs the node nothing of the other.
 *
 * @module
 */

import {
  addressOf,
  type Cidr,
  contains,
  type Family,
  type Ip,
  ipNumber,
  lengthOf,
  parseCidr4,
  parseCidr6,
  parseIp4,
  parseIp6,
} from "./ip.ts";
import { type Json, parseJson } from "./json.ts";
import { goJson, type Lease, type LeaseRecord, type LeaseSubnets } from "./lease.ts";
import { enabledFamilies, type NetConf } from "./net_conf.ts";

/** The names of the annotations. */
export interface AnnotationKeys {
  /** `true` on nodes that take part. */
  readonly managed: string;
  readonly backendType: string;
  readonly backendData: Readonly<Record<Family, string>>;
  readonly publicIp: Readonly<Record<Family, string>>;
  /** Set by people: stands in for the address that is published. */
  readonly overwrite: Readonly<Record<Family, string>>;
  /** Set by people: counts before `--public-ip`. */
  readonly nodePublicIp: Readonly<Record<Family, string>>;
}

/** What counts of a node object. */
export interface NodeRecord {
  readonly name: string;
  /** `spec.podCIDRs`, or `spec.podCIDR` alone; the first of each family counts. */
  readonly podCidrs: readonly string[];
  /** At least those of {@link allKeys}, if the node has them. */
  readonly annotations: Readonly<Record<string, string>>;
}

/** Annotations to be set, or with `null` to be removed. */
export type AnnotationPatch = Readonly<Record<string, string | null>>;

/** What differs between the families. */
const ROWS = {
  4: {
    network: "Network",
    none: "0.0.0.0",
    parseCidr: parseCidr4,
    parseIp: parseIp4,
    lease: { subnet: "subnet", publicIp: "publicIp", data: "backendData" },
  },
  6: {
    network: "IPv6Network",
    none: "::",
    parseCidr: parseCidr6,
    parseIp: parseIp6,
    lease: { subnet: "subnet6", publicIp: "publicIp6", data: "backendV6Data" },
  },
} as const;

/**
 * The names below a prefix: `flannel.alpha.coreos.com`, `org.com/`, `org.com/9`. Where it ends in a
 * name, a `-` stands between that and ours.
 *
 * @throws {SyntaxError} in flannel's words.
 */
export function annotationKeys(prefix: string): AnnotationKeys {
  if (prefix.split("/").length > 2) {
    throw new SyntaxError("subnet/kube: prefix can contain at most single slash");
  }
  const slashed = prefix.includes("/") ? prefix : `${prefix}/`;
  const full = /[/-]$/.test(slashed) ? slashed : `${slashed}-`;
  if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)+\/([a-z0-9_-]*-)?$/.test(full)) {
    throw new SyntaxError("subnet/kube: prefix must be in a format: fqdn/[0-9a-z-_]*");
  }
  const pair = (v4: string, v6: string): Record<Family, string> => ({
    4: full + v4,
    6: full + v6,
  });
  return {
    managed: `${full}kube-subnet-manager`,
    backendType: `${full}backend-type`,
    backendData: pair("backend-data", "backend-v6-data"),
    publicIp: pair("public-ip", "public-ipv6"),
    overwrite: pair("public-ip-overwrite", "public-ipv6-overwrite"),
    nodePublicIp: pair("node-public-ip", "node-public-ipv6"),
  };
}

/** All names. */
export function allKeys(keys: AnnotationKeys): string[] {
  return Object.values(keys).flatMap((key) => typeof key === "string" ? [key] : [key[4], key[6]]);
}

/** A node's subnets, and what is wrong with them. */
export interface NodeSubnets {
  readonly subnets: LeaseSubnets;
  readonly problems: Readonly<Partial<Record<Family, string>>>;
}

/** The subnets of a node in the families that are enabled. */
export function nodeSubnets({ name, podCidrs }: NodeRecord, conf: NetConf): NodeSubnets {
  const subnets: Partial<Record<string, Cidr>> = {};
  const problems: Partial<Record<Family, string>> = {};
  for (const family of enabledFamilies(conf)) {
    const row = ROWS[family];
    const text = podCidrs.find((cidr) => cidr.includes(":") === (family === 6));
    if (text === undefined) {
      problems[family] = podCidrs.length === 0
        ? `node "${name}" pod cidr not assigned`
        : `missing IPv${family} address on n.Spec.PodCIDRs of node "${name}"`;
      continue;
    }
    try {
      const cidr: Cidr = row.parseCidr(text);
      const { network } = conf.families[family];
      if (network !== undefined && !within(network, cidr)) {
        problems[family] =
          `subnet "${network}" specified in the flannel net config doesn't contain "${cidr}" ` +
          `${family === 6 ? "IPv6 " : ""}PodCIDR of the "${name}" node`;
      } else subnets[row.lease.subnet] = cidr;
    } catch (e) {
      problems[family] = `podCIDR: ${(e as SyntaxError).message}`;
    }
  }
  return { subnets: subnets as LeaseSubnets, problems };
}

function within(network: Cidr, subnet: Cidr): boolean {
  return lengthOf(network) <= lengthOf(subnet) && contains(network, addressOf(subnet));
}

/** A node as a peer. */
export interface NodeLease {
  /** Absent when no family of the node can be used. */
  readonly lease?: Lease;
  /** What is wrong, a text for each family. */
  readonly problems: readonly string[];
}

/**
 * The lease that a node's annotations tell; undefined for a node that takes no part.
 *
 * @param before what it told last: a family with the same subnet that cannot be read now keeps it.
 */
export function nodeLease(
  node: NodeRecord,
  conf: NetConf,
  keys: AnnotationKeys,
  before?: Lease,
): NodeLease | undefined {
  const { annotations } = node;
  if (annotations[keys.managed] !== "true") return undefined;
  const { subnets, problems: cidrProblems } = nodeSubnets(node, conf);
  const problems: string[] = [];
  const lease: Record<string, unknown> = {
    node: node.name,
    backendType: annotations[keys.backendType] ?? "",
  };
  for (const family of enabledFamilies(conf)) {
    const { lease: names, parseIp } = ROWS[family];
    const subnet = subnets[names.subnet];
    const address = annotations[keys.publicIp[family]];
    const problem = cidrProblems[family];
    if (problem !== undefined) {
      // A node may be without this family: then it publishes nothing of it either.
      if (address !== undefined && address !== ROWS[family].none) problems.push(problem);
      continue;
    }
    try {
      const publicIp = readAddress(address, keys.publicIp[family], parseIp);
      const data = readData(annotations, keys.backendData[family]);
      lease[names.subnet] = subnet;
      lease[names.publicIp] = publicIp;
      if (data !== undefined) lease[names.data] = data;
    } catch (e) {
      problems.push((e as SyntaxError).message);
      if (before?.[names.subnet] !== subnet) continue;
      for (const name of Object.values(names)) {
        if (before?.[name] !== undefined) lease[name] = before[name];
      }
    }
  }
  const usable = lease.subnet !== undefined || lease.subnet6 !== undefined;
  return { ...(usable && { lease: lease as unknown as Lease }), problems };
}

function readAddress(
  text: string | undefined,
  key: string,
  parse: (text: string) => Ip,
): Ip {
  if (text === undefined || text === "") throw new SyntaxError(`annotation ${key} is missing`);
  try {
    const ip = parse(text);
    if (ipNumber(ip) !== 0n) return ip;
  } catch (e) {
    throw new SyntaxError(`annotation ${key}: ${(e as Error).message}`);
  }
  throw new SyntaxError(`annotation ${key}: ${text} is no node's address`);
}

function readData(annotations: NodeRecord["annotations"], key: string): Json | undefined {
  const text = annotations[key];
  if (text === undefined || text === "") return undefined;
  try {
    return parseJson(text);
  } catch (e) {
    throw new SyntaxError(`annotation ${key}: ${(e as Error).message}`);
  }
}

/** The addresses that people have written on the node for us. */
export function wantedAddresses(
  { annotations }: NodeRecord,
  keys: Readonly<Record<Family, string>>,
): { readonly addresses: Readonly<Partial<Record<Family, Ip>>>; readonly problems: string[] } {
  const addresses: Partial<Record<Family, Ip>> = {};
  const problems: string[] = [];
  for (const family of [4, 6] as const) {
    const text = annotations[keys[family]];
    if (text === undefined || text === "") continue;
    try {
      addresses[family] = readAddress(text, keys[family], ROWS[family].parseIp);
    } catch (e) {
      problems.push((e as SyntaxError).message);
    }
  }
  return { addresses, problems };
}

/** Backends that publish IPv6 without any data. */
const BARE_IPV6 = ["host-gw", "extension"];

/**
 * What a node's annotations must say, as flannel would write them. Those of a family or backend
 * that is not in use any more are removed, which flannel forgets.
 *
 * @returns only what differs from what the node has.
 */
export function annotationPatch(
  record: LeaseRecord,
  { annotations }: NodeRecord,
  keys: AnnotationKeys,
): AnnotationPatch {
  const { backendType: type, backendData, backendV6Data, publicIp, publicIp6 } = record;
  const has4 = type !== "vxlan" || (backendData !== undefined && backendData !== null);
  const has6 = publicIp6 !== undefined &&
    ((backendV6Data !== undefined && backendV6Data !== null) || BARE_IPV6.includes(type));
  const wanted: AnnotationPatch = {
    [keys.managed]: "true",
    [keys.backendType]: type,
    [keys.backendData[4]]: has4 ? goJson(backendData ?? null) : null,
    [keys.publicIp[4]]: has4 ? publicIp ?? ROWS[4].none : null,
    [keys.backendData[6]]: has6 ? goJson(backendV6Data ?? null) : null,
    [keys.publicIp[6]]: has6 ? publicIp6 : null,
  };
  return Object.fromEntries(
    Object.entries(wanted).filter(([key, value]) => (annotations[key] ?? null) !== value),
  );
}
