/**
 * The subnet file, `/run/flannel/subnet.env`: how the daemon tells the plugin which subnet this
 * node has, and how it remembers that subnet over a restart. Flannel's daemon and plugin read and
 * write the same file, so its form is fixed: `KEY=value` lines, no quotes, a set order.
 *
 * @module
 */

import {
  type Cidr4,
  type Cidr6,
  type Family,
  familyOf,
  type Inet,
  networkOf,
  parseInet,
} from "./ip.ts";

/** What a subnet file says. At least one family has both networks and a subnet. */
export interface SubnetEnv {
  /** IPv4 networks of the whole cluster; one, unless several are listed. */
  readonly networks: readonly Cidr4[];
  /** This node's IPv4 subnet, as the first address in it: `10.244.1.1/24`. */
  readonly subnet?: Inet;
  /** IPv6 networks of the whole cluster. */
  readonly networks6: readonly Cidr6[];
  /** This node's IPv6 subnet, as the first address in it. */
  readonly subnet6?: Inet;
  /** What a pod interface may carry, bytes. */
  readonly mtu: number;
  /** The daemon masquerades, so the plugin must not. */
  readonly ipMasq: boolean;
}

/** The two families are two rows; the order of all lines is {@link formatSubnetEnv}'s. */
const ROWS = [
  { family: 4, network: "FLANNEL_NETWORK", subnet: "FLANNEL_SUBNET" },
  { family: 6, network: "FLANNEL_IPV6_NETWORK", subnet: "FLANNEL_IPV6_SUBNET" },
] as const;
const MTU = "FLANNEL_MTU";
const IP_MASQ = "FLANNEL_IPMASQ";
const KNOWN: ReadonlySet<string> = new Set([
  ...ROWS.flatMap((row) => [row.network, row.subnet]),
  MTU,
  IP_MASQ,
]);

/**
 * Reads a subnet file the way the plugin does: known keys only, the last of several wins, network
 * lists separated by commas with duplicates dropped, `FLANNEL_IPMASQ` true only for `true`.
 *
 * @param path named in the errors.
 * @throws {SyntaxError} when a value cannot be read, or when a network, a subnet, the MTU or the
 *   masquerade flag is missing: `<path> is missing FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU`.
 */
export function parseSubnetEnv(text: string, path: string): SubnetEnv {
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const equals = line.indexOf("=");
    const key = equals < 0 ? line : line.slice(0, equals);
    if (!KNOWN.has(key)) continue;
    if (equals < 0) throw new SyntaxError(`${path}: ${key} has no value, want ${key}=…`);
    values.set(key, line.slice(equals + 1));
  }
  const lacks = (...keys: string[]): string[] => keys.some((key) => values.has(key)) ? [] : keys;
  const missing = [
    ...lacks(...ROWS.map((row) => row.network)),
    ...lacks(...ROWS.map((row) => row.subnet)),
    ...lacks(MTU),
    ...lacks(IP_MASQ),
  ];
  if (missing.length > 0) throw new SyntaxError(`${path} is missing ${missing.join(", ")}`);
  const read = <T>(key: string, reader: (value: string) => T): T | undefined => {
    const value = values.get(key);
    if (value === undefined) return undefined;
    try {
      return reader(value);
    } catch (cause) {
      throw new SyntaxError(`${path}: ${key}: ${(cause as Error).message}`, { cause });
    }
  };
  const [v4, v6] = ROWS.map(({ family, network, subnet }) => ({
    networks: read(network, (value) => unique(value.split(",").map((one) => net(one, family)))),
    subnet: read(subnet, (value) => inet(value, family)),
  }));
  return {
    networks: (v4?.networks ?? []) as Cidr4[],
    ...(v4?.subnet && { subnet: v4.subnet }),
    networks6: (v6?.networks ?? []) as Cidr6[],
    ...(v6?.subnet && { subnet6: v6.subnet }),
    mtu: read(MTU, mtu) ?? 0,
    ipMasq: values.get(IP_MASQ) === "true",
  };
}

/** The text of a subnet file, byte for byte as flannel writes it for these values. */
export function formatSubnetEnv(env: SubnetEnv): string {
  const lines: string[] = [];
  for (const { family, network, subnet } of ROWS) {
    const networks = family === 4 ? env.networks : env.networks6;
    const own = family === 4 ? env.subnet : env.subnet6;
    if (networks.length > 0) lines.push(`${network}=${networks.join(",")}`);
    if (own !== undefined) lines.push(`${subnet}=${own}`);
  }
  lines.push(`${MTU}=${env.mtu}`, `${IP_MASQ}=${env.ipMasq}`, "");
  return lines.join("\n");
}

/** What the daemon can still use of the subnet file of its last run, complete or not. */
export interface PreviousEnv {
  /** The cluster networks of the last run. */
  readonly networks: readonly Cidr4[];
  readonly networks6: readonly Cidr6[];
  /** The subnet this node had; absent when the file named none, or more than one. */
  readonly subnet?: Cidr4;
  readonly subnet6?: Cidr6;
  /** What could not be used, one sentence each, for the log. */
  readonly notes: readonly string[];
}

/**
 * Reads a subnet file as memory: an element that cannot be read is left out and noted, nothing is
 * an error. A value may stand in quotes and a line may begin with `export`, as in any dotenv file.
 */
export function readPreviousEnv(text: string): PreviousEnv {
  const notes: string[] = [];
  const values = new Map<string, string>();
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?(\w+)\s*[=:]\s*(["']?)(.*?)\2\s*(?:\s#.*)?$/.exec(line);
    if (match !== null) values.set(match[1]!, match[3]!);
  }
  const list = (key: string, family: Family): (Cidr4 | Cidr6)[] => {
    const out: (Cidr4 | Cidr6)[] = [];
    for (const one of (values.get(key) ?? "").split(",").map((part) => part.trim())) {
      if (one === "") continue;
      try {
        out.push(net(one, family));
      } catch (e) {
        notes.push(`${key}: ${(e as Error).message}`);
      }
    }
    return unique(out);
  };
  const [v4, v6] = ROWS.map(({ family, network, subnet }) => {
    const own = list(subnet, family);
    if (own.length > 1) notes.push(`${subnet}: more than one entry, none is used`);
    return { networks: list(network, family), subnet: own.length === 1 ? own[0] : undefined };
  });
  return {
    networks: (v4?.networks ?? []) as Cidr4[],
    networks6: (v6?.networks ?? []) as Cidr6[],
    ...(v4?.subnet && { subnet: v4.subnet as Cidr4 }),
    ...(v6?.subnet && { subnet6: v6.subnet as Cidr6 }),
    notes,
  };
}

function inet(text: string, family: Family): Inet {
  const value = parseInet(text);
  if (familyOf(value) !== family) {
    throw new SyntaxError(`invalid IPv${family} network ${JSON.stringify(text)}`);
  }
  return value;
}

function net(text: string, family: Family): Cidr4 | Cidr6 {
  return networkOf(inet(text, family));
}

function mtu(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 0xffffffff) {
    throw new SyntaxError(`want an unsigned integer, got ${JSON.stringify(text)}`);
  }
  return value;
}

function unique<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
