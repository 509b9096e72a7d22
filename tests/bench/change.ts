/**
 * How long one change of the store takes to a kernel that follows it. Both ends are seen from
 * outside, by one clock: the one that asks says when, `ip monitor` when the kernel told of the change.
 *
 * @module
 */

import { until } from "../lab/command.ts";
import type { Etcd } from "../lab/etcd.ts";
import type { Node } from "../lab/node.ts";
import { peer } from "./cluster.ts";

/** One request of etcd's JSON gateway. @returns when it was sent, ms since the epoch */
async function request(etcd: Etcd, path: string, body: unknown): Promise<number> {
  const script = new URL("put.ts", import.meta.url).pathname;
  const flags = ["--quiet", "--no-config", "--no-lock", "--no-check", "--allow-net"];
  const args = [etcd.endpoint, path, JSON.stringify(body)];
  return Number(await etcd.space.must([Deno.execPath(), "run", ...flags, script, ...args]));
}

/** `[2026-11-24T11:12:13.456789] …`, this machine's local time, as ms since the epoch. */
function clock(line: string): number {
  const [, seconds, micros] = /^\[(\S+)\.(\d{6})\]/.exec(line) ?? [];
  return new Date(seconds ?? "").getTime() + Number(micros) / 1000;
}

/** Milliseconds from a put or a deletion to route, neighbour and forwarding entry. */
export async function timeChange(
  etcd: Etcd,
  node: Node,
  i: number,
  change: "put" | "delete",
): Promise<number> {
  const { key, value, subnet, address } = peer(i);
  const base = subnet.split("/")[0] as string;
  await using monitor = await node.start("monitor", [
    "ip",
    "-ts",
    "-o",
    "monitor",
    "route",
    "neigh",
  ]);
  await until("the monitor listens", () => listens(node, monitor.pid), { every: 5 });
  const body = { key: btoa(key), ...(change === "put" ? { value: btoa(value) } : {}) };
  const sent = await request(etcd, change === "put" ? "put" : "deleterange", body);
  const gone = change === "delete" ? "Deleted " : "";
  // Route, neighbour, and forwarding entry, which this program shows as a neighbour too.
  const wanted = [`${gone}${subnet} via`, `${gone}${base} dev`, `${gone}${address} dev`];
  const heard = await until(`the ${change} arrives`, () => {
    const lines = Deno.readTextFileSync(monitor.log).split("\n");
    const times = wanted.map((text) => {
      const line = lines.find((one) => one.includes(`] ${text}`));
      return line && clock(line);
    });
    return times.every((time) => time !== undefined) && times;
  });
  return Math.max(...heard as number[]) - sent;
}

/** True when a process has an open netlink socket. */
function listens(node: Node, pid: number): boolean {
  const text = Deno.readTextFileSync(`/proc/${node.pid}/net/netlink`);
  return text.split("\n").some((line) => Number(line.trim().split(/\s+/)[2]) === pid);
}
