/**
 * Looking into parsed JSON of which nothing is known: what is not there, or is of another type, is
 * undefined. Objects of the API are read by these, so that no answer can make us fall over.
 *
 * @module
 */

/** `value[name]`, when the value is an object that has it itself. */
export function member(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

/** The value at the end of a path of members. */
export function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce(member, value);
}

/** The value, when it is text. */
export function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** The value, when it is a finite number. */
export function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

/** The value, when it is a list; else an empty one. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The members of an object whose values are text: labels, annotations. */
export function textsOf(value: unknown): readonly (readonly [name: string, value: string])[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).filter((pair): pair is [string, string] =>
    typeof pair[1] === "string"
  );
}
