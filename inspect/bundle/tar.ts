/**
 * A tar archive of small texts, POSIX.1-1988 (ustar), which every tar reads. Pure.
 *
 * @module
 */

/** One file. */
export interface Entry {
  /** At most 100 bytes, relative. */
  readonly name: string;
  readonly text: string;
}

const BLOCK = 512;

/** The archive. @param at modification time of all files, seconds. @throws {RangeError} for a name */
export function tar(entries: readonly Entry[], at: number): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const files = entries.map(({ name, text }) => ({ name, body: encoder.encode(text) }));
  const padded = (length: number): number => Math.ceil(length / BLOCK) * BLOCK;
  const size = files.reduce((sum, { body }) => sum + BLOCK + padded(body.length), 2 * BLOCK);
  const archive = new Uint8Array(size);
  let offset = 0;
  for (const { name, body } of files) {
    archive.set(header(encoder.encode(name), body.length, at), offset);
    archive.set(body, offset + BLOCK);
    offset += BLOCK + padded(body.length);
  }
  // Two empty blocks end it.
  return archive;
}

/** Offsets of ustar's header: name 0, mode 100, uid 108, gid 116, size 124, mtime 136, sum 148. */
function header(name: Uint8Array, size: number, at: number): Uint8Array {
  if (name.length > 100) throw new RangeError("tar: the name has more than 100 bytes");
  const block = new Uint8Array(BLOCK);
  const put = (text: string, offset: number): void =>
    block.set(new TextEncoder().encode(text), offset);
  const octal = (value: number, digits: number): string =>
    Math.floor(value).toString(8).padStart(digits, "0");
  block.set(name, 0);
  put(`${octal(0o600, 7)}\0`, 100);
  put(`${octal(0, 7)}\0`, 108);
  put(`${octal(0, 7)}\0`, 116);
  put(`${octal(size, 11)}\0`, 124);
  put(`${octal(at, 11)}\0`, 136);
  // While the sum is made, its own field is blanks.
  put(" ".repeat(8), 148);
  put("0", 156);
  put("ustar\0" + "00", 257);
  put("root\0", 265);
  put("root\0", 297);
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(`${octal(sum, 6)}\0 `, 148);
  return block;
}
