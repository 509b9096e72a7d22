/**
 * Routes as a table and as JSON. Pure.
 *
 * @module
 */

import type { PodRoute } from "./join_routes.ts";
import type { Overlay } from "./overlay.ts";
import { ownerOf, protocolName } from "./owner.ts";
import { type Column, NONE, table, type TableOptions } from "./style.ts";

/** `RT_SCOPE_*`, linux/rtnetlink.h. */
const SCOPES: Readonly<Record<number, string>> = {
  0: "global",
  200: "site",
  253: "link",
  254: "host",
};

const COLUMNS: readonly Column<PodRoute>[] = [
  { head: "DESTINATION", cell: ({ route }) => route.dst },
  { head: "VIA", cell: ({ route }) => route.via ?? NONE },
  { head: "DEVICE", cell: ({ route }) => route.dev ?? (route.blackhole ? "blackhole" : NONE) },
  { head: "OWNER", cell: ({ route }) => ownerOf(route) },
  { head: "ONLINK", cell: ({ route }) => route.onlink ? "yes" : "no", wide: true },
  { head: "METRIC", cell: ({ route }) => String(route.metric ?? 0), wide: true },
  { head: "SCOPE", cell: ({ route }) => scopeName(route.scope), wide: true },
  { head: "SOURCE", cell: ({ route }) => route.src ?? NONE, wide: true },
  { head: "PUBLIC-IP", cell: ({ publicIp }) => publicIp ?? NONE, wide: true },
  { head: "VTEP-MAC", cell: ({ mac }) => mac ?? NONE, wide: true },
  { head: "NODE", cell: ({ node }) => node ?? NONE },
  { head: "MEANING", cell: ({ meaning }) => meaning },
];

function scopeName(scope = 0): string {
  return SCOPES[scope] ?? String(scope);
}

/** The table for people; empty without routes. */
export function routesTable(routes: readonly PodRoute[], options: TableOptions): string {
  return routes.length === 0 ? "" : table(routes, COLUMNS, options);
}

/** The document of `-o json`: `docs/schema/inspect_routes.json`. */
export function routesJson(overlay: Overlay, routes: readonly PodRoute[]): Record<string, unknown> {
  return {
    networks: overlay.networks,
    items: routes.map(({ route, role, meaning, publicIp, mac, node }) => ({
      destination: route.dst,
      gateway: route.via ?? null,
      device: route.dev ?? null,
      blackhole: route.blackhole ?? false,
      onlink: route.onlink ?? false,
      protocol: route.protocol ?? 0,
      protocolName: protocolName(route.protocol),
      owner: ownerOf(route),
      metric: route.metric ?? 0,
      scope: scopeName(route.scope),
      source: route.src ?? null,
      role,
      meaning,
      publicIP: publicIp ?? null,
      vtepMAC: mac ?? null,
      node: node ?? null,
    })),
  };
}
