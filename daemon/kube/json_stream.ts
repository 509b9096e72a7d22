/**
 * JSON that comes in pieces: the events of a watch, one per line, and the items of a list. Only one
 * event or item is in memory at a time; a list of 1,000 nodes is 15 MB.
 *
 * @module
 */

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = { brace: 0x7b, bracket: 0x5b } as const;
const CLOSE = { brace: 0x7d, bracket: 0x5d } as const;

/** Pieces of bytes that are one text once it is whole. */
class Pieces {
  #pieces: Uint8Array[] = [];

  add(piece: Uint8Array): void {
    if (piece.length > 0) this.#pieces.push(piece);
  }

  /** The text so far; begins anew. */
  take(): string {
    const decoder = new TextDecoder();
    let text = "";
    for (const piece of this.#pieces) text += decoder.decode(piece, { stream: true });
    this.#pieces = [];
    return text + decoder.decode();
  }
}

/** Cuts bytes into lines of any length. */
export class Lines {
  readonly #pieces = new Pieces();

  /** The lines that end in this chunk, without those that are empty. */
  *push(chunk: Uint8Array): Generator<string, void, undefined> {
    let from = 0;
    for (let end; (end = chunk.indexOf(LF, from)) >= 0; from = end + 1) {
      this.#pieces.add(chunk.subarray(from, end));
      const line = this.#pieces.take();
      if (line.trim() !== "") yield line;
    }
    this.#pieces.add(chunk.subarray(from));
  }
}

/**
 * Takes a list of the API apart while it arrives: `{"metadata": {…}, "items": [{…}, {…}]}`.
 *
 * ```ts
 * import { ListItems } from "./json_stream.ts";
 *
 * const items = new ListItems();
 * const bytes = new TextEncoder().encode('{"items": [{"a": "]"}, {"a": 2}], "kind": "L"}');
 * const texts = [...items.push(bytes)];
 * if (texts.join() !== '{"a": "]"},{"a": 2}') throw new Error(texts.join());
 * if (items.end() !== '{"items": [], "kind": "L"}') throw new Error(items.end());
 * ```
 */
export class ListItems {
  /** Everything but the items. */
  readonly #rest = new Pieces();
  readonly #item = new Pieces();
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Inside the list `items` of the document. */
  #inItems = false;
  /** What of the newest member name of the document was seen. */
  #name: number[] | undefined;
  #isItems = false;

  /** The items that end in this chunk, as text. */
  *push(chunk: Uint8Array): Generator<string, void, undefined> {
    /** Where begins what is not yet in either of the two texts. */
    let from = 0;
    for (let i = 0; i < chunk.length; i++) {
      let byte = chunk[i]!;
      if (this.#inString) {
        if (!this.#escaped && this.#name === undefined) {
          // Nearly all bytes are here, and nearly none of them matter.
          while (i < chunk.length && byte !== QUOTE && byte !== BACKSLASH) byte = chunk[++i]!;
          if (i === chunk.length) break;
        }
        if (this.#escaped) this.#escaped = false;
        else if (byte === BACKSLASH) this.#escaped = true;
        else if (byte === QUOTE) {
          this.#inString = false;
          if (this.#name !== undefined) this.#isItems = isItems(this.#name);
          this.#name = undefined;
          continue;
        }
        this.#name?.push(byte);
        continue;
      }
      switch (byte) {
        case QUOTE:
          this.#inString = true;
          if (this.#depth === 1) this.#name = [];
          break;
        case OPEN.bracket:
        case OPEN.brace:
          if (this.#depth === 1 && byte === OPEN.bracket && this.#isItems) {
            this.#inItems = true;
            this.#rest.add(chunk.slice(from, i + 1));
            from = i + 1;
          }
          if (this.#depth === 2 && this.#inItems) from = i;
          this.#depth++;
          break;
        case CLOSE.bracket:
        case CLOSE.brace:
          this.#depth--;
          if (!this.#inItems) break;
          if (this.#depth === 2) {
            this.#item.add(chunk.subarray(from, i + 1));
            from = i + 1;
            yield this.#item.take();
          } else if (this.#depth === 1) {
            this.#inItems = false;
            from = i;
          }
          break;
      }
    }
    if (this.#inItems) {
      // Between two items there is only a comma.
      if (this.#depth > 2) this.#item.add(chunk.subarray(from));
    } else this.#rest.add(chunk.slice(from));
  }

  /** The document without its items. Of one that was cut off it is no JSON. */
  end(): string {
    return this.#rest.take();
  }
}

const ITEMS = [...new TextEncoder().encode("items")];

function isItems(name: readonly number[]): boolean {
  return name.length === ITEMS.length && name.every((byte, i) => byte === ITEMS[i]);
}
