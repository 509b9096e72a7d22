/**
 * A node to measure on, and a store with as many leases as a bench wants.
 *
 * @module
 */

import { until } from "../lab/command.ts";
import type { Etcd } from "../lab/etcd.ts";
import type { Lab } from "../lab/lab.ts";
import type { Node } from "../lab/node.ts";

/** The two programs. */
type Who = "flanneld" | "twill";

const FOLDER = "/coreos.com/network/subnets/";

/** A peer that is nothing but a record: number 0 to 16,000 or so. */
export function peer(i: number): Record<"key" | "value" | "subnet" | "address", string> {
  // 10.64.0.0/10, subnets of 256 addresses.
  const subnet = `10.${64 + (i >> 8)}.${i & 255}.0/24`;
  const hex = i.toString(16).padStart(4, "0");
  const mac = `02:00:00:00:${hex.slice(0, 2)}:${hex.slice(2)}`;
  const address = `172.${16 + (i >> 8) % 16}.${i & 255}.7`;
  const value = `{"PublicIP":"${address}","PublicIPv6":null,"BackendType":"vxlan",` +
    `"BackendData":{"VNI":1,"VtepMAC":"${mac}"}}`;
  return { key: FOLDER + subnet.replace("/", "-"), value, subnet, address };
}

/** As many operations as etcd takes in one transaction. */
const AT_ONCE = 120;

/** Makes the store hold exactly the first so many peers, beside the nodes' own leases. */
export async function fill(etcd: Etcd, before: number, count: number): Promise<void> {
  const lines: string[] = [];
  for (let i = before; i < count; i++) {
    const { key, value } = peer(i);
    lines.push(`put ${key} ${JSON.stringify(value)}`);
  }
  for (let i = count; i < before; i++) lines.push(`del ${peer(i).key}`);
  for (let at = 0; at < lines.length; at += AT_ONCE) {
    // No conditions, what is done, what is done otherwise: each ends with an empty line.
    const text = `\n${lines.slice(at, at + AT_ONCE).join("\n")}\n\n\n`;
    const command = etcd.command("txn");
    await etcd.space.must(command, { stdin: text, env: { ETCDCTL_API: "3" } });
  }
}

/** The routes of a node's kernel over its VTEP to whole subnets of others. */
export function countRoutes(node: Node): number {
  const text = Deno.readTextFileSync(`/proc/${node.pid}/net/route`);
  return text.split("\n").filter((line) => line.startsWith("flannel.1\t")).length;
}

/** Neighbours and forwarding entries of the VTEP. */
export async function countEntries(node: Node): Promise<readonly [number, number]> {
  const count = `ip -4 neighbour show dev flannel.1 nud permanent | wc -l
    bridge fdb show dev flannel.1 | grep -c permanent`;
  const [neighbours = 0, fdb = 0] = (await node.must(["sh", "-c", `${count} || true`]))
    .trim().split("\n").map(Number);
  return [neighbours, fdb];
}

/** Milliseconds until a state comes; Infinity after the limit. */
export async function timeUntil(
  probe: () => boolean | Promise<boolean>,
  since = performance.now(),
  limit = 120_000,
): Promise<number> {
  for (;;) {
    const at = performance.now();
    if (await probe()) return at - since;
    if (at - since > limit) return Infinity;
    await new Promise((resolve) => setTimeout(resolve, 4));
  }
}

/** One of the programs on one node. */
export class Program {
  readonly who: Who;
  readonly node: Node;
  readonly #lab: Lab;

  constructor(who: Who, lab: Lab) {
    this.who = who;
    this.#lab = lab;
    this.node = lab.node(who);
  }

  /** Starts it; nothing is waited for. */
  async start(): Promise<void> {
    const { flags } = this.#lab;
    const program = { flanneld: ["flanneld"], twill: ["twill", "daemon"] } as const;
    await this.node.startDaemon({ flags, program: program[this.who] });
  }

  /** Stops it, and takes away what it made. */
  async reset(): Promise<void> {
    await this.node.daemon?.stop("SIGTERM");
    await this.node.exec(["ip", "link", "delete", "flannel.1"]);
    await this.node.exec(["nft", "flush", "ruleset"]);
    // Not who the node is: by that it gets its lease back.
    const files = ["/run/flannel/subnet.env", "/var/lib/twill/snapshot.json"];
    await this.node.exec(["rm", "-f", ...files]);
  }

  /** Waits until it is at rest with so many peers. */
  async settled(peers: number): Promise<void> {
    await until(`${this.who} has ${peers} peers`, () => countRoutes(this.node) === peers, {
      seconds: 60,
      every: 50,
      explain: () => this.node.daemon?.tail() ?? "",
    });
    const [neighbours, fdb] = await countEntries(this.node);
    if (neighbours !== peers || fdb !== peers) {
      throw new Error(`${this.who}: ${peers} routes, ${neighbours} neighbours, ${fdb} fdb`);
    }
    await this.node.ready();
  }

  /** A number of `/proc/PID/status`, MiB. */
  memory(field: "VmRSS" | "RssAnon" | "VmHWM"): number {
    const text = Deno.readTextFileSync(`/proc/${this.#pid}/status`);
    return Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? NaN) / 1024;
  }

  /** Processor time used until now, s. */
  processor(): number {
    const [, rest = ""] = Deno.readTextFileSync(`/proc/${this.#pid}/stat`).split(") ");
    const fields = rest.split(" ");
    // Fields 14 to 17 of proc(5), its own and its children's time, in hundredths of a second.
    return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) / 100;
  }

  get #pid(): number {
    const { daemon } = this.node;
    if (daemon === undefined) throw new Error(`${this.who} does not run`);
    return daemon.pid;
  }
}
