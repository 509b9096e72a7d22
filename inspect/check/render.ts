/**
 * The table of `check`. Pure.
 *
 * @module
 */

import { table, type TableOptions } from "../style.ts";
import type { CheckRow } from "./verdict.ts";

const COLOURS = { ok: "green", wrong: "red", unknown: "yellow" } as const;

/** One line for each thing that was looked at. */
export function paintedTable(rows: readonly CheckRow[], options: TableOptions): string {
  return table(rows, [
    { head: "CHECK", cell: ({ name }) => name },
    {
      head: "STATUS",
      cell: ({ status }) => status,
      colour: ({ status }) => COLOURS[status],
    },
    { head: "DETAIL", cell: ({ detail }) => detail },
  ], options);
}
