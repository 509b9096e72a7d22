/**
 * JSON text to values and back: see json.ts.
 *
 * @module
 */

import { isJsonList, type Json, type JsonMember, JsonNumber, JsonObject } from "./json_value.ts";

/** Containers within containers that {@link parseJson} accepts; what the Go decoder accepts too. */
export const MAX_DEPTH = 10_000;

type Frame =
  | { readonly kind: "list"; readonly items: Json[] }
  | { readonly kind: "object"; readonly members: JsonMember[]; key: string };

const SPACE = /[ \t\n\r]*/y;
/** All but the quote, the backslash and control characters. */
const PLAIN = /[ !#-[\]-\uffff]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX = /[0-9a-fA-F]{4}/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** One pass over a text. It keeps its own stack: no document can exhaust the engine's. */
class Parser {
  readonly #text: string;
  readonly #stack: Frame[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): Json {
    for (;;) {
      let value = this.#open();
      while (value !== undefined) {
        const frame = this.#stack.at(-1);
        this.#match(SPACE);
        if (frame === undefined) {
          if (this.#at < this.#text.length) this.#fail("the end of the document");
          return value;
        }
        value = this.#add(frame, value);
      }
    }
  }

  /** Reads a whole value, or goes into a container that is not empty and returns undefined. */
  #open(): Json | undefined {
    this.#match(SPACE);
    switch (this.#text[this.#at]) {
      case "{":
        this.#at++;
        if (this.#closes("}")) return new JsonObject([]);
        this.#push({ kind: "object", members: [], key: this.#key() });
        return undefined;
      case "[":
        this.#at++;
        if (this.#closes("]")) return [];
        this.#push({ kind: "list", items: [] });
        return undefined;
      case '"':
        this.#at++;
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  /** Adds a value to its container; returns the container if that ends here. */
  #add(frame: Frame, value: Json): Json | undefined {
    const end = frame.kind === "object" ? "}" : "]";
    if (frame.kind === "object") frame.members.push([frame.key, value]);
    else frame.items.push(value);
    if (this.#closes(end)) {
      this.#stack.pop();
      return frame.kind === "object" ? new JsonObject(frame.members) : frame.items;
    }
    if (this.#text[this.#at] !== ",") this.#fail(`"," or "${end}"`);
    this.#at++;
    if (frame.kind === "object") frame.key = this.#key();
    return undefined;
  }

  #push(frame: Frame): void {
    if (this.#stack.push(frame) > MAX_DEPTH) this.#fail(`at most ${MAX_DEPTH} nested containers`);
  }

  #closes(end: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#at] !== end) return false;
    this.#at++;
    return true;
  }

  #key(): string {
    this.#match(SPACE);
    if (this.#text[this.#at] !== '"') this.#fail("a key in quotes");
    this.#at++;
    const key = this.#string();
    this.#match(SPACE);
    if (this.#text[this.#at] !== ":") this.#fail('":" after a key');
    this.#at++;
    return key;
  }

  /** Reads to the closing quote; half of a surrogate pair becomes U+FFFD, as in Go. */
  #string(): string {
    let out = this.#match(PLAIN);
    for (;;) {
      switch (this.#text[this.#at]) {
        case '"':
          this.#at++;
          return out.toWellFormed();
        case "\\":
          out += this.#escape() + this.#match(PLAIN);
          break;
        default:
          this.#fail("a closing quote");
      }
    }
  }

  #escape(): string {
    const letter = this.#text[++this.#at] ?? "";
    if (letter === "u") {
      this.#at++;
      const hex = this.#match(HEX);
      if (hex === "") this.#fail("four hexadecimal digits");
      return String.fromCharCode(parseInt(hex, 16));
    }
    const char = ESCAPES[letter];
    if (char === undefined) this.#fail('one of "\\/bfnrtu after \\');
    this.#at++;
    return char;
  }

  #number(): Json {
    const text = this.#match(NUMBER);
    if (text === "") this.#fail("a value");
    const value = Number(text);
    return String(value) === text ? value : new JsonNumber(text);
  }

  #word<T extends Json>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("a value");
    this.#at += word.length;
    return value;
  }

  #match(pattern: RegExp): string {
    const from = this.#at;
    pattern.lastIndex = from;
    if (!pattern.test(this.#text)) return "";
    this.#at = pattern.lastIndex;
    return this.#text.slice(from, this.#at);
  }

  #fail(want: string): never {
    const before = this.#text.slice(0, this.#at);
    const line = before.split("\n").length;
    const column = this.#at - before.lastIndexOf("\n");
    const rest = this.#text.slice(this.#at, this.#at + 12);
    const got = rest === "" ? "the end of the text" : JSON.stringify(rest);
    throw new SyntaxError(`JSON line ${line}, column ${column}: want ${want}, got ${got}`);
  }
}

/**
 * Reads one JSON document (RFC 8259) and nothing after it; a byte order mark is an error.
 *
 * @throws {SyntaxError} with line and column (both from 1), what was wanted and what is there.
 */
export function parseJson(text: string): Json {
  return new Parser(text).document();
}

/**
 * Writes a value as JSON: on one line, or with `indent` spaces for each level.
 *
 * @throws {RangeError} for a number that JSON cannot express.
 */
export function stringifyJson(value: Json, indent = 0): string {
  const out: string[] = [];
  /** What is still to write, last first: values, and text that stands between them. */
  const todo: ({ readonly value: Json; readonly depth: number } | string)[] = [{ value, depth: 0 }];
  const line = (depth: number): string => indent === 0 ? "" : `\n${" ".repeat(indent * depth)}`;
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (typeof next === "string") out.push(next);
    else if (isJsonList(next.value) || next.value instanceof JsonObject) {
      const { value, depth } = next;
      const list = isJsonList(value);
      const parts: readonly (Json | JsonMember)[] = isJsonList(value) ? value : value.members;
      out.push(list ? "[" : "{");
      todo.push(`${parts.length === 0 ? "" : line(depth)}${list ? "]" : "}"}`);
      for (let i = parts.length - 1; i >= 0; i--) {
        const [key, item] = list ? ["", parts[i] as Json] : parts[i] as JsonMember;
        todo.push({ value: item, depth: depth + 1 });
        const colon = list ? "" : `${JSON.stringify(key)}:${indent === 0 ? "" : " "}`;
        todo.push(`${i === 0 ? "" : ","}${line(depth + 1)}${colon}`);
      }
    } else out.push(scalar(next.value));
  }
  return out.join("");
}

function scalar(value: null | boolean | number | string | JsonNumber): string {
  if (value instanceof JsonNumber) return value.text;
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RangeError(`JSON has no number ${value}`);
  }
  return Object.is(value, -0) ? "-0" : JSON.stringify(value);
}
