/**
 * The lease file: a whole small cluster written down by hand, for use without any server. All
 * nodes read the same file; each finds itself in it.
 *
 * ```yaml
 * config:                     # as flannel's net-conf.json
 *   Network: 10.244.0.0/16
 *   Backend: { Type: vxlan }
 * nodes:
 *   - name: one
 *     publicIP: 192.168.0.1
 *     subnet: 10.244.1.0/24
 * ```
 *
 * Here is what the parsed document must be like; reading a file, YAML or JSON, is not done here.
 *
 * @module
 */

import { derivedVtepMac } from "./backend/vxlan_mac.ts";
import {
  addressOf,
  bounds,
  type Cidr,
  contains,
  type Ip,
  lengthOf,
  overlaps,
  parseCidr4,
  parseCidr6,
  parseIp4,
  parseIp6,
} from "./ip.ts";
import { Fields, type Json, JsonObject } from "./json.ts";
import type { Lease } from "./lease.ts";
import { enabledFamilies, type NetConf, readNetConf } from "./net_conf.ts";

/** What a lease file says. */
export interface LeaseFile {
  readonly conf: NetConf;
  /** One lease for each node, in the order of the file; `node` is always set. */
  readonly leases: readonly Lease[];
}

/** What differs between the families. */
const ROWS = [
  {
    family: 4,
    conf: { enable: "EnableIPv4", network: "Network" },
    lease: { subnet: "subnet", publicIp: "publicIp", data: "backendData" },
    member: { subnet: "subnet", publicIp: "publicIP", data: "backendData" },
    parse: { subnet: parseCidr4, publicIp: parseIp4 },
  },
  {
    family: 6,
    conf: { enable: "EnableIPv6", network: "IPv6Network" },
    lease: { subnet: "subnet6", publicIp: "publicIp6", data: "backendV6Data" },
    member: { subnet: "ipv6Subnet", publicIp: "publicIPv6", data: "backendV6Data" },
    parse: { subnet: parseCidr6, publicIp: parseIp6 },
  },
] as const;

const FILE_MEMBERS = ["config", "nodes"];
const NODE_MEMBERS = ["name", ...ROWS.flatMap((row) => Object.values(row.member))];

/**
 * Reads a lease file's document. Unlike everything that comes from flannel, names are exact and
 * unknown ones are an error: a misspelt `publicIP` would otherwise be a node that nobody reaches.
 * Where the backend is vxlan and a node's data has no MAC address, it is derived from the subnet.
 *
 * @throws {SyntaxError} naming the member, when the document is not a lease file, or when two
 *   nodes have the same name or address, or subnets that overlap.
 */
export function readLeaseFile(document: Json): LeaseFile {
  const fields = Fields.document(document);
  onlyKnown(fields, FILE_MEMBERS);
  const config = fields.fields("config");
  if (config === undefined) {
    throw new SyntaxError("config is missing: want a network configuration");
  }
  const conf = readNetConf(config);
  for (const { family, conf: names } of ROWS) {
    if (conf.families[family].enabled && conf.families[family].network === undefined) {
      throw new SyntaxError(`config.${names.network} is missing, but ${names.enable} is true`);
    }
  }
  if (enabledFamilies(conf).length === 0) {
    throw new SyntaxError("config: neither EnableIPv4 nor EnableIPv6 is true");
  }
  const nodes = fields.objects("nodes") ?? [];
  const leases = nodes.map((node) => readNode(node, conf));
  refuseConflicts(leases);
  return { conf, leases };
}

/**
 * This node's lease: by its name if that is known, else by the address that peers would use.
 *
 * @returns undefined when the file does not have it.
 */
export function findOwnLease(
  file: LeaseFile,
  self: { readonly node?: string | undefined; readonly addresses: readonly Ip[] },
): Lease | undefined {
  if (self.node !== undefined) return file.leases.find((lease) => lease.node === self.node);
  return file.leases.find(({ publicIp, publicIp6 }) =>
    self.addresses.some((ip) => ip === publicIp || ip === publicIp6)
  );
}

