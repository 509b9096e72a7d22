/**
 * The status as a table and as JSON. Pure.
 *
 * @module
 */

import { tunnelJson } from "../render_peers.ts";
import { formatNetConf, withoutSecrets } from "../../engine/net_conf.ts";
import { leaseSubnets } from "../../engine/lease.ts";
import { table, type TableOptions } from "../style.ts";
import type { StatusRow, StatusView } from "./view.ts";

/** The screen. */
export function statusTable(rows: readonly StatusRow[], options: TableOptions): string {
  return table(rows, [
    { head: "PART", cell: ({ name }) => name.replaceAll(" ", "-") },
    {
      head: "STATUS",
      cell: ({ status }) => status === "info" ? "-" : status,
      colour: ({ status }) =>
        status === "ok"
          ? "green"
          : status === "wrong"
          ? "red"
          : status === "unknown"
          ? "yellow"
          : undefined,
    },
    { head: "DETAIL", cell: ({ detail }) => detail },
  ], options);
}

/** The document of `-o json`: `docs/schema/inspect_status.json`. */
export function statusJson(
  { overlay, known }: StatusView,
  rows: readonly StatusRow[],
): Record<string, unknown> {
  const { daemon, leases } = known;
  const iso = (time: number | undefined): string | null =>
    time === undefined ? null : new Date(time).toISOString();
  return {
    node: leases?.own.node ?? null,
    subnets: overlay.subnets,
    networks: overlay.networks,
    mtu: overlay.file.kind === "read" ? overlay.file.env.mtu : null,
    config: leases === undefined ? null : JSON.parse(formatNetConf(withoutSecrets(leases.conf))),
    lease: leases === undefined ? null : {
      subnets: leaseSubnets(leases.own),
      publicIP: leases.own.publicIp ?? null,
      publicIPv6: leases.own.publicIp6 ?? null,
      ends: iso(leases.ends),
    },
    devices: overlay.vteps.map(({ name, vni, port, up, mtu, mac, local, underlay }) => ({
      name,
      vni,
      port,
      up,
      mtu: mtu ?? null,
      mac: mac ?? null,
      local: local ?? null,
      underlay: underlay ?? null,
    })),
    tunnels: overlay.tunnels.map(tunnelJson),
    daemon: daemon === undefined ? null : {
      version: daemon.version,
      started: iso(daemon.started),
      ready: daemon.reasons.length === 0,
      reasons: daemon.reasons,
      remarks: daemon.remarks,
      store: {
        name: daemon.store.name,
        connected: daemon.store.connected,
        problem: daemon.store.problem ?? null,
        remembered: iso(daemon.store.remembered),
      },
      peers: daemon.pass === undefined
        ? null
        : { wanted: daemon.pass.peers, programmed: daemon.pass.programmed },
      plugins: {
        listening: daemon.plugins.listening,
        served: daemon.plugins.served,
        lastServed: iso(daemon.plugins.lastServed),
        left: daemon.plugins.left,
      },
    },
    items: rows.map(({ name, status, detail, findings }) => ({
      name,
      status,
      detail,
      problems: findings.map(({ id }) => id),
    })),
  };
}
