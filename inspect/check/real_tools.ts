/**
 * The tools of `check` on a real node.
 *
 * @module
 */

import { tryFeatures } from "../../ffi/scratch.ts";
import type { CheckTools } from "./tools.ts";

/** They hold nothing open. */
export function realTools(): CheckTools {
  return { features: tryFeatures };
}
