/**
 * Reads capture files back, by the format's description and not by our writer.
 *
 * @module
 */

import assert from "node:assert/strict";

/** One block; options by number. */
export interface Block {
  readonly type: number;
  readonly body: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** Where the options of each type of block begin. */
const FIXED: Readonly<Record<number, (body: DataView) => number>> = {
  0x0a0d0d0a: () => 16,
  1: () => 8,
  5: () => 12,
  6: (body) => 20 + (body.getUint32(12, true) + 3 & ~3),
};

/** The blocks of a file; fails where lengths do not fit. */
export function readBlocks(bytes: Uint8Array): Block[] {
  const blocks: Block[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const [type, length] = [view.getUint32(at, true), view.getUint32(at + 4, true)];
    assert.equal(length % 4, 0);
    assert.equal(view.getUint32(at + length - 4, true), length, "both lengths of a block");
    const body = bytes.subarray(at + 8, at + length - 4);
    const bodyView = new DataView(body.buffer, body.byteOffset, body.length);
    const fixed = FIXED[type]?.(bodyView);
    assert.notEqual(fixed, undefined, `block type ${type}`);
    blocks.push({ type, body, options: readOptions(body.subarray(fixed)) });
    at += length;
  }
  return blocks;
}

function readOptions(bytes: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const options = new Map<number, Uint8Array>();
  for (let at = 0; at + 4 <= bytes.length;) {
    const [number, length] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (number === 0) {
      assert.equal(at + 4, bytes.length, "nothing stands behind the last option");
      return options;
    }
    options.set(number, bytes.subarray(at + 4, at + 4 + length));
    at += 4 + (length + 3 & ~3);
  }
  assert.fail("the options have no end");
}

/** A file, in words. */
export interface Read {
  readonly program: string;
  readonly comment: string;
  readonly interfaces: readonly {
    readonly name: string;
    readonly description: string;
    readonly comment: string;
    readonly link: number;
    readonly snapLength: number;
    /** 10^-n seconds. */
    readonly resolution: number;
    readonly mac: string;
  }[];
  readonly packets: readonly {
    readonly on: string;
    readonly time: bigint;
    readonly bytes: Uint8Array;
    readonly length: number;
    readonly direction: "in" | "out";
  }[];
  /** Name of the interface, received, lost. */
  readonly statistics: readonly (readonly [name: string, received: bigint, lost: bigint])[];
}

/** Reads a whole file. */
export function readFile(bytes: Uint8Array): Read {
  const [section, ...blocks] = readBlocks(bytes);
  assert.equal(section?.type, 0x0a0d0d0a);
  const text = (bytes?: Uint8Array): string => new TextDecoder().decode(bytes);
  const view = (of: Uint8Array): DataView => new DataView(of.buffer, of.byteOffset, of.length);
  const time = (body: Uint8Array): bigint =>
    BigInt(view(body).getUint32(4, true)) << 32n | BigInt(view(body).getUint32(8, true));
  assert.equal(view(section.body).getUint32(0, true), 0x1a2b3c4d);
  const read = {
    program: text(section.options.get(4)),
    comment: text(section.options.get(1)),
    interfaces: [] as Read["interfaces"][number][],
    packets: [] as Read["packets"][number][],
    statistics: [] as Read["statistics"][number][],
  };
  const nameOf = (body: Uint8Array): string => {
    const found = read.interfaces[view(body).getUint32(0, true)];
    assert.ok(found, "an interface is described before it is used");
    return found.name;
  };
  for (const { type, body, options } of blocks) {
    if (type === 1) {
      read.interfaces.push({
        name: text(options.get(2)),
        description: text(options.get(3)),
        comment: text(options.get(1)),
        link: view(body).getUint16(0, true),
        snapLength: view(body).getUint32(4, true),
        resolution: options.get(9)?.[0] ?? 6,
        mac: [...options.get(6) ?? []].join("."),
      });
    } else if (type === 6) {
      const kept = view(body).getUint32(12, true);
      const flags = options.get(2)?.[0];
      read.packets.push({
        on: nameOf(body),
        time: time(body),
        bytes: body.subarray(20, 20 + kept),
        length: view(body).getUint32(16, true),
        direction: flags === 1 ? "in" : "out",
      });
    } else {
      const number = (option: number): bigint => view(options.get(option)!).getBigUint64(0, true);
      read.statistics.push([nameOf(body), number(4), number(5)]);
    }
  }
  return read;
}
