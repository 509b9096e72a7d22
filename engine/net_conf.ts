/**
 * The network configuration that all nodes share: flannel's `net-conf.json`, whether it stands in
 * a file, in etcd, or in a static lease file.
 *
 * Reading and judging are two steps, because they differ by store. {@link parseNetConf} reads;
 * {@link validateForLeases} computes what nodes may lease, which only matters where nodes choose
 * their own subnets. Where somebody else hands subnets out, the limits are not even looked at.
 *
 * @module
 */

import type { AllocRange } from "./allocate.ts";
import { ErrorCode, OpError } from "./errors.ts";
import {
  addressOf,
  bounds,
  type Cidr,
  type Cidr4,
  type Cidr6,
  cidrOf,
  contains,
  FAMILIES,
  type Family,
  familyOf,
  type Ip,
  type Ip4,
  type Ip6,
  ipFromNumber,
  ipNumber,
  lengthOf,
  networkOf,
  parseInet,
  parseIp,
} from "./ip.ts";
import { Fields, type Json, JsonObject, jsonObject, parseJson, stringifyJson } from "./json.ts";

/** What the configuration says about one address family. */
export interface FamilyConf<C extends Cidr = Cidr, A extends Ip = Ip> {
  /** `EnableIPv4` (true unless set) or `EnableIPv6` (false unless set). */
  readonly enabled: boolean;
  /** All pods of the cluster. Absent when not set, which `0.0.0.0/0` and `::/0` also mean. */
  readonly network?: C;
  /** Prefix length of one node's subnet. */
  readonly subnetLen?: number;
  /** The first subnet that a node may have. */
  readonly subnetMin?: A;
  /** The last subnet that a node may have. */
  readonly subnetMax?: A;
}

/** The `Backend` section. */
export interface BackendConf {
  /** `Type` in lower case; the empty text when the section names none. */
  readonly type: string;
  /** The whole section as written: the backend's own module reads the rest of it. */
  readonly raw: JsonObject;
}

/** A network configuration. */
export interface NetConf {
  readonly families: {
    readonly 4: FamilyConf<Cidr4, Ip4>;
    readonly 6: FamilyConf<Cidr6, Ip6>;
  };
  /** `EnableNFTables`; absent when the configuration leaves the choice to us. */
  readonly nftables?: boolean;
  readonly backend: BackendConf;
}

/** The backends that flannel registers on Linux. */
export const FLANNEL_BACKENDS = [
  "vxlan",
  "host-gw",
  "wireguard",
  "ipip",
  "udp",
  "ipsec",
  "alloc",
  "extension",
  "tencent-vpc",
] as const;

/** What a cloud's own routes need beside them. */
const CLOUD = {
  reason: "routes of a cloud are made by its route controller",
  instead:
    "Let the cloud controller manager make them (--configure-cloud-routes) and set Backend.Type " +
    "to alloc; or set it to vxlan, which needs nothing of the cloud",
} as const;

/** Backends, also of older versions of flannel, that will not come, and what to use instead. */
const REFUSED: Readonly<Record<string, { readonly reason: string; readonly instead: string }>> = {
  ipsec: {
    reason: "it needs a second daemon, strongSwan, for what the kernel's WireGuard does alone",
    instead: "Set Backend.Type to wireguard, which encrypts too; all nodes change together",
  },
  "tencent-vpc": CLOUD,
  "ali-vpc": CLOUD,
  "aws-vpc": CLOUD,
  gce: CLOUD,
};

/** What differs between the families: names of members, limits, and words of messages. */
const ROWS = {
  4: {
    enable: { name: "EnableIPv4", otherwise: true },
    network: "Network",
    prefix: "",
    tooSmall: "network",
    /** A node's subnet, when the configuration leaves room for it. */
    usual: 24,
  },
  6: {
    enable: { name: "EnableIPv6", otherwise: false },
    network: "IPv6Network",
    prefix: "IPv6",
    tooSmall: "IPv6Network",
    usual: 64,
  },
} as const;

/**
 * Reads a network configuration as flannel does: names in any case, unknown members ignored,
 * types strict, `Network` masked to its base. Unlike flannel, it refuses a missing `Backend`
 * (flannel would take `udp`) and an IPv4 network as `IPv6Network`.
 *
 * @throws {SyntaxError} naming the member, when the text is no JSON or a member has a bad value.
 */
