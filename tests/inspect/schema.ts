/**
 * Documents against the schemas of `docs/schema/`.
 *
 * @module
 */

/** The part of JSON Schema that our documents need. */
export interface Schema {
  /** `FILE#/$defs/NAME`. */
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
}

/** A schema by the name of its file. */
export function load(file: string): Schema {
  return JSON.parse(Deno.readTextFileSync(new URL(`../../docs/schema/${file}`, import.meta.url)));
}

function resolve({ $ref, ...schema }: Schema): Schema {
  if ($ref === undefined) return schema;
  const [file = "", name = ""] = $ref.split("#/$defs/");
  const found = load(file).$defs?.[name];
  if (found === undefined) throw new Error(`no schema ${$ref}`);
  return found;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  return Number.isInteger(value) ? "integer" : typeof value;
}

/** Where a value is not as the schema says; unlike JSON Schema, unknown keys are errors too. */
export function errors(unresolved: Schema, value: unknown, at: string): string[] {
  const schema = resolve(unresolved);
  // Anything goes: documents that others define.
  if (Object.keys(schema).length === 0) return [];
  const type = typeOf(value);
  if ("const" in schema && value !== schema.const) return [`${at} is not ${schema.const}`];
  if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${at}: ${value}`];
  if (schema.type !== undefined && ![schema.type].flat().includes(type)) return [`${at}: ${type}`];
  if (Array.isArray(value)) {
    return value.flatMap((one, i) => errors(schema.items ?? {}, one, `${at}[${i}]`));
  }
  if (type !== "object") return [];
  const object = value as Readonly<Record<string, unknown>>;
  const known = schema.properties ?? {};
  const others = schema.additionalProperties;
  return [
    ...(schema.required ?? []).filter((key) => !(key in object)).map((key) => `${at} lacks ${key}`),
    ...Object.entries(object).flatMap(([key, one]) =>
      key in known || others !== undefined
        ? errors(known[key] ?? others!, one, `${at}.${key}`)
        : [`${at}.${key} is not described`]
    ),
  ];
}
