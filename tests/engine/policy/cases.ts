/**
 * All tables of cases.
 *
 * @module
 */

import { CYCLONUS } from "./cases/cyclonus.ts";
import { MORE } from "./cases/more.ts";
import { UPSTREAM_INGRESS } from "./cases/upstream_ingress.ts";
import { UPSTREAM_REST } from "./cases/upstream_rest.ts";
import type { Case } from "./language.ts";

/** U01 to U48, C01 to C35, X01 to X10. */
export const CASES: readonly Case[] = [...UPSTREAM_INGRESS, ...UPSTREAM_REST, ...CYCLONUS, ...MORE];