export function parseNetConf(text: string): NetConf {
  return readNetConf(Fields.document(parseJson(text)));
}

/** {@link parseNetConf} for a document that was read already. @throws {SyntaxError} */
export function readNetConf(fields: Fields): NetConf {
  const nftables = fields.boolean("EnableNFTables");
  return {
    families: {
      4: readFamily(fields, 4) as FamilyConf<Cidr4, Ip4>,
      6: readFamily(fields, 6) as FamilyConf<Cidr6, Ip6>,
    },
    ...(nftables !== undefined && { nftables }),
    backend: readBackend(fields),
  };
}

/** The configuration as text that {@link parseNetConf} reads back to the same. */
export function formatNetConf(conf: NetConf): string {
  const family = (f: Family): Record<string, Json | undefined> => {
    const { enable, network, prefix } = ROWS[f];
    const { enabled, network: net, subnetLen, subnetMin, subnetMax } = conf.families[f];
    return {
      [enable.name]: enabled,
      [network]: net,
      [`${prefix}SubnetLen`]: subnetLen,
      [`${prefix}SubnetMin`]: subnetMin,
      [`${prefix}SubnetMax`]: subnetMax,
    };
  };
  return stringifyJson(jsonObject({
    ...family(4),
    ...family(6),
    EnableNFTables: conf.nftables,
    Backend: conf.backend.raw,
  }));
}

/** Stands for a pre-shared key where a configuration is shown or remembered. */
export const HIDDEN_PSK = "(secret)";

/** The configuration without its secret: the pre-shared key of an encrypting backend. */
export function withoutSecrets(conf: NetConf): NetConf {
  const members = conf.backend.raw.members.map(([name, value]): [string, Json] =>
    name.toLowerCase() === "psk" && value !== "" ? [name, HIDDEN_PSK] : [name, value]
  );
  return { ...conf, backend: { ...conf.backend, raw: new JsonObject(members) } };
}

/** The families that are switched on, 4 before 6. */
export function enabledFamilies(conf: NetConf): Family[] {
  return ([4, 6] as const).filter((family) => conf.families[family].enabled);
}

/** The subnets that nodes may lease: one range for each enabled family. */
export type LeaseRanges = Readonly<Partial<Record<Family, AllocRange>>>;

/**
 * Computes which subnets the nodes may choose from, with flannel's defaults: /24 and /64 subnets
 * where they fit, the first one left out.
 *
 * @throws {OpError} when the configuration leaves no sensible range.
 */
export function validateForLeases(conf: NetConf): LeaseRanges {
  const families = enabledFamilies(conf);
  if (families.length === 0) {
    throw unusable("neither IPv4 nor IPv6 is enabled", "Set EnableIPv4 or EnableIPv6 to true");
  }
  return Object.fromEntries(families.map((f) => [f, leaseRange(f, conf.families[f])]));
}

/**
 * Checks that a backend can be started.
 *
 * @param built the types that this program has.
 * @throws {OpError} that names the backend and those that work.
 */
export function checkBackend(backend: BackendConf, built: readonly string[]): void {
  if (built.includes(backend.type)) return;
  const other = REFUSED[backend.type];
  if (other !== undefined) {
    throw unusable(`backend ${backend.type} is not part of twill: ${other.reason}`, other.instead);
  }
  const known = FLANNEL_BACKENDS.some((type) => type === backend.type);
  throw unusable(
    known
      ? `backend ${backend.type} is not supported yet`
      : `unknown backend type: ${backend.type === "" ? '"" (Backend has no Type)' : backend.type}`,
    `Set Backend.Type to one of: ${built.join(", ")}`,
  );
}

