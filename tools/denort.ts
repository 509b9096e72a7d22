/**
 * Restores Deno's base program (`denort`) from a program that `deno compile` made.
 *
 * `deno compile` (2.8 and later, ELF) appends to the base: the sections `.sui.phdrs` (the program
 * headers and two more) and `.note.sui` (the program's own code), a longer `.shstrtab` and a new
 * section table; then it points the ELF header at them. The old tables stay where they were, so
 * the base can be cut out again exactly. Whoever calls this must compare the result's hash with
 * the known one: a cut that succeeds proves only that the file had the right shape.
 *
 * Source: libsui (elf.rs), and elf(5) for the offsets.
 */

const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const PT_PHDR = 6;
/** `deno compile` adds this many sections, and as many program headers. */
const ADDED = 2;

/** Offsets of the ELF64 header fields that we read or write back. */
const EHDR = {
  phoff: 32,
  shoff: 40,
  ehsize: 52,
  phentsize: 54,
  phnum: 56,
  shentsize: 58,
  shnum: 60,
  shstrndx: 62,
} as const;

/** Offsets within one section header. */
const SHDR = { name: 0, offset: 24, size: 32 } as const;

function refuse(why: string): SyntaxError {
  return new SyntaxError(`Cannot restore denort: ${why}`);
}

/** Reads integers, and refuses to read past the end. */
class Reader {
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Throws unless `length` bytes at `offset` lie in the file. */
  check(offset: number, length: number, what: string): void {
    const end = offset + length;
    if (end > this.bytes.length) {
      throw refuse(`${what} ends at byte ${end}, the file at ${this.bytes.length}`);
    }
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  /** As a plain number: no offset in a file that fits in memory is above 2^53. */
  u64(offset: number): number {
    const value = this.#view.getBigUint64(offset, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw refuse(`0x${value.toString(16)} as an offset`);
    }
    return Number(value);
  }

  /** The NUL-terminated text at `offset`, at most up to `end`. */
  text(offset: number, end: number): string {
    let stop = offset;
    while (stop < end && this.bytes[stop] !== 0) stop++;
    return String.fromCharCode(...this.bytes.subarray(offset, Math.min(stop, offset + 64)));
  }
}

/** Where the base's own tables are. */
interface Tables {
  /** Offset of the section table. */
  readonly sections: number;
  /** First byte behind it. */
  readonly end: number;
}

/** Last place at or before `from` where `needle` begins, -1 if none. */
function lastIndexOf(bytes: Uint8Array, needle: Uint8Array, from: number): number {
  for (let at = bytes.lastIndexOf(needle[0]!, from); at >= 0;) {
    let i = 1;
    while (i < needle.length && bytes[at + i] === needle[i]) i++;
    if (i === needle.length) return at;
    if (at === 0) return -1;
    at = bytes.lastIndexOf(needle[0]!, at - 1);
  }
  return -1;
}

/** Whether `count` section headers at `old` are those at `shoff`, but for `.shstrtab`'s own place. */
function sameSections(
  file: Reader,
  shoff: number,
  old: number,
  count: number,
  names: { readonly index: number; readonly offset: number; readonly size: number },
): boolean {
  const own = names.index * SHDR_SIZE;
  for (let i = 0; i < count * SHDR_SIZE; i++) {
    const inOwnPlace = i >= own + SHDR.offset && i < own + SHDR.size + 8;
    if (!inOwnPlace && file.bytes[old + i] !== file.bytes[shoff + i]) return false;
  }
  return file.u64(old + own + SHDR.offset) === names.offset &&
    file.u64(old + own + SHDR.size) === names.size;
}