function readNode(fields: Fields, conf: NetConf): Lease {
  onlyKnown(fields, NODE_MEMBERS);
  const node = fields.string("name");
  if (node === undefined || node === "") {
    throw new SyntaxError(`${fields.pathOf("name")} is missing`);
  }
  const lease: Record<string, unknown> = { node, backendType: conf.backend.type };
  for (const row of ROWS) {
    const { enabled, network } = conf.families[row.family];
    const subnet = parsed<Cidr>(fields, row.member.subnet, row.parse.subnet);
    const publicIp = parsed<Ip>(fields, row.member.publicIp, row.parse.publicIp);
    if (publicIp !== undefined) lease[row.lease.publicIp] = publicIp;
    if (subnet === undefined) continue;
    const path = fields.pathOf(row.member.subnet);
    if (!enabled) {
      throw new SyntaxError(`${path} is set, but config.${row.conf.enable} is not true`);
    }
    if (network === undefined || !within(network, subnet)) {
      throw new SyntaxError(`${path}: ${subnet} is not in ${row.conf.network} ${network}`);
    }
    if (publicIp === undefined) {
      throw new SyntaxError(
        `${fields.pathOf(row.member.publicIp)} is missing, but needed for ${subnet}`,
      );
    }
    lease[row.lease.subnet] = subnet;
    const data = fields.raw(row.member.data);
    const full = conf.backend.type === "vxlan"
      ? vxlanData(data, conf, derivedVtepMac(subnet), fields.pathOf(row.member.data))
      : data;
    if (full !== undefined) lease[row.lease.data] = full;
  }
  if (ROWS.every((row) => lease[row.lease.subnet] === undefined)) {
    throw new SyntaxError(`${fields.pathOf("subnet")} is missing: node ${node} has no subnet`);
  }
  return lease as unknown as Lease;
}

function within(network: Cidr, subnet: Cidr): boolean {
  return lengthOf(network) <= lengthOf(subnet) && contains(network, addressOf(subnet));
}

/** The data of a VTEP, with what is missing filled in: as flannel writes it, VNI first. */
function vxlanData(data: Json | undefined, conf: NetConf, mac: string, path: string): Json {
  if (data !== undefined && !(data instanceof JsonObject)) {
    throw new SyntaxError(`${path}: want an object like {"VtepMAC": "${mac}"}`);
  }
  const given = new Fields(data ?? new JsonObject([]), path);
  const vni = new Fields(conf.backend.raw, "config.Backend").unsigned("VNI") ?? 1;
  return new JsonObject([
    ...(given.has("VNI") ? [] : [["VNI", vni] as const]),
    ...given.source.members,
    ...(given.has("VtepMAC") ? [] : [["VtepMAC", mac] as const]),
  ]);
}

/** No two nodes may claim the same thing. */
function refuseConflicts(leases: readonly Lease[]): void {
  unique(leases, (lease) => lease.node, (a) => `two nodes have the name ${a.node}`);
  for (const { lease, member } of ROWS) {
    const both = (a: Lease, b: Lease): string => `nodes ${a.node} and ${b.node} have`;
    const address = (a: Lease, b: Lease): string =>
      `${both(a, b)} the same ${member.publicIp} ${a[lease.publicIp]}`;
    unique(leases, (node) => node[lease.publicIp], address);
    const sorted = leases.flatMap((node) => {
      const subnet: Cidr | undefined = node[lease.subnet];
      return subnet === undefined ? [] : [{ node, subnet, ...bounds(subnet) }];
    }).sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : a.last > b.last ? -1 : 1));
    for (const [i, b] of sorted.entries()) {
      // Networks are nested or apart: of all that begin before this one, the nearest tells.
      const a = sorted[i - 1];
      if (a === undefined || !overlaps(a.subnet, b.subnet)) continue;
      throw new SyntaxError(
        `${both(a.node, b.node)} overlapping subnets ${a.subnet} and ${b.subnet}`,
      );
    }
    // After the subnets: the same subnet would be the same derived MAC, and the worse news.
    unique(leases, (node) => macOf(node[lease.data]), (a, b) => {
      const mac = macOf(a[lease.data]);
      return `${both(a, b)} the same VtepMAC ${mac}; set ${member.data}.VtepMAC of one of them`;
    });
  }
}

function unique(
  leases: readonly Lease[],
  keyOf: (lease: Lease) => string | undefined,
  words: (a: Lease, b: Lease) => string,
): void {
  const seen = new Map<string, Lease>();
  for (const lease of leases) {
    const key = keyOf(lease);
    const before = key === undefined ? undefined : seen.get(key);
    if (before !== undefined) throw new SyntaxError(words(before, lease));
    if (key !== undefined) seen.set(key, lease);
  }
}

function macOf(data: Json | undefined): string | undefined {
  if (!(data instanceof JsonObject)) return undefined;
  return new Fields(data, "backendData").string("VtepMAC")?.toLowerCase();
}

function onlyKnown(fields: Fields, known: readonly string[]): void {
  for (const [key] of fields.source.members) {
    if (known.includes(key)) continue;
    const meant = known.find((name) => name.toLowerCase() === key.toLowerCase());
    const hint = meant === undefined ? `known are ${known.join(", ")}` : `did you mean ${meant}`;
    throw new SyntaxError(`unknown key ${fields.pathOf(key)}; ${hint}`);
  }
}

function parsed<T>(fields: Fields, name: string, parse: (text: string) => T): T | undefined {
  const text = fields.string(name);
  if (text === undefined) return undefined;
  try {
    return parse(text);
  } catch (cause) {
    throw new SyntaxError(`${fields.pathOf(name)}: ${(cause as Error).message}`, { cause });
  }
}
