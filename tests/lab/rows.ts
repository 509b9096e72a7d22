/**
 * What a reader of flannel's tutorials sees, step by step; `tools/demo` shows it, the tests check it.
 *
 * @module
 */

import { SETUP_ROWS } from "./rows_setup.ts";
import { TRAFFIC_ROWS } from "./rows_traffic.ts";
import type { Row } from "./tour.ts";

/** All rows, in the order in which they must run: later ones use the pods of earlier ones. */
export const ROWS: readonly Row[] = [...SETUP_ROWS, ...TRAFFIC_ROWS];
