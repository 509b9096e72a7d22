/**
 * How text is laid out for people: colours, wrapping, tables. Pure.
 *
 * @module
 */

/** What the reader's terminal can show. */
export interface Style {
  readonly colour: boolean;
  /** Columns; absent: nothing is wrapped, so that `awk` and `grep` see whole lines. */
  readonly width?: number;
}

/** SGR codes (ECMA-48 §8.3.117): on and off. */
const CODES = { bold: [1, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] } as const;

/** The colours that we use; each only repeats what the text says too. */
export type Colour = keyof typeof CODES;

/** The text in a colour, or as it is where colours are off. */
export function paint(style: Style, colour: Colour, text: string): string {
  const [on, off] = CODES[colour];
  return style.colour ? `\x1b[${on}m${text}\x1b[${off}m` : text;
}

/** Fewer columns than this are not worth wrapping into. */
const NARROW = 24;

/** Lines of plain text, the first indented by `first` columns and all others by `rest`. */
export function wrap(text: string, style: Style, first: number, rest = first): string[] {
  const lines: string[] = [];
  const room = style.width !== undefined && style.width - rest >= NARROW ? style.width : Infinity;
  // Two spaces behind a label stay two: only single ones are places to break at.
  for (const word of text.split(/(?<! ) (?! )/)) {
    const line = lines.at(-1);
    if (line === undefined) lines.push(" ".repeat(first) + word);
    else if (line.length + 1 + word.length <= room) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(" ".repeat(rest) + word);
  }
  return lines;
}

/** One column of a table. */
export interface Column<Row> {
  /** Upper case, without spaces. */
  readonly head: string;
  readonly cell: (row: Row) => string;
  readonly colour?: (row: Row) => Colour | undefined;
  /** Only in wide tables. */
  readonly wide?: boolean;
}

/** What a table looks like beside its content. */
export interface TableOptions extends Style {
  readonly headers: boolean;
  readonly wide: boolean;
}

/** Stands in a cell that has no value, so that every line has the same number of columns. */
export const NONE = "-";

/**
 * Rows as aligned text, three spaces between columns. Only the last column is wrapped, and only on
 * a terminal.
 */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  options: TableOptions,
): string {
  const shown = columns.filter(({ wide }) => wide !== true || options.wide);
  const cells = rows.map((row) => shown.map(({ cell }) => cell(row) || NONE));
  const heads = shown.map(({ head }) => head);
  const widths = shown.map((_, i) =>
    [...(options.headers ? [heads] : []), ...cells].reduce(
      (most, line) => Math.max(most, line[i]!.length),
      0,
    )
  );
  const last = shown.length - 1;
  const indent = widths.slice(0, last).reduce((sum, width) => sum + width + GAP.length, 0);
  const line = (texts: readonly string[], colours: readonly (Colour | undefined)[]): string => {
    const [tail = "", ...more] = wrap(texts[last]!, options, indent).map((t) => t.slice(indent));
    const dye = (text: string, i: number): string => {
      const colour = colours[i];
      return colour === undefined ? text : paint(options, colour, text);
    };
    const start = texts.slice(0, last).map((text, i) =>
      dye(text, i) + " ".repeat(widths[i]! - text.length) + GAP
    );
    return [
      start.join("") + dye(tail, last),
      ...more.map((text) => " ".repeat(indent) + dye(text, last)),
    ].join("\n");
  };
  return [
    ...(options.headers ? [line(heads, [])] : []),
    ...rows.map((row, i) => line(cells[i]!, shown.map(({ colour }) => colour?.(row)))),
  ].map((text) => `${text}\n`).join("");
}

const GAP = "   ";
