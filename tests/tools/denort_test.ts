import assert from "node:assert/strict";
import fc from "fast-check";
import { restore } from "../../tools/denort.ts";

const PHDRS = 3;
const NAMES = ["", ".text", ".shstrtab"];

/** NUL-terminated names one after the other, and where each begins. */
function strings(names: readonly string[]): { bytes: Uint8Array; at: number[] } {
  const at: number[] = [];
  let text = "";
  for (const name of names) {
    at.push(text.length);
    text += `${name}\0`;
  }
  return { bytes: new TextEncoder().encode(text), at };
}

interface Section {
  readonly name: number;
  readonly offset: number;
  readonly size: number;
}

/** Writes a section table at `at`, and points the ELF header at it and at `phoff`. */
function finish(
  file: Uint8Array,
  at: number,
  sections: Section[],
  phoff: number,
  phnum: number,
): void {
  const view = new DataView(file.buffer);
  for (const [i, { name, offset, size }] of sections.entries()) {
    view.setUint32(at + i * 64, name, true);
    view.setBigUint64(at + i * 64 + 24, BigInt(offset), true);
    view.setBigUint64(at + i * 64 + 32, BigInt(size), true);
  }
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setBigUint64(32, BigInt(phoff), true);
  view.setBigUint64(40, BigInt(at), true);
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, phnum, true);
  view.setUint16(58, 64, true);
  view.setUint16(60, sections.length, true);
  view.setUint16(62, 2, true);
}

/**
 * A tiny base program, and the same after what `deno compile` does to one: `code` in .note.sui.
 *
 * Base: header, 3 program headers (the first is PT_PHDR), text, names, section table.
 */
function pair(text: Uint8Array, code: Uint8Array): { base: Uint8Array; compiled: Uint8Array } {
  const textAt = 64 + PHDRS * 56;
  const { bytes: names, at } = strings(NAMES);
  const namesAt = textAt + text.length;
  const tableAt = Math.ceil((namesAt + names.length) / 8) * 8;
  const base = new Uint8Array(tableAt + NAMES.length * 64);
  const view = new DataView(base.buffer);
  view.setUint32(64, 6, true);
  view.setBigUint64(64 + 32, BigInt(PHDRS * 56), true);
  base.set(text, textAt);
  base.set(names, namesAt);
  const sections: Section[] = [
    { name: at[0]!, offset: 0, size: 0 },
    { name: at[1]!, offset: textAt, size: text.length },
    { name: at[2]!, offset: namesAt, size: names.length },
  ];
  finish(base, tableAt, sections, 64, PHDRS);

  const { bytes: newNames, at: newAt } = strings([...NAMES, ".sui.phdrs", ".note.sui"]);
  const phdrsAt = Math.ceil(base.length / 4096) * 4096;
  const phdrsSize = (PHDRS + 2) * 56;
  const newNamesAt = phdrsAt + phdrsSize + code.length;
  const newTableAt = Math.ceil((newNamesAt + newNames.length) / 8) * 8;
  const compiled = new Uint8Array(newTableAt + (NAMES.length + 2) * 64);
  compiled.set(base);
  compiled.set(code, phdrsAt + phdrsSize);
  compiled.set(newNames, newNamesAt);
  finish(
    compiled,
    newTableAt,
    [
      ...sections.slice(0, 2),
      { name: at[2]!, offset: newNamesAt, size: newNames.length },
      { name: newAt[3]!, offset: phdrsAt, size: phdrsSize },
      { name: newAt[4]!, offset: phdrsAt + phdrsSize, size: code.length },
    ],
    phdrsAt,
    PHDRS + 2,
  );
  return { base, compiled };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const SAMPLE = pair(bytes("the runtime"), bytes("somebody's program"));

/** The sample with a change. */
function changed(change: (file: Uint8Array, view: DataView) => void): Uint8Array {
  const file = SAMPLE.compiled.slice();
  change(file, new DataView(file.buffer));
  return file;
}

Deno.test("restore: gives the base back, byte for byte, and leaves its input alone", () => {
  const before = SAMPLE.compiled.slice();
  assert.deepEqual(restore(SAMPLE.compiled), SAMPLE.base);
  assert.deepEqual(SAMPLE.compiled, before);
});

Deno.test("restore: gives any base back, whatever its text and the program are", () => {
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 300 }),
    fc.uint8Array({ maxLength: 300 }),
    (text, code) => {
      const { base, compiled } = pair(text, code);
      assert.deepEqual(restore(compiled), base);
    },
  ));
});

Deno.test("restore: a copy of the section names in the text does not mislead it", () => {
  const { base, compiled } = pair(strings(NAMES).bytes, strings(NAMES).bytes);
  assert.deepEqual(restore(compiled), base);
});

const shoff = Number(new DataView(SAMPLE.compiled.buffer).getBigUint64(40, true));
const refused: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ["nothing", new Uint8Array(), /the ELF header ends at byte 64, the file at 0/],
  ["text", bytes("#!/bin/sh\n".repeat(20)), /not a 64-bit little-endian ELF file/],
  ["a base that nothing was added to", SAMPLE.base, /3 sections, and names in number 2/],
  ["a cut file", SAMPLE.compiled.subarray(0, -1), /the section table ends at byte/],
  [
    "a header of another size",
    changed((_, view) => view.setUint16(52, 52, true)),
    /e_ehsize is 52/,
  ],
  [
    "an offset beyond all memory",
    changed((_, view) => view.setBigUint64(40, 1n << 60n, true)),
    /0x1000000000000000 as an offset/,
  ],
  [
    "another name for the last section",
    changed((file) => file[shoff - 5] = 0x58),
    /section 4 is ".*X.*", not "\.note\.sui"/,
  ],
  ["another program header count", changed((_, view) => view.setUint16(56, 9, true)), /has type 6/],
  [
    "a section that differs from the base's",
    changed((file) => file[shoff + 64 + 4] = 1),
    /section table was not found/,
  ],
  [
    "something between the base and what was added",
    changed((file) => file[SAMPLE.base.length + 3] = 1),
    /is not 0/,
  ],
];

for (const [what, file, message] of refused) {
  Deno.test(`restore: refuses ${what}, and says why`, () => {
    assert.throws(() => restore(file), (e) => {
      assert.ok(e instanceof SyntaxError, String(e));
      assert.match(e.message, /^Cannot restore denort: /);
      assert.match(e.message, message);
      return true;
    });
  });
}

Deno.test("restore: any damage gives a base or a SyntaxError, never another exception", () => {
  const damage = fc.array(
    fc.tuple(fc.nat(SAMPLE.compiled.length - 1), fc.integer({ min: 0, max: 255 })),
    { minLength: 1, maxLength: 8 },
  );
  // Half of it in the ELF header and the section table, where nearly every byte decides something.
  const sharp = fc.array(
    fc.tuple(
      fc.oneof(fc.nat(63), fc.nat(5 * 64 - 1).map((i) => shoff + i)),
      fc.integer({ min: 0, max: 255 }),
    ),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(
      fc.oneof(damage, sharp),
      fc.nat(SAMPLE.compiled.length),
      fc.boolean(),
      (list, length, cut) => {
        const file = changed((all) => list.forEach(([at, value]) => all[at] = value));
        try {
          restore(cut ? file.subarray(0, length) : file);
        } catch (e) {
          assert.ok(e instanceof SyntaxError, String(e));
        }
      },
    ),
    { numRuns: 2000 },
  );
});
