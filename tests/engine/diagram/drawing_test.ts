/** Foreign strings in pictures: whatever they are, they stay text. */

import assert from "node:assert/strict";
import fc from "fast-check";
import { escapeMarkup, escapeMermaid } from "../../../engine/diagram/markup.ts";
import { drawMermaid } from "../../../engine/diagram/mermaid.ts";
import { type Diagram, diagramOf, shorten } from "../../../engine/diagram/picture.ts";
import { drawSvg } from "../../../engine/diagram/svg.ts";
import { drawText } from "../../../engine/diagram/text.ts";

/** A picture in which every string is foreign. */
function full(word: string): Diagram {
  return diagramOf({
    node: word,
    subnets: [word],
    pods: [{ name: word, ips: [word], veth: word, ok: true }, { name: word, ips: [], ok: false }],
    bridge: { name: word, lines: [word] },
    overlays: [
      { name: word, lines: [word], wraps: word, ok: true },
      { name: `${word}2`, lines: [], wraps: word, ok: false },
    ],
    uplink: { name: word, lines: [word] },
    peers: [{ name: word, lines: [word], by: word, ok: false }],
    masquerade: true,
  });
}

// Never empty, so that nothing is left out for lack of words.
const strings = fc.string({ unit: "binary" }).map((word) => `x${word}`);

Deno.test("drawSvg: no foreign string makes an element, an attribute or an entity", () => {
  const shape = (svg: string): string =>
    svg.replace(/>[^<]*</g, "><").replace(/ (?:x|y|d|width|height|viewBox)="[^"]*"/g, "");
  const plain = shape(drawSvg(full("web")));
  fc.assert(
    fc.property(strings, (word) => {
      const svg = drawSvg(full(word));
      assert.equal(shape(svg), plain);
      assert.doesNotMatch(svg, /&(?!amp;|lt;|gt;|quot;|#39;)/);
    }),
    { examples: [["<script>alert(1)</script>"], ['"><img onerror=x>'], ["&lt;"], ["]]>"]] },
  );
});

Deno.test("drawMermaid: no foreign string ends its quotes or its line", () => {
  const shape = (text: string): string => text.replace(/"[^"\n]*"/g, '""');
  const plain = shape(drawMermaid(full("web")));
  fc.assert(
    fc.property(strings, (word) => assert.equal(shape(drawMermaid(full(word))), plain)),
    { examples: [['"] click n0 "javascript:alert(1)"'], ["</b>\n  click n0 x"], ["#quot;"]] },
  );
  assert.equal(escapeMermaid('a"#<'), "a#34;#35;#60;");
});

Deno.test("drawText: no foreign string reaches the terminal as a command; ASCII stays ASCII", () => {
  fc.assert(
    fc.property(strings, (word) => {
      // deno-lint-ignore no-control-regex -- they are what must not pass
      assert.doesNotMatch(drawText(full(word), true), /[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
      assert.match(drawText(full(word), false), /^[\n\x20-\x7e]*$/);
    }),
    { examples: [["\x1b]0;title\x07"], ["\u202eabc"], ["\r\nx"]] },
  );
});

Deno.test("escapeMarkup: markup, quotes, control characters, lone surrogates", () => {
  assert.equal(
    escapeMarkup(`<a b="c" d='e'>&\u0000\ud800`), // the last two are no characters
    "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;?\ufffd",
  );
});

Deno.test("diagramOf: lines end at boxes that are there, ids are unique, whatever is missing", () => {
  const maybe = <T>(value: T): fc.Arbitrary<T | undefined> => fc.constantFrom(value, undefined);
  const device = { name: "d", lines: [] };
  fc.assert(fc.property(
    maybe(device),
    maybe(device),
    fc.array(fc.constantFrom("a", "b"), { maxLength: 5 }),
    fc.nat(6),
    (bridge, uplink, names, most) => {
      const whole = diagramOf({
        subnets: [],
        pods: names.map((name, i) => ({ name, ips: [], ok: i % 2 === 0 })),
        ...(bridge && { bridge }),
        overlays: [],
        ...(uplink && { uplink }),
        peers: names.map((name) => ({ name, lines: [], ok: true })),
        masquerade: false,
      });
      for (const { boxes, wires } of [whole, shorten(whole, most)]) {
        const ids = boxes.map(({ id }) => id);
        assert.equal(new Set(ids).size, ids.length);
        for (const { from, to } of wires) assert.ok(ids.includes(from) && ids.includes(to));
      }
    },
  ));
});
