/**
 * The shape of JSON values in memory: see json.ts.
 *
 * @module
 */

/** Any JSON value. `parseJson` gives a `number` where that keeps the spelling. */
export type Json = null | boolean | number | string | JsonNumber | readonly Json[] | JsonObject;

/** One member of an object. */
export type JsonMember = readonly [key: string, value: Json];

/** A number that a `number` would spell differently: `1500.0`, `1E3`, `-0`, `9007199254740993`. */
export class JsonNumber {
  /** The number as the document has it. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** For `JSON.stringify`, which may lose digits. */
  toJSON(): number {
    return Number(this.text);
  }
}

/** An object: its members in document order, duplicates included. Never changed once made. */
export class JsonObject {
  readonly members: readonly JsonMember[];

  constructor(members: readonly JsonMember[]) {
    this.members = members;
  }

  /** The value of the last member with exactly this key; undefined when there is none. */
  get(key: string): Json | undefined {
    return this.members.findLast((member) => member[0] === key)?.[1];
  }

  /** The same object with one member of exactly this key, in its first place or else at the end. */
  with(key: string, value: Json): JsonObject {
    const first = this.members.findIndex((member) => member[0] === key);
    const others = (from: number, to?: number): JsonMember[] =>
      this.members.slice(from, to).filter((member) => member[0] !== key);
    if (first < 0) return new JsonObject([...this.members, [key, value]]);
    return new JsonObject([...others(0, first), [key, value], ...others(first)]);
  }

  /** The same object without the members of exactly this key. */
  without(key: string): JsonObject {
    return new JsonObject(this.members.filter((member) => member[0] !== key));
  }

  /** For `JSON.stringify`, which keeps the last of duplicates. */
  toJSON(): unknown {
    const plain = Object.create(null);
    for (const [key, value] of this.members) plain[key] = value;
    return plain;
  }
}

/**
 * An object made of these members, in this order; those that are undefined are left out.
 *
 * ```ts
 * import { jsonObject, stringifyJson } from "./json.ts";
 *
 * const text = stringifyJson(jsonObject({ type: "bridge", mtu: 1450, mac: undefined }));
 * if (text !== '{"type":"bridge","mtu":1450}') throw new Error(text);
 * ```
 */
export function jsonObject(members: Readonly<Record<string, Json | undefined>>): JsonObject {
  return new JsonObject(
    Object.entries(members).filter((m): m is [string, Json] => m[1] !== undefined),
  );
}

/** True for a JSON array. */
export function isJsonList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}
