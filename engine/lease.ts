/**
 * Leases: which subnet belongs to which node, and how its backend reaches it. Here are also the
 * two texts by which flannel keeps a lease in etcd, byte for byte, so that both programs can share
 * one store: the key is the subnet, the value tells the rest.
 *
 * @module
 */

import {
  addressOf,
  type Cidr,
  type Cidr4,
  type Cidr6,
  type Ip4,
  type Ip6,
  ipNumber,
  lengthOf,
  parseCidr4,
  parseCidr6,
  parseIp4,
  parseIp6,
} from "./ip.ts";
import { Fields, type Json, jsonObject, parseJson, stringifyJson } from "./json.ts";

/** What a node tells its peers about itself. What a backend publishes stays raw here. */
export interface LeaseRecord {
  /** Where peers send packets for the IPv4 subnet. */
  readonly publicIp?: Ip4;
  /** Where peers send packets for the IPv6 subnet. */
  readonly publicIp6?: Ip6;
  /** `vxlan`, `host-gw`, …; empty for backends that publish none, and in a bare reservation. */
  readonly backendType: string;
  /** What the backend publishes for IPv4; its own module reads it. */
  readonly backendData?: Json;
  /** What the backend publishes for IPv6. */
  readonly backendV6Data?: Json;
}

/** The pod subnets of one node. At least one of them is present. */
export interface LeaseSubnets {
  /** Pod subnet, IPv4. */
  readonly subnet?: Cidr4;
  /** Pod subnet, IPv6. */
  readonly subnet6?: Cidr6;
}

/** One node's lease, as every store tells it. */
export interface Lease extends LeaseSubnets, LeaseRecord {
  /** The node's name, where the store knows it. */
  readonly node?: string;
}

/** The subnets of a lease, IPv4 first. */
export function leaseSubnets(lease: LeaseSubnets): Cidr[] {
  return [lease.subnet, lease.subnet6].filter((subnet) => subnet !== undefined);
}

/** Stands for the IPv4 subnet in the key of a lease that has none. */
const NO_SUBNET = "0.0.0.0-0";
/** Stands for the IPv4 address in the value of a lease that has none. */
const NO_ADDRESS = "0.0.0.0" as Ip4;

/**
 * The name of a lease below `<prefix>/subnets/`: `10.5.34.0-24`, or `10.5.34.0-24&fc00::-64` with
 * both families.
 *
 * @throws {TypeError} when the lease has no subnet.
 */
export function leaseKey(lease: LeaseSubnets): string {
  const { subnet, subnet6 } = lease;
  if (subnet === undefined && subnet6 === undefined) throw new TypeError("lease has no subnet");
  const name = (cidr: Cidr): string => `${addressOf(cidr)}-${lengthOf(cidr)}`;
  const first = subnet === undefined ? NO_SUBNET : name(subnet);
  return subnet6 === undefined ? first : `${first}&${name(subnet6)}`;
}

const KEY = /^(?<ip>[\d.]+)-(?<length>\d+)(?:&(?<ip6>[a-f\d:]+)-(?<length6>\d+))?$/;

/**
 * Reads a lease's name, the part of its etcd key behind `<prefix>/subnets/`. As in flannel, an
 * IPv4 length is below 32 and an IPv6 length below 128.
 *
 * @throws {SyntaxError} when the name is no lease's, or a subnet has host bits set.
 */
export function parseLeaseKey(name: string): LeaseSubnets {
  const parts = KEY.exec(name)?.groups;
  if (parts === undefined) throw new SyntaxError(`no lease key: ${JSON.stringify(name)}`);
  const { ip, length, ip6, length6 } = parts;
  if (Number(length) > 31 || Number(length6 ?? 0) > 127) {
    throw new SyntaxError(`prefix length of a lease key is too large: ${JSON.stringify(name)}`);
  }
  const subnet = `${ip}-${length}` === NO_SUBNET ? undefined : parseCidr4(`${ip}/${length}`);
  const subnet6 = ip6 === undefined ? undefined : parseCidr6(`${ip6}/${length6}`);
  if (subnet === undefined && subnet6 === undefined) {
    throw new SyntaxError(`lease key names no subnet: ${JSON.stringify(name)}`);
  }
  return { ...(subnet && { subnet }), ...(subnet6 && { subnet6 }) };
}

/**
 * The value of a lease in etcd, in flannel's order of members. `PublicIPv6` is always there, as
 * `null` if need be; an empty backend type and absent data are not.
 *
 * ```ts
 * import { leaseValue } from "./lease.ts";
 * import { parseIp4 } from "./ip.ts";
 *
 * const text = leaseValue({ publicIp: parseIp4("10.0.0.7"), backendType: "host-gw" });
 * if (text !== '{"PublicIP":"10.0.0.7","PublicIPv6":null,"BackendType":"host-gw"}') {
 *   throw new Error(text);
 * }
 * ```
 */
export function leaseValue(record: LeaseRecord): string {
  const { publicIp, publicIp6, backendType, backendData, backendV6Data } = record;
  return goJson(jsonObject({
    PublicIP: publicIp ?? NO_ADDRESS,
    PublicIPv6: publicIp6 ?? null,
    BackendType: backendType === "" ? undefined : backendType,
    BackendData: backendData,
    BackendV6Data: backendV6Data,
  }));
}

/**
 * Reads a lease's value. Members match in any case, unknown ones are ignored, and all may be
 * missing: a reservation says no more than `{"PublicIP":"10.0.0.7"}`.
 *
 * @throws {SyntaxError} when the text is no JSON object, or a member has a bad value.
 */
export function parseLeaseValue(text: string): LeaseRecord {
  const fields = Fields.document(parseJson(text));
  const publicIp = readAddress(fields, "PublicIP", parseIp4);
  const publicIp6 = readAddress(fields, "PublicIPv6", parseIp6);
  const backendData = readData(fields, "BackendData");
  const backendV6Data = readData(fields, "BackendV6Data");
  return {
    ...(publicIp && { publicIp }),
    ...(publicIp6 && { publicIp6 }),
    backendType: fields.string("BackendType") ?? "",
    ...(backendData !== undefined && { backendData }),
    ...(backendV6Data !== undefined && { backendV6Data }),
  };
}

/** An address; the all-zero one means none. */
function readAddress<T extends Ip4 | Ip6>(
  fields: Fields,
  name: string,
  parse: (text: string) => T,
): T | undefined {
  const text = fields.string(name);
  if (text === undefined) return undefined;
  try {
    const ip = parse(text);
    return ipNumber(ip) === 0n ? undefined : ip;
  } catch (cause) {
    throw new SyntaxError(`${name}: ${(cause as Error).message}`, { cause });
  }
}

/** Any JSON; here `null` is a value, because flannel writes it back as it was. */
function readData(fields: Fields, name: string): Json | undefined {
  return fields.raw(name) ?? (fields.has(name) ? null : undefined);
}

/** JSON as Go's encoder writes it: five characters are escapes, which outside strings JSON has not. */
export function goJson(json: Json): string {
  return stringifyJson(json).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
