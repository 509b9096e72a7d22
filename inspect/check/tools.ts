/**
 * What `check` tries out instead of reading it: the one part of it that is no look. Tests give
 * fakes of it.
 *
 * @module
 */

import type { Feature } from "./view.ts";

/** See the module. */
export interface CheckTools {
  /** Makes a link of each kind and a rule in a namespace of their own. @throws {OpError} */
  features(): readonly Feature[];
}
