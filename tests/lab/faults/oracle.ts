/**
 * The judge of the fault run: what a node's kernel should hold, worked out from what `etcdctl`
 * prints, and what it does hold, as `ip`, `bridge` and `nft` print it. Both are lines of text, and
 * both are made here in the simplest way: nothing of the product is used, so that a mistake of its
 * codec, planner or store cannot hide itself.
 *
 * @module
 */

import type { Etcd } from "../etcd.ts";
import type { Node } from "../node.ts";

/** One node's lease, as the store tells it. */
export interface Lease {
  /** `10.244.7.0/24` */
  readonly subnet: string;
  readonly publicIp: string;
  readonly mac: string;
}

const FOLDER = "/coreos.com/network/subnets/";
const NETWORK = "10.244.0.0/16";

/** The key of a lease. */
export function keyOf(subnet: string): string {
  return FOLDER + subnet.replace("/", "-");
}

/** The value of a lease, as flannel writes it. */
export function valueOf({ publicIp, mac }: Lease): string {
  const data = `{"VNI":1,"VtepMAC":"${mac}"}`;
  return `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":${data}}`;
}

interface Listing {
  readonly header: { readonly revision: number };
  readonly kvs?: readonly { readonly key: string; readonly value: string }[];
}

/**
 * All leases in the store, by the name of their key. A record that is no lease is to be ignored: a
 * node that had one before keeps it.
 */
export async function readLeases(
  etcd: Etcd,
  before: ReadonlyMap<string, Lease> = new Map(),
): Promise<Map<string, Lease>> {
  const { kvs = [] } = JSON.parse(
    await etcd.must("get", "--prefix", FOLDER, "-w", "json"),
  ) as Listing;
  const leases = new Map<string, Lease>();
  for (const { key, value } of kvs) {
    const name = /^(\d+\.\d+\.\d+\.0)-24$/.exec(atob(key).slice(FOLDER.length))?.[1];
    if (name === undefined || name.split(".").some((part) => Number(part) > 255)) continue;
    const lease = readLease(`${name}/24`, atob(value)) ?? before.get(name);
    if (lease !== undefined) leases.set(name, lease);
  }
  return leases;
}

function readLease(subnet: string, value: string): Lease | undefined {
  try {
    const { PublicIP: publicIp, BackendType, BackendData } = JSON.parse(value);
    const mac = BackendData.VtepMAC;
    const good = BackendType === "vxlan" && /^(?:[\da-f]{2}:){5}[\da-f]{2}$/.test(mac);
    return good ? { subnet, publicIp, mac } : undefined;
  } catch {
    // No JSON, or none with these members: no lease.
    return undefined;
  }
}

/** The revision of the store: what a compaction needs. */
export async function readRevision(etcd: Etcd): Promise<number> {
  return (JSON.parse(await etcd.must("get", "none", "-w", "json")) as Listing).header.revision;
}

/** The lines that a node's overlay comes to. Without an own lease there is nothing to say. */
export function overlayLines(leases: Iterable<Lease>, node: Node, mtu: number): string[] {
  const all = [...leases];
  const own = all.find(({ publicIp }) => publicIp === node.address);
  if (own === undefined) return ["no lease of this node in the store"];
  const base = (subnet: string): string => subnet.split("/", 1)[0] as string;
  const peers = all.filter((lease) => lease !== own);
  return [
    `link flannel.1 vxlan id 1 port 8472 local ${node.address} dev eth0 mtu ${mtu - 50} ` +
    `mac ${own.mac} up`,
    `address ${base(own.subnet)}/32 dev flannel.1`,
    ...peers.flatMap(({ subnet, publicIp, mac }) => [
      `route ${subnet} via ${base(subnet)} dev flannel.1 onlink proto 146`,
      `neighbour ${base(subnet)} is ${mac}`,
      `fdb ${mac} at ${publicIp}`,
    ]),
    ...ruleLines(own.subnet),
  ];
}

/** flannel's rules, as our own table has them. */
function ruleLines(subnet: string): string[] {
  const rules = (chain: string, words: readonly string[]): string[] =>
    words.map((rule, i) => `${chain} rule ${i + 1}: ${rule}`);
  return [
    "chain forward filter forward",
    ...rules("forward", [`saddr == ${NETWORK} accept`, `daddr == ${NETWORK} accept`]),
    "chain postrouting nat postrouting",
    ...rules("postrouting", [
      "mark & 16384 return",
      `saddr == ${subnet} daddr == ${NETWORK} return`,
      `saddr == ${NETWORK} daddr == ${subnet} return`,
      `saddr != ${NETWORK} daddr == ${subnet} return`,
      `saddr == ${NETWORK} daddr != 224.0.0.0/4 masquerade fully-random`,
      `saddr != ${NETWORK} daddr == ${NETWORK} masquerade fully-random`,
    ]),
  ];
}

