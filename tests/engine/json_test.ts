import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  Fields,
  type Json,
  JsonNumber,
  JsonObject,
  jsonObject,
  MAX_DEPTH,
  parseJson,
  stringifyJson,
} from "../../engine/json.ts";

function fieldsOf(text: string, path?: string): Fields {
  const value = parseJson(text);
  ok(value instanceof JsonObject);
  return new Fields(value, path);
}

/** What `JSON.parse` would have made of it. */
function plain(value: Json): unknown {
  return JSON.parse(stringifyJson(value));
}

const REFUSED: readonly (readonly [text: string, words: RegExp])[] = [
  ["", /line 1, column 1: want a value, got the end of the text/],
  [" ", /want a value/],
  ["{", /want a key in quotes/],
  ["{}x", /column 3: want the end of the document, got "x"/],
  ["{} {}", /want the end of the document/],
  ["\ufeff{}", /column 1: want a value/],
  ["\u00a0{}", /want a value/],
  ['{"a" 1}', /want ":" after a key/],
  ['{"a":1,}', /want a key in quotes/],
  ["{a:1}", /want a key in quotes/],
  ["[1,]", /want a value/],
  ["[1 2]", /want "," or "\]"/],
  ['{"a":1', /want "," or "}", got the end of the text/],
  ["[1}", /want "," or "\]"/],
  ["01", /want the end of the document, got "1"/],
  ["+1", /want a value/],
  [".5", /want a value/],
  ["1.", /want the end of the document/],
  ["-", /want a value/],
  ["NaN", /want a value/],
  ["nul", /want a value/],
  ["truex", /want the end of the document/],
  ['"a', /want a closing quote/],
  ['"a\nb"', /want a closing quote/],
  ['"\\x"', /want one of/],
  ['"\\u12g4"', /want four hexadecimal digits/],
  ['"\\', /want one of/],
  ["// c\n1", /want a value/],
  ['{\n  "a": tru\n}', /line 2, column 8: want a value/],
  ["[".repeat(MAX_DEPTH + 1), /nested containers/],
];

for (const [text, words] of REFUSED) {
  Deno.test(`parseJson refuses ${JSON.stringify(text.slice(0, 20))}`, () => {
    throws(() => parseJson(text), { name: "SyntaxError", message: words });
  });
}

const ACCEPTED: readonly (readonly [text: string, written?: string])[] = [
  ["null"],
  [' {"b":1 , "a":2,\t"b":[ ]}\n', '{"b":1,"a":2,"b":[]}'],
  ["[1500.0,1E3,-0,9007199254740993,0.5,1e400]"],
  ['"\\u0041\\/\\n\\ud83d\\ude00"', '"A/\\n😀"'],
  ['"\\ud800x"', '"\ufffdx"'],
  ['{"__proto__":{"x":1},"":{}}'],
  [`${"[".repeat(MAX_DEPTH)}${"]".repeat(MAX_DEPTH)}`],
];

for (const [text, written = text] of ACCEPTED) {
  Deno.test(`parseJson keeps order, duplicates and spelling of ${text.slice(0, 30).trim()}`, () => {
    strictEqual(stringifyJson(parseJson(text)), written);
  });
}

Deno.test("parseJson keeps numbers that a double would change as text", () => {
  deepStrictEqual(parseJson("[7,7.0]"), [7, new JsonNumber("7.0")]);
});

Deno.test("parseJson reads a string of 17 MiB", () => {
  const long = "x".repeat(17 << 20);
  strictEqual(parseJson(`["${long}\\n"]`)?.toString(), `${long}\n`);
});

Deno.test("parseJson agrees with JSON.parse on every document without duplicates", () => {
  fc.assert(fc.property(fc.json(), fc.nat(4), (text, indent) => {
    const spaced = JSON.stringify(JSON.parse(text), null, indent);
    deepStrictEqual(plain(parseJson(spaced)), JSON.parse(spaced.toWellFormed()));
  }));
});

Deno.test("parseJson takes any text: the value that JSON.parse finds, or SyntaxError", () => {
  const pieces = fc.array(
    fc.constantFrom(..."{}[]:,", '"a"', '"\\u00e9"', "\\", '"', "1", "-2.5e3", "null", "true", " "),
  );
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), pieces.map((p) => p.join(""))), (text) => {
      let value: Json;
      try {
        value = parseJson(text);
      } catch (error) {
        ok(error instanceof SyntaxError);
        throws(() => JSON.parse(text));
        return;
      }
      deepStrictEqual(plain(value), JSON.parse(JSON.stringify(JSON.parse(text))));
    }),
    { numRuns: 2000 },
  );
});

Deno.test("stringifyJson indents as JSON.stringify does", () => {
  const text = '{"a":[],"b":{},"c":[1,{"d":null}]}';
  strictEqual(stringifyJson(parseJson(text), 4), JSON.stringify(JSON.parse(text), null, 4));
});

Deno.test("stringifyJson refuses a number that JSON lacks", () => {
  throws(() => stringifyJson([Infinity]), RangeError);
});

Deno.test("jsonObject leaves out what is undefined", () => {
  strictEqual(stringifyJson(jsonObject({ a: undefined, b: null })), '{"b":null}');
});

