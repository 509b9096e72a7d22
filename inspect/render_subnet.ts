/**
 * The subnet as a table and as JSON. Pure.
 *
 * @module
 */

import type { Overlay } from "./overlay.ts";
import { type Column, table, type TableOptions } from "./style.ts";
import type { SubnetRow } from "./subnet_rows.ts";

const COLUMNS: readonly Column<SubnetRow>[] = [
  { head: "NAME", cell: ({ name }) => name },
  { head: "VALUE", cell: ({ value }) => value },
  { head: "SOURCE", cell: ({ source }) => source },
  {
    head: "STATUS",
    cell: ({ status }) => status,
    colour: ({ status }) => status === "ok" ? "green" : status === "wrong" ? "red" : undefined,
  },
  { head: "MEANING", cell: ({ meaning }) => meaning },
];

/** The table for people; empty when nothing is known. */
export function subnetTable(rows: readonly SubnetRow[], options: TableOptions): string {
  return rows.length === 0 ? "" : table(rows, COLUMNS, options);
}

/** The document of `-o json`: `docs/schema/inspect_subnet.json`. */
export function subnetJson(
  { file, subnets }: Overlay,
  rows: readonly SubnetRow[],
): Record<string, unknown> {
  const env = file.kind === "read" ? file.env : undefined;
  return {
    file: {
      path: file.path,
      state: file.kind,
      networks: env === undefined ? [] : [...env.networks, ...env.networks6],
      subnets,
      mtu: env?.mtu ?? null,
      ipMasq: env?.ipMasq ?? null,
    },
    items: rows.map(({ name, value, source, status, meaning }) => ({
      name,
      value,
      source,
      status,
      meaning,
    })),
  };
}
