/**
 * The picture as a Mermaid flowchart, which Markdown of many hosts draws. Pure.
 *
 * @module
 */

import { escapeMermaid } from "./markup.ts";
import type { Box, Diagram } from "./picture.ts";

/** Draws it. */
export function drawMermaid({ title, boxes, wires }: Diagram): string {
  // Names of ours: what others choose stands in quotes only.
  const names = new Map(boxes.map(({ id }, i) => [id, `n${i}`]));
  const wrong = boxes.filter(({ ok }) => !ok).flatMap(({ id }) => names.get(id) ?? []);
  const node = ({ id, title, lines }: Box): string =>
    `${names.get(id)}["${[title, ...lines].map(escapeMermaid).join("<br/>")}"]`;
  return [
    "flowchart TB",
    `  subgraph here["${escapeMermaid(title)}"]`,
    ...boxes.filter(({ layer }) => layer !== "peer").map((box) => `    ${node(box)}`),
    "  end",
    ...boxes.filter(({ layer }) => layer === "peer").map((box) => `  ${node(box)}`),
    ...wires.map(({ from, to, label, ok }) => {
      const line = ok ? "---" : "-.-";
      const words = label === "" ? "" : `|"${escapeMermaid(label)}"|`;
      return `  ${names.get(from)} ${line}${words} ${names.get(to)}`;
    }),
    ...(wrong.length === 0
      ? []
      : ["  classDef wrong stroke:#b3261e,fill:#fdecea", `  class ${wrong.join(",")} wrong`]),
  ].map((line) => `${line}\n`).join("");
}