Deno.test("JsonObject.with replaces in the first place, or appends", () => {
  const object = parseJson('{"a":1,"b":2,"a":3}');
  ok(object instanceof JsonObject);
  strictEqual(object.get("a"), 3);
  strictEqual(stringifyJson(object.with("a", 4)), '{"a":4,"b":2}');
  strictEqual(stringifyJson(object.with("A", 4)), '{"a":1,"b":2,"a":3,"A":4}');
  strictEqual(stringifyJson(object.without("a")), '{"b":2}');
});

Deno.test("JSON.stringify accepts a parsed document", () => {
  strictEqual(JSON.stringify(parseJson('{"a":[1.0,"x"]}')), '{"a":[1,"x"]}');
});

Deno.test("Fields finds names in any case; the last one wins, whatever its spelling", () => {
  strictEqual(fieldsOf('{"HostPort":1,"hostPort":2,"HOSTPORT":3}').integer("hostPort"), 3);
  strictEqual(fieldsOf('{"\u212aey\u017f":true}').boolean("keys"), true);
  strictEqual(fieldsOf('{"addre\u00df":true}').boolean("address"), undefined);
});

Deno.test("Fields merges objects of one name, member by member", () => {
  const ipam = fieldsOf('{"ipam":{"type":"a","x":{"p":1}},"IPAM":{"Type":"b","x":{"q":2}}}')
    .fields("ipam");
  strictEqual(ipam?.string("type"), "b");
  strictEqual(ipam?.fields("x")?.integer("p"), 1);
  strictEqual(ipam?.fields("x")?.integer("q"), 2);
});

Deno.test("Fields takes null for absent", () => {
  const fields = fieldsOf('{"s":null,"o":{"a":1},"O":null,"n":5,"N":null}');
  strictEqual(fields.string("s"), undefined);
  strictEqual(fields.raw("s"), undefined);
  strictEqual(fields.has("S"), true);
  strictEqual(fields.object("o"), undefined);
  strictEqual(fields.integer("n"), 5);
  strictEqual(Fields.document(null).string("name"), undefined);
});

const WRONG: readonly (readonly [text: string, read: (f: Fields) => unknown, words: string])[] = [
  ['{"mtu":"x"}', (f) => f.integer("mtu"), 'ipam.mtu: want an integer, got "x"'],
  ['{"mtu":1500.0}', (f) => f.integer("mtu"), "ipam.mtu: want an integer, got 1500.0"],
  ['{"mtu":1.5}', (f) => f.integer("mtu"), "ipam.mtu: want an integer, got 1.5"],
  ['{"mtu":1e+21}', (f) => f.integer("mtu"), "ipam.mtu: want an integer, got 1e+21"],
  ['{"mtu":"x","mtu":5}', (f) => f.integer("mtu"), 'ipam.mtu: want an integer, got "x"'],
  ['{"mtu":-1}', (f) => f.unsigned("mtu"), "ipam.mtu: want 0 to 9007199254740991, got -1"],
  ['{"mtu":9}', (f) => f.unsigned("mtu", 8), "ipam.mtu: want 0 to 8, got 9"],
  ['{"s":{}}', (f) => f.string("s"), "ipam.s: want a string, got an object"],
  ['{"b":"true"}', (f) => f.boolean("b"), 'ipam.b: want true or false, got "true"'],
  ['{"o":[]}', (f) => f.object("o"), "ipam.o: want an object, got a list"],
  ['{"l":{}}', (f) => f.list("l"), "ipam.l: want a list, got an object"],
  ['{"l":["a",null]}', (f) => f.strings("l"), "ipam.l[1]: want a string, got null"],
  ['{"l":[{},null]}', (f) => f.objects("l"), "ipam.l[1]: want an object, got null"],
  [
    '{"l":[{"a":{"b":1}}]}',
    (f) => f.objects("l")?.[0]?.fields("a")?.string("b"),
    "ipam.l[0].a.b: want a string, got 1",
  ],
];

for (const [text, read, message] of WRONG) {
  Deno.test(`Fields names the wrong member of ${text}`, () => {
    throws(() => read(fieldsOf(text, "ipam")), { name: "SyntaxError", message });
  });
}

Deno.test("Fields never shows more than the start of a long value", () => {
  throws(() => fieldsOf(`{"n":"${"x".repeat(1000)}"}`).integer("n"), (error: Error) => {
    match(error.message, /^n: want an integer, got "x+…$/);
    return error.message.length < 80;
  });
});

Deno.test("Fields reads any object: a value or SyntaxError", () => {
  const names = fc.constantFrom("a", "A", "b", "ſ", "");
  fc.assert(fc.property(fc.array(fc.tuple(names, fc.jsonValue())), (members) => {
    const text = `{${members.map(([k, v]) => `${JSON.stringify(k)}:${JSON.stringify(v)}`)}}`;
    const fields = fieldsOf(text);
    for (const name of ["a", "B", "s"]) {
      for (
        const read of ["string", "integer", "unsigned", "boolean", "fields", "objects"] as const
      ) {
        try {
          fields[read](name);
        } catch (error) {
          ok(
            error instanceof SyntaxError &&
              error.message.toLowerCase().startsWith(name.toLowerCase()),
          );
        }
      }
    }
  }));
});
