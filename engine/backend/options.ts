/**
 * How backends read their section of the configuration.
 *
 * @module
 */

import type { Fields } from "../json.ts";

/** An integer member of the `Backend` section within limits. @throws {SyntaxError} */
export function inRange(
  fields: Fields,
  name: string,
  low: number,
  high: number,
): number | undefined {
  const value = fields.integer(name);
  if (value === undefined || (value >= low && value <= high)) return value;
  throw new SyntaxError(`Backend.${name}: want ${low} to ${high}, got ${value}`);
}
