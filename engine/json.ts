/**
 * JSON as the programs around us read it (Go's `encoding/json`): members keep their order,
 * duplicates and number spelling, so that a document can be passed on; known members are found
 * whatever the case of their letters; a wrong type is an error that names the member.
 *
 * `JSON.parse` loses all of these, and would let a key `__proto__` reach a prototype.
 *
 * @module
 */

import { isJsonList, type Json, JsonObject } from "./json_value.ts";
import { stringifyJson } from "./json_text.ts";

export {
  isJsonList,
  type Json,
  type JsonMember,
  JsonNumber,
  JsonObject,
  jsonObject,
} from "./json_value.ts";
export { MAX_DEPTH, parseJson, stringifyJson } from "./json_text.ts";

/** The form in which keys are compared; Go folds the long s too (the Kelvin sign is lower-cased). */
function fold(key: string): string {
  return key.toLowerCase().replaceAll("ſ", "s");
}

/**
 * Reads the members of one object that we know. Names match in any case; when several match, the
 * last in the document counts, and objects are merged. `null` counts as absent. Every matching
 * member is checked, also those that a later one overrides.
 *
 * ```ts
 * import { Fields, JsonObject, parseJson } from "./json.ts";
 *
 * const ports = new Fields(parseJson('{"HostPort": 8080}') as JsonObject, "portMappings[0]");
 * if (ports.integer("hostPort") !== 8080) throw new Error();
 * ```
 */
export class Fields {
  /** The object that is read. */
  readonly source: JsonObject;
  /** Where the object stands in its document, for errors; empty at the top. */
  readonly path: string;
  readonly #found = new Map<string, Json[]>();

  constructor(object: JsonObject, path = "") {
    this.source = object;
    this.path = path;
    for (const [key, value] of object.members) {
      const name = fold(key);
      const found = this.#found.get(name);
      if (found === undefined) this.#found.set(name, [value]);
      else found.push(value);
    }
  }

  /** The fields of a whole document: an object, or `null`, which counts as an empty one. */
  static document(value: Json): Fields {
    return new Fields(value === null ? new JsonObject([]) : toObject(value, "document"));
  }

  /** True when the member is there, even as `null`. */
  has(name: string): boolean {
    return this.#found.has(fold(name));
  }

  /** The member as it is; `null` counts as absent. */
  raw(name: string): Json | undefined {
    return this.#last(name, (value) => value);
  }

  /** @throws {SyntaxError} when the member is no string. */
  string(name: string): string | undefined {
    return this.#last(name, toText);
  }

  /** @throws {SyntaxError} when the member is neither `true` nor `false`. */
  boolean(name: string): boolean | undefined {
    return this.#last(
      name,
      (value, path) => typeof value === "boolean" ? value : wrong(path, "true or false", value),
    );
  }

  /** @throws {SyntaxError} when the member is no integer of at most 53 bits, or has a fraction or exponent. */
  integer(name: string): number | undefined {
    return this.#last(name, toInteger);
  }

  /**
   * An integer from 0 to `max`.
   *
   * @throws {SyntaxError} when the member is anything else.
   */
  unsigned(name: string, max: number = Number.MAX_SAFE_INTEGER): number | undefined {
    return this.#last(name, (value, path) => {
      const number = toInteger(value, path);
      return number >= 0 && number <= max ? number : wrong(path, `0 to ${max}`, value);
    });
  }

  /**
   * An object; several of the same name are merged: the members of all, in document order.
   *
   * @throws {SyntaxError} when the member is no object.
   */
  object(name: string): JsonObject | undefined {
    const parts: JsonObject[] = [];
    for (const [value, path] of this.#all(name)) {
      if (value === null) parts.length = 0;
      else parts.push(toObject(value, path));
    }
    if (parts.length < 2) return parts[0];
    return new JsonObject(parts.flatMap((part) => part.members));
  }

  /** {@link Fields.object} with a reader for it. @throws {SyntaxError} when it is no object. */
  fields(name: string): Fields | undefined {
    const object = this.object(name);
    return object === undefined ? undefined : new Fields(object, this.pathOf(name));
  }

  /** @throws {SyntaxError} when the member is no list. */
  list(name: string): readonly Json[] | undefined {
    return this.#last(name, toList);
  }

  /** @throws {SyntaxError} when the member is anything but a list of strings. */
  strings(name: string): readonly string[] | undefined {
    return this.#last(
      name,
      (value, path) => toList(value, path).map((item, i) => toText(item, `${path}[${i}]`)),
    );
  }

  /**
   * A list of objects, each with a reader.
   *
   * @throws {SyntaxError} when the member is anything else; a `null` in it is an error too.
   */
  objects(name: string): readonly Fields[] | undefined {
    return this.#last(name, toFieldsList);
  }

  /** The full name of a member, for errors: `ipam.mtu`. */
  pathOf(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  /** The last of the members that is not `null`, after `read` has accepted each of them. */
  #last<T>(name: string, read: (value: Json, path: string) => T): T | undefined {
    let last: T | undefined;
    for (const [value, path] of this.#all(name)) if (value !== null) last = read(value, path);
    return last;
  }

  #all(name: string): [Json, string][] {
    const path = this.pathOf(name);
    return (this.#found.get(fold(name)) ?? []).map((value) => [value, path]);
  }
}

/**
 * The items of a list of objects, each with a reader; `path` names the list in errors.
 *
 * @throws {SyntaxError} when the value is no list, or an item no object.
 */
export function toFieldsList(value: Json, path: string): readonly Fields[] {
  return toList(value, path).map((item, i) => {
    const at = `${path}[${i}]`;
    return new Fields(toObject(item, at), at);
  });
}

function toList(value: Json, path: string): readonly Json[] {
  return isJsonList(value) ? value : wrong(path, "a list", value);
}

function toObject(value: Json, path: string): JsonObject {
  return value instanceof JsonObject ? value : wrong(path, "an object", value);
}

function toText(value: Json, path: string): string {
  return typeof value === "string" ? value : wrong(path, "a string", value);
}

function toInteger(value: Json, path: string): number {
  return typeof value === "number" && Number.isSafeInteger(value)
    ? value
    : wrong(path, "an integer", value);
}

function wrong(path: string, want: string, value: Json): never {
  const text = value instanceof JsonObject
    ? "an object"
    : isJsonList(value)
    ? "a list"
    : stringifyJson(value);
  const got = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  throw new SyntaxError(`${path}: want ${want}, got ${got}`);
}
