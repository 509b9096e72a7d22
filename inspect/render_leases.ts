/**
 * Leases as a table and as JSON. Pure.
 *
 * @module
 */

import { Fields, JsonObject, stringifyJson } from "../engine/json.ts";
import { type Lease, leaseSubnets } from "../engine/lease.ts";
import { formatNetConf, withoutSecrets } from "../engine/net_conf.ts";
import type { JudgedLease } from "./judge_leases.ts";
import type { Knowledge } from "./knowledge.ts";
import { NONE, table, type TableOptions } from "./style.ts";
import { timeLeft } from "./words.ts";

/** The table for people; empty without leases. */
export function leasesTable(
  items: readonly JudgedLease[],
  options: TableOptions,
  now: number,
): string {
  if (items.length === 0) return "";
  return table(items, [
    { head: "NODE", cell: ({ lease }) => lease?.node ?? NONE },
    {
      head: "SUBNET",
      cell: ({ lease, key }) => lease === undefined ? key : leaseSubnets(lease).join(","),
    },
    {
      head: "PUBLIC-IP",
      cell: ({ lease }) => [lease?.publicIp, lease?.publicIp6].filter(Boolean).join(","),
    },
    { head: "BACKEND", cell: ({ lease }) => lease?.backendType || NONE },
    { head: "VTEP-MAC", cell: ({ lease }) => macsOf(lease).join(",") },
    { head: "ENDS-IN", cell: ({ ends }) => ends === undefined ? NONE : timeLeft(ends - now) },
    { head: "KEY", cell: ({ key }) => key, wide: true },
    {
      head: "STATUS",
      cell: ({ status, findings }) => findings.map(({ short }) => short).join(", ") || status,
      colour: ({ status }) => status === "wrong" ? "red" : status === "ok" ? "green" : undefined,
    },
  ], options);
}

/** One name a lease: the node's, else its subnet. */
export function leaseNames(items: readonly JudgedLease[]): string[] {
  return items.map(({ lease, key }) => lease?.node ?? (lease && leaseSubnets(lease)[0]) ?? key);
}

function macsOf(lease: Lease | undefined): string[] {
  return [lease?.backendData, lease?.backendV6Data].flatMap((data) => {
    if (!(data instanceof JsonObject)) return [];
    try {
      return new Fields(data).string("VtepMAC") ?? [];
    } catch {
      return ["damaged"];
    }
  });
}

/** The document of `-o json`: `docs/schema/inspect_leases.json`. */
export function leasesJson(
  { daemon, leases }: Knowledge,
  items: readonly JudgedLease[],
): Record<string, unknown> {
  const iso = (time: number | undefined): string | null =>
    time === undefined ? null : new Date(time).toISOString();
  return {
    config: leases === undefined ? null : JSON.parse(formatNetConf(withoutSecrets(leases.conf))),
    at: iso(leases?.at),
    store: daemon === undefined ? null : {
      name: daemon.store.name,
      connected: daemon.store.connected,
      problem: daemon.store.problem ?? null,
      remembered: iso(daemon.store.remembered),
    },
    items: items.map(({ lease, key, own, ends, status, differences, findings }) => ({
      key,
      node: lease?.node ?? null,
      subnets: lease === undefined ? [] : leaseSubnets(lease),
      publicIP: lease?.publicIp ?? null,
      publicIPv6: lease?.publicIp6 ?? null,
      backendType: lease?.backendType ?? null,
      backendData: plain(lease?.backendData),
      backendV6Data: plain(lease?.backendV6Data),
      own,
      ends: iso(ends),
      status,
      differences,
      problems: findings.map(({ id }) => id),
    })),
  };
}

function plain(data: Lease["backendData"]): unknown {
  return data === undefined ? null : JSON.parse(stringifyJson(data));
}
