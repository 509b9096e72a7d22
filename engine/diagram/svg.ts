/**
 * The picture as SVG (W3C SVG 1.1), for documents and for the daemon's page: a layer is a row. No
 * style sheet, no script, nothing from elsewhere; classes let a page that embeds it choose colours.
 * Pure.
 *
 * @module
 */

import { escapeMarkup } from "./markup.ts";
import { type Box, type Diagram, LAYERS, type Wire } from "./picture.ts";

/** Pixels. A character of the monospaced font is 0.6 em wide. */
const CHAR = 7.2;
const LINE = 16;
const PAD = 10;
const GAP = { x: 24, y: 56 } as const;
/** Boxes beside each other before a row is broken. */
const PER_ROW = 4;

interface Placed {
  readonly box: Box;
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

/** Draws it. The result is one `<svg>` element. */
export function drawSvg({ title, boxes, wires }: Diagram): string {
  const rows = LAYERS.flatMap((layer) => chunks(boxes.filter((box) => box.layer === layer)));
  const sizes = rows.map((row) => row.map(sizeOf));
  const widths = sizes.map((row) =>
    row.reduce((sum, { w }) => sum + w, 0) + GAP.x * (row.length - 1)
  );
  const wide = Math.max(title.length * CHAR, 320, ...widths);
  // Lines that pass a layer stand beside the rows of devices, their labels behind them.
  const between = wires.filter((wire) => !passes(wire, boxes)).map(({ label }) => label.length);
  const inner = Math.max(
    2 * (Math.max(0, ...between) * CHAR + 6 - SIDE),
    ...rows.map((row, i) => isDevice(row[0]) ? widths[i] ?? 0 : 0),
  );
  const passing = wires.filter((wire) => passes(wire, boxes)).map(({ label }) => label.length);
  const beside = passing.length === 0 ? 0 : SIDE + 4 + Math.max(...passing) * CHAR;
  const width = Math.ceil(Math.max(wide, inner + 2 * beside) + 2 * PAD);
  const side = (width + inner) / 2 + SIDE;
  const placed = new Map<string, Placed>();
  let y = PAD + LINE * 2;
  for (const [i, row] of rows.entries()) {
    let x = (width - (widths[i] ?? 0)) / 2;
    const heights = sizes[i]?.map(({ h }) => h) ?? [];
    for (const [j, box] of row.entries()) {
      const { w, h } = sizes[i]![j]!;
      placed.set(box.id, { box, x, y, w, h });
      x += w + GAP.x;
    }
    const same = rows[i + 1]?.[0]?.layer === row[0]?.layer;
    y += Math.max(0, ...heights) + (same ? GAP.y / 3 : GAP.y);
  }
  const height = Math.ceil(Math.max(y - GAP.y, 0) + PAD);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" ` +
    `height="${height}" role="img" font-family="monospace" font-size="12">`,
    `<title>${escapeMarkup(title)}</title>`,
    `<rect class="ground" width="${width}" height="${height}" fill="#ffffff"/>`,
    text(title, PAD, PAD + LINE, 'class="head" font-weight="bold" fill="#1b1f24"'),
    ...wires.flatMap(({ from, to, label, ok }) => {
      const [a, b] = [placed.get(from), placed.get(to)];
      if (a === undefined || b === undefined) return [];
      return line(a, b, passes({ from, to }, boxes) ? side : undefined, label, ok);
    }),
    ...[...placed.values()].flatMap(frame),
    "</svg>",
  ].join("\n") + "\n";
}

/** Pixels between the rows of devices and a line that passes them. */
const SIDE = 40;

function isDevice(box: Box | undefined): boolean {
  return box !== undefined && box.layer !== "pod" && box.layer !== "peer";
}

/** From the bridge to the uplink, with an overlay between. */
function passes({ from, to }: Pick<Wire, "from" | "to">, boxes: readonly Box[]): boolean {
  const layerOf = (id: string): string | undefined => boxes.find((box) => box.id === id)?.layer;
  return layerOf(from) === "bridge" && layerOf(to) === "uplink" &&
    boxes.some(({ layer }) => layer === "overlay");
}

function chunks(boxes: readonly Box[]): Box[][] {
  const rows: Box[][] = [];
  for (let at = 0; at < boxes.length; at += PER_ROW) rows.push(boxes.slice(at, at + PER_ROW));
  return rows;
}

function sizeOf({ title, lines }: Box): { readonly w: number; readonly h: number } {
  const longest = Math.max(12, title.length, ...lines.map((line) => line.length));
  return { w: Math.ceil(longest * CHAR) + 2 * PAD, h: LINE * (lines.length + 1) + PAD };
}

function frame({ box: { layer, title, lines, ok }, x, y, w, h }: Placed): string[] {
  const colours = ok ? 'fill="#eef4fb" stroke="#4a6f9c"' : 'fill="#fdecea" stroke="#b3261e"';
  const [left, first] = [x + PAD, y + LINE];
  return [
    `<g class="box ${layer}${ok ? "" : " wrong"}">`,
    `<rect x="${at(x)}" y="${at(y)}" width="${w}" height="${h}" rx="6" ${colours}/>`,
    text(title, left, first, 'font-weight="bold" fill="#1b1f24"'),
    ...lines.map((line, i) => text(line, left, first + LINE * (i + 1), 'fill="#1b1f24"')),
    "</g>",
  ];
}

/** From layer to layer, or past one: then it goes round at `side`. */
function line(
  a: Placed,
  b: Placed,
  side: number | undefined,
  label: string,
  ok: boolean,
): string[] {
  const [x1, y1] = [a.x + a.w / 2, a.y + a.h];
  const [x2, y2] = [b.x + b.w / 2, b.y];
  const [beginY, middle, endY] = [a.y + a.h / 2, (y1 + y2) / 2, b.y + b.h / 2];
  const way = side === undefined
    ? `M${at(x1)} ${at(y1)} C${at(x1)} ${at(middle)} ${at(x2)} ${at(middle)} ${at(x2)} ${at(y2)}`
    : `M${at(a.x + a.w)} ${at(beginY)} H${at(side)} V${at(endY)} H${at(b.x + b.w)}`;
  const [tx, ty] = side === undefined
    ? [(x1 + x2) / 2 + 6, middle + 4]
    : [side + 4, (beginY + endY) / 2];
  return [
    `<path class="wire${ok ? "" : " wrong"}" d="${way}" fill="none" stroke="${
      ok ? "#4a6f9c" : "#b3261e"
    }"${ok ? "" : ' stroke-dasharray="5 3"'}/>`,
    ...(label === "" ? [] : [text(label, tx, ty, 'class="label" fill="#57606a" font-size="11"')]),
  ];
}

function text(words: string, x: number, y: number, rest: string): string {
  return `<text x="${at(x)}" y="${at(y)}" ${rest} xml:space="preserve">${
    escapeMarkup(words)
  }</text>`;
}

/** Pixels with one digit behind the point, so that the same picture is the same text. */
function at(pixels: number): string {
  return String(Math.round(pixels * 10) / 10);
}
