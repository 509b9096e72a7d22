/**
 * Pods as a table and as JSON. Pure.
 *
 * @module
 */

import { NONE, table, type TableOptions } from "../style.ts";
import { nameOfPod } from "./join.ts";
import type { JudgedPod } from "./judge.ts";

/** The table for people; empty without pods. */
export function podsTable(pods: readonly JudgedPod[], options: TableOptions): string {
  if (pods.length === 0) return "";
  const yes = (flag: boolean | undefined): string =>
    flag === undefined ? NONE : flag ? "yes" : "no";
  const count = (value: number | undefined): string => value === undefined ? NONE : String(value);
  return table(pods, [
    { head: "NAMESPACE", cell: ({ pod }) => pod.namespace ?? NONE },
    { head: "POD", cell: ({ pod }) => pod.name ?? nameOfPod(pod) },
    { head: "IP", cell: ({ pod }) => pod.ips.join(",") },
    { head: "MAC", cell: ({ pod }) => pod.mac ?? NONE },
    { head: "VETH", cell: ({ pod }) => pod.vethName ?? NONE },
    { head: "IFINDEX", cell: ({ pod }) => count(pod.veth?.index) },
    { head: "NETNS", cell: ({ pod }) => pod.netns?.split("/").at(-1) ?? NONE },
    { head: "INTERFACE", cell: ({ pod }) => pod.ifname ?? NONE, wide: true },
    { head: "CONTAINER", cell: ({ pod }) => pod.containerId?.slice(0, 12) ?? NONE, wide: true },
    { head: "NETWORK", cell: ({ pod }) => pod.network ?? NONE, wide: true },
    { head: "BRIDGE", cell: ({ pod }) => pod.bridge ?? NONE, wide: true },
    { head: "MTU", cell: ({ pod }) => count(pod.inside?.mtu), wide: true },
    { head: "NSID", cell: ({ pod }) => count(pod.veth?.peerNetns), wide: true },
    { head: "HAIRPIN", cell: ({ pod }) => yes(pod.veth?.port?.hairpin), wide: true },
    { head: "ISOLATED", cell: ({ pod }) => yes(pod.veth?.port?.isolated), wide: true },
    // What the node receives from the pair is what the pod has sent.
    { head: "SENT", cell: ({ pod }) => count(pod.veth?.stats.receivedBytes), wide: true },
    { head: "RECEIVED", cell: ({ pod }) => count(pod.veth?.stats.sentBytes), wide: true },
    {
      head: "DROPPED",
      cell: ({ pod: { veth } }) =>
        count(veth && veth.stats.receiveDropped + veth.stats.sendDropped),
      wide: true,
    },
    {
      head: "STATUS",
      cell: ({ findings }) => findings.map(({ short }) => short).join(", ") || "ok",
      colour: ({ findings }) => findings.length > 0 ? "red" : "green",
    },
  ], options);
}

/** The items of `-o json`: `docs/schema/inspect_pods.json`. */
export function podsJson(pods: readonly JudgedPod[]): Record<string, unknown> {
  return {
    items: pods.map(({ pod, findings }) => ({
      name: nameOfPod(pod),
      namespace: pod.namespace ?? null,
      pod: pod.name ?? null,
      containerID: pod.containerId ?? null,
      network: pod.network ?? null,
      ips: pod.ips,
      mac: pod.mac ?? null,
      netns: pod.netns ?? null,
      interface: pod.ifname ?? null,
      mtu: pod.inside?.mtu ?? null,
      veth: pod.vethName ?? null,
      ifindex: pod.veth?.index ?? null,
      netnsID: pod.veth?.peerNetns ?? null,
      bridge: pod.bridge ?? null,
      port: pod.veth?.port ?? null,
      counters: pod.veth === undefined ? null : {
        sentPackets: pod.veth.stats.receivedPackets,
        sentBytes: pod.veth.stats.receivedBytes,
        receivedPackets: pod.veth.stats.sentPackets,
        receivedBytes: pod.veth.stats.sentBytes,
        dropped: pod.veth.stats.receiveDropped + pod.veth.stats.sendDropped,
        errors: pod.veth.stats.receiveErrors + pod.veth.stats.sendErrors,
      },
      reserved: pod.reservations.map(({ ip }) => ip),
      cached: pod.cached,
      ok: findings.length === 0,
      problems: findings.map(({ id }) => id),
    })),
  };
}
