/**
 * The receipt: what install put on the node and what was missing before, so that uninstall can
 * leave it as it was. It is written before the first file, so that an install that was cut short
 * can be taken back too.
 *
 * @module
 */

/** One file that we placed. */
export interface Placed {
  readonly path: string;
  /** SHA-512 of a text that an operator may edit, in hexadecimal. */
  readonly sha512?: string;
}

/** The content of the receipt. */
export interface Receipt {
  readonly schema: 1;
  /** The version that wrote it. */
  readonly twill: string;
  /** In the order in which they were placed. */
  readonly placed: readonly Placed[];
  /** Directories that did not exist before the first install. */
  readonly absent: readonly string[];
  /** nft tables that existed before the first install; absent when nobody could tell. */
  readonly tables?: readonly string[];
}

/** The file's text. */
export function receiptText(receipt: Receipt): string {
  return `${JSON.stringify(receipt, null, 2)}\n`;
}

/** Reads a receipt. @throws {SyntaxError} when it is none that we know */
export function parseReceipt(text: string): Receipt {
  const value: unknown = JSON.parse(text);
  const { schema, twill, placed, absent, tables } = (value ?? {}) as Readonly<
    Record<string, unknown>
  >;
  if (schema !== 1) throw new SyntaxError(`want schema 1, got ${JSON.stringify(schema)}`);
  const isPlaced = (one: unknown): one is Placed => {
    const { path, sha512 } = (one ?? {}) as Readonly<Record<string, unknown>>;
    return isPath(path) && (sha512 === undefined || typeof sha512 === "string");
  };
  if (!Array.isArray(placed) || !placed.every(isPlaced)) {
    throw new SyntaxError(`"placed" is no list of files`);
  }
  if (!Array.isArray(absent) || !absent.every(isPath)) {
    throw new SyntaxError(`"absent" is no list of directories`);
  }
  const isText = (one: unknown): one is string => typeof one === "string";
  const known = Array.isArray(tables) && tables.every(isText) ? { tables } : {};
  return { schema, twill: String(twill), placed, absent, ...known };
}

function isPath(value: unknown): value is string {
  return typeof value === "string" && value.startsWith("/") &&
    !value.split("/").includes("..");
}
