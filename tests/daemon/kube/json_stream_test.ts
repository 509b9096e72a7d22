import assert from "node:assert/strict";
import fc from "fast-check";
import { Lines, ListItems } from "../../../daemon/kube/json_stream.ts";

/** The bytes of a text in pieces of these lengths, over and over. */
function* pieces(text: string, lengths: readonly number[]): Generator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let from = 0, i = 0; from < bytes.length; i++) {
    const end = from + lengths[i % lengths.length]!;
    yield bytes.slice(from, end);
    from = end;
  }
}

const LENGTHS = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 });
const OBJECT = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue());

Deno.test("ListItems: cut anywhere, gives the items and the rest", () => {
  fc.assert(
    fc.property(fc.array(OBJECT), OBJECT, LENGTHS, fc.boolean(), (items, more, cut, nice) => {
      const list = { kind: "items", metadata: { items: [{ a: 1 }] }, items, items2: [1], more };
      const stream = new ListItems();
      const texts: string[] = [];
      for (const chunk of pieces(JSON.stringify(list, null, nice ? 2 : 0), cut)) {
        texts.push(...stream.push(chunk));
      }
      assert.deepEqual(texts.map((text) => JSON.parse(text)), JSON.parse(JSON.stringify(items)));
      const rest = JSON.parse(JSON.stringify({ ...list, items: [] }));
      assert.deepEqual(JSON.parse(stream.end()), rest);
    }),
  );
});

Deno.test("ListItems: what is left of a list that was cut off is no JSON", () => {
  const text = JSON.stringify({ metadata: { resourceVersion: "1" }, items: [{ a: 1 }, { b: 2 }] });
  for (let end = 0; end < text.length; end++) {
    const stream = new ListItems();
    [...stream.push(new TextEncoder().encode(text.slice(0, end)))];
    assert.throws(() => JSON.parse(stream.end()), SyntaxError, text.slice(0, end));
  }
});

Deno.test("Lines: cut anywhere, gives the lines", () => {
  fc.assert(fc.property(fc.array(OBJECT), LENGTHS, (objects, cut) => {
    const lines = new Lines();
    const texts: string[] = [];
    const text = objects.map((object) => `${JSON.stringify(object)}\n`).join("\n");
    for (const chunk of pieces(text, cut)) texts.push(...lines.push(chunk));
    assert.deepEqual(texts, objects.map((object) => JSON.stringify(object)));
  }));
});