function leaseRange(family: Family, conf: FamilyConf): AllocRange {
  const { bits } = FAMILIES[family];
  const row = ROWS[family];
  const { network } = conf;
  if (network === undefined) {
    throw unusable(`please define a correct ${row.network} parameter in the flannel config`);
  }
  const length = conf.subnetLen ?? usualLength(family, network);
  if (length > bits - 2) throw unusable(`SubnetLen must be less than /${bits - 1}`);
  if (length < lengthOf(network) + 2) {
    throw unusable("network must be able to accommodate at least four subnets");
  }
  const size = 1n << BigInt(bits - length);
  const whole = bounds(network);
  const range: AllocRange = {
    first: conf.subnetMin ?? ipFromNumber(family, whole.first + size),
    last: conf.subnetMax ?? ipFromNumber(family, whole.last + 1n - size),
    length,
  };
  const [min, max] = [`${row.prefix}SubnetMin`, `${row.prefix}SubnetMax`];
  for (const [name, ip] of [[min, range.first], [max, range.last]] as const) {
    if (!contains(network, ip)) {
      throw unusable(`${name} is not in the range of the ${row.network}`, `Choose from ${network}`);
    }
  }
  for (const [name, ip] of [[min, range.first], [max, range.last]] as const) {
    const base = addressOf(cidrOf(ip, length));
    if (base !== ip) {
      throw unusable(`${name} is not on a SubnetLen boundary: ${ip}`, `Did you mean ${base}?`);
    }
  }
  if (ipNumber(range.first) > ipNumber(range.last)) {
    throw unusable(`${min} ${range.first} lies behind ${max} ${range.last}`);
  }
  return range;
}

function usualLength(family: Family, network: Cidr): number {
  const row = ROWS[family];
  const smallest = FAMILIES[family].bits - 4;
  const length = lengthOf(network);
  if (length > smallest) {
    throw unusable(
      `${row.tooSmall} is too small. Minimum useful network prefix is /${smallest}`,
      `${row.network} is ${network}; give it more addresses`,
    );
  }
  return length <= row.usual - 2 ? row.usual : length + 2;
}

function readFamily(fields: Fields, family: Family): FamilyConf {
  const row = ROWS[family];
  const network = readAs(fields, row.network, (text) => parseNetwork(text, family));
  const subnetLen = fields.unsigned(`${row.prefix}SubnetLen`);
  const subnetMin = readAs(fields, `${row.prefix}SubnetMin`, (text) => parseLimit(text, family));
  const subnetMax = readAs(fields, `${row.prefix}SubnetMax`, (text) => parseLimit(text, family));
  return {
    enabled: fields.boolean(row.enable.name) ?? row.enable.otherwise,
    ...(network !== undefined && network !== FAMILIES[family].any && { network }),
    ...(subnetLen !== undefined && subnetLen > 0 && { subnetLen }),
    ...(subnetMin !== undefined && ipNumber(subnetMin) !== 0n && { subnetMin }),
    ...(subnetMax !== undefined && ipNumber(subnetMax) !== 0n && { subnetMax }),
  };
}

function readBackend(fields: Fields): BackendConf {
  let backend: Fields | undefined;
  let type: string | undefined;
  try {
    backend = fields.fields("Backend");
    type = backend?.string("Type");
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new SyntaxError(`error decoding Backend property of config: ${reason}`, { cause });
  }
  if (backend === undefined) {
    throw new SyntaxError('Backend is missing: want an object, for example {"Type": "vxlan"}');
  }
  return { type: (type ?? "").toLowerCase(), raw: backend.source };
}

function readAs<T>(fields: Fields, name: string, read: (text: string) => T): T | undefined {
  const text = fields.string(name);
  if (text === undefined) return undefined;
  try {
    return read(text);
  } catch (cause) {
    throw new SyntaxError(`${fields.pathOf(name)}: ${(cause as Error).message}`, { cause });
  }
}

/** The order of the two checks gives flannel's two messages. */
function parseNetwork(text: string, family: Family): Cidr {
  let inet;
  try {
    inet = parseInet(text);
  } catch {
    throw new SyntaxError(`invalid CIDR address: ${text}`);
  }
  if (familyOf(inet) !== family) {
    throw new SyntaxError(`invalid IPv${family} CIDR format: ${text}`);
  }
  return networkOf(inet);
}

function parseLimit(text: string, family: Family): Ip {
  let ip: Ip;
  try {
    ip = parseIp(text);
  } catch {
    throw new SyntaxError(`invalid IP address format: ${text}`);
  }
  if (familyOf(ip) !== family) {
    throw new SyntaxError(`invalid IPv${family} address format: ${text}`);
  }
  return ip;
}

function unusable(reason: string, advice?: string): OpError {
  return new OpError("use", "network configuration", {
    code: ErrorCode.badConfig,
    kernel: reason,
    advice,
  });
}