// One shell for all of it: a look should take less time than what it looks for. Where there is no
// device or table the tools fail, and nothing is what they then show.
const LOOK = `
ip -j -4 route show table main
echo ,
ip -d -j address
echo ,
ip -j -4 neighbour show dev flannel.1 nud permanent 2>/dev/null || echo '[]'
echo ,
bridge -j fdb show dev flannel.1 2>/dev/null || echo '[]'
echo ,
nft -j list ruleset
`;

type Row = Readonly<Record<string, unknown>>;

/** What a node's kernel holds: everything in {@link overlayLines}, and whatever else is there. */
export async function kernelLines(node: Node): Promise<string[]> {
  const stdout = await node.must(["sh", "-c", LOOK]);
  // Some versions print nothing for an empty list.
  const text = `[${stdout}]`.replaceAll(/,\s*(?=[,\]])/g, ",[]").replace(/^\[\s*,/, "[[],");
  const [routes, devices, neighbours, fdb, rules] = JSON.parse(text) as [
    Row[],
    Row[],
    Row[],
    Row[],
    { readonly nftables: readonly Row[] },
  ];
  return [
    ...routes.map(routeLine),
    ...devices.flatMap(deviceLines),
    ...neighbours.map(({ dst, lladdr }) => `neighbour ${dst} is ${lladdr}`),
    ...fdb.filter(({ state }) => state === "permanent").map(({ mac, dst }) =>
      `fdb ${mac} at ${dst}`
    ),
    ...tableLines(rules.nftables),
  ];
}

function routeLine({ type, dst, gateway, dev, flags, protocol, metric }: Row): string {
  const words = [
    `route ${type === undefined ? "" : `${type} `}${dst}`,
    gateway === undefined ? "" : `via ${gateway}`,
    dev === undefined ? "" : `dev ${dev}`,
    (flags as string[]).includes("onlink") ? "onlink" : "",
    metric === undefined ? "" : `metric ${metric}`,
    `proto ${protocol ?? "boot"}`,
  ];
  return words.filter((word) => word !== "").join(" ");
}

function deviceLines(device: Row): string[] {
  const { ifname, mtu, address, flags, link, linkinfo, addr_info } = device;
  const { info_kind, info_data } = (linkinfo ?? {}) as { info_kind?: string; info_data?: Row };
  const state = (flags as string[]).includes("UP") ? "up" : "down";
  const addresses = (addr_info as Row[])
    .filter(({ family }) => family === "inet")
    .map(({ local, prefixlen }) => `address ${local}/${prefixlen} dev ${ifname}`);
  if (info_kind !== "vxlan" || info_data === undefined) {
    return [`link ${ifname} ${info_kind ?? "?"} mtu ${mtu} ${state}`, ...addresses];
  }
  const { id, port, local, learning } = info_data;
  const learns = learning === true ? " learning" : "";
  return [
    `link ${ifname} vxlan id ${id} port ${port} local ${local} dev ${info_data.link ?? link}` +
    ` mtu ${mtu} mac ${address}${learns} ${state}`,
    ...addresses,
  ];
}

/** Our own table rule by rule; of the others only that they are there. */
function tableLines(objects: readonly Row[]): string[] {
  const lines: string[] = [];
  for (const { table, chain, rule } of objects as Record<string, Row | undefined>[]) {
    if (table !== undefined && table.name !== "twill") {
      lines.push(`table ${table.family} ${table.name}`);
    }
    if (chain?.table === "twill") lines.push(`chain ${chain.name} ${chain.type} ${chain.hook}`);
    if (rule?.table === "twill") {
      const before = lines.filter((line) => line.startsWith(`${rule.chain} rule`)).length;
      lines.push(`${rule.chain} rule ${before + 1}: ${ruleWords(rule.expr as Row[])}`);
    }
  }
  return lines;
}

function ruleWords(expressions: readonly Row[]): string {
  return expressions.flatMap((expression) =>
    Object.entries(expression).map(([name, value]) => {
      switch (name) {
        case "match":
          return matchWords(value as Row);
        case "masquerade":
          return `masquerade ${((value ?? {}) as Row).flags ?? ""}`.trim();
        case "counter":
          return "";
        default:
          return name;
      }
    })
  ).filter((word) => word !== "").join(" ");
}

function matchWords({ op, left, right }: Row): string {
  const { payload } = left as { payload?: { field: string } };
  if (payload === undefined) {
    const bits = JSON.stringify(left).match(/"key":"mark"\}\},(\d+)/)?.[1];
    return bits === undefined ? JSON.stringify({ op, left, right }) : `mark & ${bits}`;
  }
  const { prefix } = right as { prefix?: { addr: string; len: number } };
  return `${payload.field} ${op} ${prefix === undefined ? right : `${prefix.addr}/${prefix.len}`}`;
}

/** How two sets of lines differ: `- missing`, `+ superfluous`; empty when they do not. */
export function difference(want: readonly string[], have: readonly string[]): string[] {
  const [wanted, held] = [new Set(want), new Set(have)];
  return [
    ...[...wanted].filter((line) => !held.has(line)).map((line) => `- ${line}`),
    ...[...held].filter((line) => !wanted.has(line)).map((line) => `+ ${line}`),
  ];
}
