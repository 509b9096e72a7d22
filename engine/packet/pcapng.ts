/**
 * The capture file format of Wireshark, as far as we write it: one section, interfaces with names
 * and nanosecond time stamps, packets with their direction, counters (draft-ietf-opsawg-pcapng).
 * Pure: makes blocks, writes none.
 *
 * @module
 */

/** Block types. */
const Block = {
  sectionHeader: 0x0a0d0d0a,
  interfaceDescription: 1,
  interfaceStatistics: 5,
  enhancedPacket: 6,
} as const;

/** `LINKTYPE_*` of what a frame starts with. */
const LINK_TYPES = { ethernet: 1, ip: 101 } as const;

/** Says which byte order the section has. */
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Option numbers; 0 ends a list, 1 is a comment, the others depend on the block. */
const Option = {
  end: 0,
  comment: 1,
  sectionSystem: 3,
  sectionProgram: 4,
  interfaceName: 2,
  interfaceDescription: 3,
  interfaceMac: 6,
  interfaceTimeResolution: 9,
  packetFlags: 2,
  statisticsReceived: 4,
  statisticsDropped: 5,
} as const;

/** 10^-9 seconds. */
const NANOSECONDS = 9;

/** An interface, as a reader of the file shall see it. */
export interface CaptureInterface {
  readonly name: string;
  readonly description?: string;
  readonly comment?: string;
  readonly mac?: Uint8Array;
  readonly link: keyof typeof LINK_TYPES;
  /** The most bytes of a frame that were kept. */
  readonly snapLength: number;
}

/** One frame for the file. */
export interface CapturePacket {
  /** Number of the interface, in the order in which they were described. */
  readonly on: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  readonly bytes: Uint8Array;
  /** Bytes that the frame had. */
  readonly length: number;
  readonly out: boolean;
  readonly comment?: string;
}

type OptionValue = readonly [number: number, value: string | Uint8Array];

const encoder = new TextEncoder();

/** What a file starts with. @param program its name and version */
export function sectionHeader(program: string, system: string, comment: string): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, BYTE_ORDER_MAGIC, true);
  view.setUint16(4, 1, true);
  // Length unknown: the file is written as packets come.
  view.setBigInt64(8, -1n, true);
  return block(Block.sectionHeader, body, [
    [Option.sectionSystem, system],
    [Option.sectionProgram, program],
    [Option.comment, comment],
  ]);
}

/** Describes the next interface; it must stand before its packets. */
export function interfaceBlock(
  { name, description, comment, mac, link, snapLength }: CaptureInterface,
): Uint8Array {
  const body = new Uint8Array(8);
  const view = new DataView(body.buffer);
  view.setUint16(0, LINK_TYPES[link], true);
  view.setUint32(4, snapLength, true);
  return block(Block.interfaceDescription, body, [
    [Option.interfaceName, name],
    ...(description === undefined ? [] : [[Option.interfaceDescription, description] as const]),
    ...(comment === undefined ? [] : [[Option.comment, comment] as const]),
    ...(mac === undefined ? [] : [[Option.interfaceMac, mac] as const]),
    [Option.interfaceTimeResolution, Uint8Array.of(NANOSECONDS)],
  ]);
}

/** One packet. */
export function packetBlock(
  { on, time, bytes, length, out, comment }: CapturePacket,
): Uint8Array {
  const body = new Uint8Array(20 + padded(bytes.length));
  const view = new DataView(body.buffer);
  view.setUint32(0, on, true);
  view.setUint32(4, Number(time >> 32n), true);
  view.setUint32(8, Number(time & 0xffffffffn), true);
  view.setUint32(12, bytes.length, true);
  view.setUint32(16, length, true);
  body.set(bytes, 20);
  return block(Block.enhancedPacket, body, [
    // Bits 0 and 1: 1 received, 2 sent.
    [Option.packetFlags, Uint8Array.of(out ? 2 : 1, 0, 0, 0)],
    ...(comment === undefined ? [] : [[Option.comment, comment] as const]),
  ]);
}

/** What an interface showed, and what of it the capture lost. */
export function statisticsBlock(
  { on, time, received, lost }: {
    readonly on: number;
    /** Nanoseconds since 1970. */
    readonly time: bigint;
    readonly received: number;
    readonly lost: number;
  },
): Uint8Array {
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint32(0, on, true);
  view.setUint32(4, Number(time >> 32n), true);
  view.setUint32(8, Number(time & 0xffffffffn), true);
  return block(Block.interfaceStatistics, body, [
    [Option.statisticsReceived, u64(received)],
    [Option.statisticsDropped, u64(lost)],
  ]);
}

function u64(value: number): Uint8Array {
  return new Uint8Array(new BigUint64Array([BigInt(value)]).buffer);
}

/** Everything in a block begins at a multiple of four bytes. */
function padded(length: number): number {
  return length + 3 & ~3;
}

/** A block: type, length, body, options, length again. Little-endian throughout. */
function block(type: number, body: Uint8Array, options: readonly OptionValue[]): Uint8Array {
  const encoded = options.map(([number, value]) =>
    [number, typeof value === "string" ? encoder.encode(value) : value] as const
  );
  const size = encoded.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4);
  const total = 12 + body.length + size;
  const bytes = new Uint8Array(total);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, total, true);
  bytes.set(body, 8);
  let at = 8 + body.length;
  for (const [number, value] of encoded) {
    view.setUint16(at, number, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  // The end of the options is four zero bytes, which are there already.
  view.setUint32(total - 4, total, true);
  return bytes;
}
