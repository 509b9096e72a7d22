/**
 * The short way: a command line in which nothing is odd is read here, in a tenth of the time that
 * loading and running the command-line library takes. Whatever is not plain (help, a mistake, a
 * rarer form) is left to the library, so that it alone decides what such a line means; a test holds
 * that both read the same from what both read.
 *
 * @module
 */

import { type ArgumentShape, type FlagShape, type InspectCommand, kebab } from "./command.ts";
import type { InspectContext } from "./context.ts";

/** What a line says. */
export interface PlainLine {
  readonly flags: Readonly<Record<string, unknown>>;
  readonly rest: readonly unknown[];
}

/** Reads the words behind a command's name; undefined when the library must. */
export async function readPlainLine(
  { parameters: { flags = {}, aliases = {}, positional } }: InspectCommand,
  words: readonly string[],
  context: InspectContext,
): Promise<PlainLine | undefined> {
  const byWord = new Map(Object.keys(flags).map((name) => [kebab(name), name]));
  for (const [letter, name] of Object.entries(aliases)) if (name) byWord.set(`-${letter}`, name);
  const given = new Map<string, string | true>();
  const rest: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (!word.startsWith("-")) {
      rest.push(word);
      continue;
    }
    const [, head = "", inline] = /^(--[a-z-]+|-[a-zA-Z])(?:=([^]*))?$/.exec(word) ?? [];
    const name = byWord.get(head);
    const flag = name === undefined ? undefined : flags[name];
    if (name === undefined || flag === undefined || given.has(name)) return undefined;
    if (flag.kind === "boolean") {
      if (inline !== undefined) return undefined;
      given.set(name, true);
      continue;
    }
    if (inline !== undefined && !word.startsWith("--")) return undefined;
    const value = inline ?? words[++at];
    if (value === undefined || value.startsWith("-") || value === "") return undefined;
    given.set(name, value);
  }
  try {
    const values: Record<string, unknown> = {};
    for (const [name, flag] of Object.entries(flags)) {
      if (!await readFlag(values, name, flag, given.get(name), context)) return undefined;
    }
    const read = await readRest(positional, rest, context);
    return read && { flags: values, rest: read };
  } catch {
    // The library says it in words.
    return undefined;
  }
}

/** Puts a flag's value among the others; false when it is not plain. */
async function readFlag(
  values: Record<string, unknown>,
  name: string,
  flag: FlagShape,
  word: string | true | undefined,
  context: InspectContext,
): Promise<boolean> {
  if (flag.kind === "counter" || "variadic" in flag && flag.variadic) return false;
  if (Array.isArray(flag.default)) return false;
  const said = word ?? flag.default as string | boolean | undefined;
  if (said === undefined) return flag.optional === true;
  if (flag.kind === "enum" && !flag.values.includes(said as string)) return false;
  values[name] = flag.kind === "parsed" ? await flag.parse.call(context, String(said)) : said;
  return true;
}

async function readRest(
  positional: InspectCommand["parameters"]["positional"],
  words: readonly string[],
  context: InspectContext,
): Promise<unknown[] | undefined> {
  const shapes: ArgumentShape[] = positional === undefined
    ? []
    : positional.kind === "tuple"
    ? [...positional.parameters]
    : words.map(() => positional.parameter);
  if (positional?.kind === "array") {
    const { minimum = 0, maximum = Infinity } = positional;
    if (words.length < minimum || words.length > maximum) return undefined;
  }
  if (words.length > shapes.length) return undefined;
  const read: unknown[] = [];
  for (const [i, shape] of shapes.entries()) {
    const word = words[i] ?? shape.default;
    if (word === undefined && !shape.optional) return undefined;
    read.push(word === undefined ? undefined : await shape.parse.call(context, word));
  }
  return read;
}
