/** The tutorial says what the commands print today. */

import assert from "node:assert/strict";
import { CHAPTERS } from "./tutorial_chapters.ts";
import { writeTutorial } from "./tutorial.ts";

/** What is another value in each run, and what stands for it. */
const VOLATILE: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b/g, "MAC"],
  [/\b10\.244\.(?!0\.0\/16)\d+\./g, "10.244.N."],
  [/\bveth[0-9a-f]{8} +\d+\b/g, "VETH IFINDEX"],
  [/\bveth[0-9a-f]{8}\b/g, "VETH"],
  [/\b\d\d:\d\d:\d\d\.\d+ /g, "TIME "],
  [/ \+\d+(?:\.\d+)?[mu]?s\b/g, " +TIME"],
  [/\bid (?:\d+|=?0x[0-9a-f]+)|\bid=0x[0-9a-f]+/g, "ID"],
  [/\b(?:frames, of )\d+ frames/g, "frames, of N frames"],
  [/\bin [\d.]+ s;/g, "in T s;"],
  [/\btwill [\d.]+ \([^)]*\), up \w+/g, "VERSION"],
  [/\b\d+h\d+m\b/g, "TIME"],
  [/^last-pass .*/g, "last-pass"],
  [/\b\d+ → 8472/g, "PORT → 8472"],
  [/\(request in \d+\)/g, "(request)"],
  [/─+/g, "─"],
  [/[├└]/g, "├"],
  [/\s+/g, " "],
];

/**
 * The document without what differs from run to run: values, the order of nodes by their subnets,
 * widths of columns, and where the formatter breaks a paragraph.
 */
function lasting(document: string): string[] {
  return document.split(/^(```console\n[^]*?\n```)$/m).flatMap((part) => {
    if (!part.startsWith("```")) return [part.trim().replace(/\s+/g, " ")];
    return part.split("\n").map((line) =>
      VOLATILE.reduce((text, [pattern, word]) => text.replace(pattern, word), line).trim()
    ).sort();
  });
}

Deno.test("tutorial: docs/tutorial.md is what the lab prints; else: tools/demo --tutorial", async () => {
  const path = new URL("../../docs/tutorial.md", import.meta.url);
  assert.deepEqual(lasting(await writeTutorial()), lasting(Deno.readTextFileSync(path)));
});

Deno.test("tutorial: each row of the lab's list has a chapter with a command of inspect", () => {
  const text = Deno.readTextFileSync(new URL("../../docs/tutorial.md", import.meta.url));
  const chapters = text.split(/^## /m).slice(1);
  assert.deepEqual(
    chapters.map((one) => Number(/^\d+/.exec(one)?.[0])),
    CHAPTERS.map((c) => c.number),
  );
  assert.deepEqual(CHAPTERS.map(({ number }) => number), [
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
  ]);
  for (const one of chapters) assert.match(one, /^\S*# (?:LC_ALL=\S+ )?twill inspect /m);
});
