/**
 * The picture for terminals, one layer below the other. Pure.
 *
 * @module
 */

import { type Box, type Diagram, LAYERS, oneLine } from "./picture.ts";

/** Line characters: `down` leads on to the next layer. */
const SIGNS = {
  unicode: { corners: ["┌", "┐", "└", "┘"], h: "─", v: "│", fork: "├─", last: "└─", down: "▼" },
  ascii: { corners: ["+", "+", "+", "+"], h: "-", v: "|", fork: "+-", last: "`-", down: "v" },
} as const;

/** How many columns the lines between layers are indented. */
const STEM = "    ";

/** Draws it. @param unicode the terminal shows line characters; otherwise only ASCII is used */
export function drawText(diagram: Diagram, unicode: boolean): string {
  const signs = SIGNS[unicode ? "unicode" : "ascii"];
  const lines: string[] = [shown(diagram.title, unicode), ""];
  let before = "";
  for (const layer of LAYERS) {
    const boxes = diagram.boxes.filter((box) => box.layer === layer);
    if (boxes.length === 0) continue;
    const into = boxes.map(({ id }) => id);
    const labels = new Set(
      diagram.wires.filter(({ to }) => into.includes(to)).map(({ label }) => label).filter(Boolean),
    );
    if (before !== "" && layer !== "peer") {
      const [first = "", ...more] = [...labels].map((label) => shown(label, unicode));
      lines.push(`${STEM}${signs.v}${first && `  ${first}`}`);
      lines.push(...more.map((label) => `${STEM}${signs.v}  ${label}`));
      lines.push(`${STEM}${signs.down}`);
    }
    if (layer === "pod" || layer === "peer") {
      if (layer === "peer" && before !== "") lines.push(`${STEM}${signs.v}`);
      lines.push(...listed(diagram, boxes, layer, unicode));
    } else {
      for (const box of boxes) lines.push(...framed(box, unicode));
    }
    before = layer;
  }
  return lines.map((line) => `${line.trimEnd()}\n`).join("");
}

function shown(text: string, unicode: boolean): string {
  const line = oneLine(text);
  return unicode ? line : line.replace(/[^\x20-\x7e]/g, "?");
}

/** Boxes of which there may be many: one line each. */
function listed(
  { wires }: Diagram,
  boxes: readonly Box[],
  layer: "pod" | "peer",
  unicode: boolean,
): string[] {
  const { fork, last } = SIGNS[unicode ? "unicode" : "ascii"];
  const cells = boxes.map(({ id, title, lines, ok }) => {
    const way = layer === "peer" ? wires.find(({ to }) => to === id)?.label ?? "" : "";
    const rest = [...lines, ...way ? [way] : []].map((line) => shown(line, unicode));
    return [shown(title, unicode), ...rest, ...ok ? [] : ["PROBLEM"]];
  });
  const widths: number[] = [];
  for (const row of cells) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  }
  return cells.map((row, i) => {
    const text = row.map((cell, j) => cell.padEnd(widths[j] ?? 0)).join("  ");
    // Pods hang on a line that goes on to their bridge; behind the last peer there is nothing.
    const sign = layer === "peer" && i === cells.length - 1 ? last : fork;
    return `${STEM}${sign} ${text}`;
  });
}

function framed({ title, lines, ok }: Box, unicode: boolean): string[] {
  const { corners, h, v } = SIGNS[unicode ? "unicode" : "ascii"];
  const texts = [`${title}${ok ? "" : "  PROBLEM"}`, ...lines].map((text) => shown(text, unicode));
  const width = Math.max(...texts.map((text) => text.length), 24);
  const edge = h.repeat(width + 2);
  return [
    `${corners[0]}${edge}${corners[1]}`,
    ...texts.map((text) => `${v} ${text.padEnd(width)} ${v}`),
    `${corners[2]}${edge}${corners[3]}`,
  ];
}