/** Finds the base's section table behind its section names, both before `limit`. */
function findTables(file: Reader, shoff: number, shnum: number, index: number): Tables {
  const last = shoff + (shnum - ADDED) * SHDR_SIZE;
  const limit = file.u64(last + SHDR.offset);
  const strings = file.u64(shoff + index * SHDR_SIZE + SHDR.offset);
  const size = Math.min(file.u32(last + SHDR.name), file.u32(last + SHDR_SIZE + SHDR.name));
  file.check(limit, 0, ".sui.phdrs");
  const whole = file.u64(shoff + index * SHDR_SIZE + SHDR.size);
  if (size === 0 || size > whole) throw refuse(`${size} of ${whole} bytes of section names`);
  const names = file.bytes.subarray(strings, strings + size);
  const count = shnum - ADDED;
  for (let from = limit - size; from >= 0;) {
    const offset = lastIndexOf(file.bytes, names, from);
    if (offset < 0) break;
    const sections = Math.ceil((offset + size) / 8) * 8;
    const end = sections + count * SHDR_SIZE;
    if (end <= limit && sameSections(file, shoff, sections, count, { index, offset, size })) {
      for (let i = end; i < limit; i++) {
        if (file.bytes[i] !== 0) {
          throw refuse(`byte ${i}, behind the base's section table, is not 0`);
        }
      }
      return { sections, end };
    }
    from = offset - 1;
  }
  throw refuse("the base's own section table was not found before .sui.phdrs");
}

/**
 * Cuts the base program out of a compiled one.
 *
 * @param bytes a whole ELF64 little-endian file, made by `deno compile` 2.8 or later; not changed
 * @returns the base program's bytes, a copy
 * @throws SyntaxError if the file is anything else, with the first thing that does not fit
 */
export function restore(bytes: Uint8Array): Uint8Array {
  const file = new Reader(bytes);
  file.check(0, EHDR_SIZE, "the ELF header");
  // Magic, 64-bit, little-endian, version 1.
  const ident = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1];
  if (ident.some((byte, i) => bytes[i] !== byte)) {
    throw refuse("not a 64-bit little-endian ELF file");
  }
  for (
    const [field, want] of [
      ["ehsize", EHDR_SIZE],
      ["phentsize", PHDR_SIZE],
      ["shentsize", SHDR_SIZE],
    ] as const
  ) {
    const got = file.u16(EHDR[field]);
    if (got !== want) throw refuse(`e_${field} is ${got}, not ${want}`);
  }

  const shoff = file.u64(EHDR.shoff);
  const shnum = file.u16(EHDR.shnum);
  const index = file.u16(EHDR.shstrndx);
  file.check(shoff, shnum * SHDR_SIZE, "the section table");
  if (index + ADDED >= shnum) throw refuse(`${shnum} sections, and names in number ${index}`);
  const strings = file.u64(shoff + index * SHDR_SIZE + SHDR.offset);
  const stringsEnd = strings + file.u64(shoff + index * SHDR_SIZE + SHDR.size);
  file.check(strings, stringsEnd - strings, ".shstrtab");
  for (const [back, want] of [[2, ".sui.phdrs"], [1, ".note.sui"]] as const) {
    const name = file.u32(shoff + (shnum - back) * SHDR_SIZE + SHDR.name);
    const got = file.text(strings + name, stringsEnd);
    if (got !== want) throw refuse(`section ${shnum - back} is "${got}", not "${want}"`);
  }

  const phnum = file.u16(EHDR.phnum) - ADDED;
  file.check(EHDR_SIZE, PHDR_SIZE, "the first program header");
  const first = { type: file.u32(EHDR_SIZE), size: file.u64(EHDR_SIZE + 32) };
  if (first.type !== PT_PHDR || first.size !== phnum * PHDR_SIZE) {
    throw refuse(
      `the program header at ${EHDR_SIZE} has type ${first.type} and size ${first.size}, ` +
        `not ${PT_PHDR} and ${phnum * PHDR_SIZE}`,
    );
  }

  const tables = findTables(file, shoff, shnum, index);
  const base = bytes.slice(0, tables.end);
  const header = new DataView(base.buffer);
  header.setBigUint64(EHDR.phoff, BigInt(EHDR_SIZE), true);
  header.setBigUint64(EHDR.shoff, BigInt(tables.sections), true);
  header.setUint16(EHDR.phnum, phnum, true);
  header.setUint16(EHDR.shnum, shnum - ADDED, true);
  return base;
}

if (import.meta.main) {
  const [from, to] = Deno.args;
  if (from === undefined || to === undefined) {
    throw new TypeError(
      "Cannot restore denort: want two arguments, the compiled program and the output",
    );
  }
  Deno.writeFileSync(to, restore(Deno.readFileSync(from)), { mode: 0o755 });
}
