/**
 * Wire formats as tables. A field table says how a value is written and read; the TypeScript type
 * of the decoded object is derived from the table, so the two cannot drift.
 *
 * Everything here is pure. All integers are in the host's order (little-endian on every machine
 * that Deno supports) unless the format's name says `be`.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { type Ip, ipBytes, ipFromBytes } from "../../engine/ip.ts";
import { type Mac, macBytes, macFromBytes } from "../../engine/mac.ts";

/** A growing buffer that messages are written into, one after the other. */
export class Writer {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** What was written, without a copy: valid until the next write. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Starts again with an empty buffer. */
  clear(): void {
    this.#bytes.fill(0, 0, this.#length);
    this.#length = 0;
  }

  /** Appends zero bytes and returns where they start. */
  reserve(size: number): number {
    const at = this.#length;
    this.#length += size;
    if (this.#length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#length, 2 * this.#bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  /** Appends bytes. */
  append(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  /** Pads to a multiple of four (`NLMSG_ALIGNTO`, `NLA_ALIGNTO`). */
  align(): void {
    this.reserve((4 - (this.#length & 3)) & 3);
  }

  /** A view of the whole buffer for writing into reserved places; valid until the next write. */
  get view(): DataView {
    return this.#view;
  }
}

/** How one kind of value lies in bytes. */
export interface Format<T> {
  /** Appends the value. */
  write(out: Writer, value: T): void;
  /** Reads the value from exactly these bytes. @throws {OpError} when they do not fit */
  read(bytes: Uint8Array): T;
}

/** A {@link Format} of fixed size, which may also stand in a message's fixed header. */
export interface Fixed<T> extends Format<T> {
  readonly size: number;
}

/** Bytes that cannot be what the table says. */
export function malformed(what: string): OpError {
  return new OpError("decode", "netlink message", { code: ErrorCode.decode, kernel: what });
}

function exactly(bytes: Uint8Array, size: number): DataView {
  if (bytes.length !== size) throw malformed(`want ${size} bytes, got ${bytes.length}`);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function integer(
  size: number,
  get: (view: DataView) => number,
  set: (view: DataView, at: number, value: number) => void,
): Fixed<number> {
  return {
    size,
    write: (out, value) => {
      const at = out.reserve(size);
      set(out.view, at, value);
    },
    read: (bytes) => get(exactly(bytes, size)),
  };
}

/** Unsigned, one byte. */
export const u8: Fixed<number> = integer(1, (v) => v.getUint8(0), (v, at, n) => v.setUint8(at, n));
/** Unsigned, two bytes. */
export const u16: Fixed<number> = integer(
  2,
  (v) => v.getUint16(0, true),
  (v, at, n) => v.setUint16(at, n, true),
);
/** Unsigned, four bytes. */
export const u32: Fixed<number> = integer(
  4,
  (v) => v.getUint32(0, true),
  (v, at, n) => v.setUint32(at, n, true),
);
/** Signed, four bytes. */
export const s32: Fixed<number> = integer(
  4,
  (v) => v.getInt32(0, true),
  (v, at, n) => v.setInt32(at, n, true),
);
/** Unsigned, two bytes, network order. */
export const be16: Fixed<number> = integer(
  2,
  (v) => v.getUint16(0),
  (v, at, n) => v.setUint16(at, n),
);
/** Unsigned, four bytes, network order. */
export const be32: Fixed<number> = integer(
  4,
  (v) => v.getUint32(0),
  (v, at, n) => v.setUint32(at, n),
);

/** Unsigned, eight bytes, network order; exact below 2^53. */
export const be64: Fixed<number> = integer(
  8,
  (v) => Number(v.getBigUint64(0)),
  (v, at, n) => v.setBigUint64(at, BigInt(n)),
);

/** Any bytes, copied on reading: receive buffers are used again. */
export const raw: Format<Uint8Array> = {
  write: (out, value) => out.append(value),
  read: (bytes) => bytes.slice(),
};

/** UTF-8 text with a zero byte behind, as the kernel writes names. */
export const text: Format<string> = {
  write: (out, value) => out.append(new TextEncoder().encode(`${value}\0`)),
  read: (bytes) => {
    const end = bytes.indexOf(0);
    // The decoder would swallow a byte order mark, which may be part of a name.
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
  },
};

/** An IPv4 or IPv6 address, told apart by its length. */
export const ip: Format<Ip> = {
  write: (out, value) => out.append(ipBytes(value)),
  read: (bytes) => {
    if (bytes.length !== 4 && bytes.length !== 16) {
      throw malformed(`want an address of 4 or 16 bytes, got ${bytes.length}`);
    }
    return ipFromBytes(bytes);
  },
};

/**
 * A hardware address. Links without one, or with another length (tunnels carry IP addresses
 * here), read as undefined.
 */
export const mac: Format<Mac | undefined> = {
  write: (out, value) => out.append(value === undefined ? new Uint8Array() : macBytes(value)),
  read: (bytes) => bytes.length === 6 ? macFromBytes(bytes) : undefined,
};

/** An attribute that speaks by being there. */
export const flag: Format<true> = { write: () => {}, read: () => true };

/** One attribute: its number in the header file, and the format of its payload. */
export interface Field {
  readonly type: number;
  readonly as: Format<never> | Format<unknown>;
}

/** The attributes of one family, by the names that our code uses. */
export type Fields = Readonly<Record<string, Field>>;

/** An attribute that the table does not know, kept as it came. */
export interface Unknown {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** What a table decodes to: each field may be absent; unknown attributes are kept in `rest`. */
export type Decoded<T extends Fields> =
  & {
    readonly [K in keyof T]?: T[K]["as"] extends Format<infer V> ? V : never;
  }
  & { readonly rest?: readonly Unknown[] };

/** `NLA_TYPE_MASK`, linux/netlink.h: the two high bits say "nested" and "network order". */
const TYPE_MASK = 0x3fff;
/** `NLA_F_NESTED`, linux/netlink.h. */
export const NESTED = 0x8000;
/** `NLA_HDRLEN`: length and type, two bytes each. */
const HEADER = 4;

/** Attributes inside an attribute. The kernel's strict parsers want the "nested" bit. */
export function nested<T extends Fields>(table: T): Format<Decoded<T>> & { readonly nested: true } {
  return {
    nested: true,
    write: (out, value) => writeAttributes(out, table, value),
    read: (bytes) => readAttributes(table, bytes),
  };
}

/** The same, written without the "nested" bit, as `ip` and flannel write `IFLA_LINKINFO`. */
export function plainNested<T extends Fields>(table: T): Format<Decoded<T>> {
  return {
    write: (out, value) => writeAttributes(out, table, value),
    read: (bytes) => readAttributes(table, bytes),
  };
}

/** Appends one attribute: header, payload, padding. */
export function writeAttribute(out: Writer, type: number, payload: () => void): void {
  const at = out.reserve(HEADER);
  payload();
  const size = out.length - at;
  if (size > 0xffff) throw new RangeError(`attribute ${type} of ${size} bytes; the limit is 65535`);
  out.view.setUint16(at, size, true);
  out.view.setUint16(at + 2, type, true);
  out.align();
}

/** Appends the given fields in the order of the table, then the unknown ones. */
export function writeAttributes<T extends Fields>(out: Writer, table: T, value: Decoded<T>): void {
  for (const name in table) {
    const field = table[name] as Field;
    const given = value[name];
    if (given === undefined) continue;
    const format = field.as as Format<unknown>;
    const bit = "nested" in format ? NESTED : 0;
    writeAttribute(out, field.type | bit, () => format.write(out, given));
  }
  for (const { type, bytes } of value.rest ?? []) {
    writeAttribute(out, type, () => out.append(bytes));
  }
}

/**
 * Walks attributes: number (masked) and payload, without a copy.
 *
 * @throws {OpError} when a length runs past the end.
 */
export function* attributes(bytes: Uint8Array): Generator<readonly [number, Uint8Array]> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + HEADER <= bytes.length;) {
    const size = view.getUint16(at, true);
    if (size < HEADER || at + size > bytes.length) {
      throw malformed(`attribute of ${size} bytes where ${bytes.length - at} are left`);
    }
    yield [view.getUint16(at + 2, true) & TYPE_MASK, bytes.subarray(at + HEADER, at + size)];
    at += (size + 3) & ~3;
  }
}

/** Reads the attributes of one family. @throws {OpError} when the bytes do not fit the table */
export function readAttributes<T extends Fields>(table: T, bytes: Uint8Array): Decoded<T> {
  const out: Record<string, unknown> = {};
  const rest: Unknown[] = [];
  const names = namesOf(table);
  for (const [type, payload] of attributes(bytes)) {
    const name = names.get(type);
    if (name === undefined) rest.push({ type, bytes: payload.slice() });
    else {
      const value = (table[name] as Field).as.read(payload);
      if (value !== undefined) out[name] = value;
    }
  }
  if (rest.length > 0) out["rest"] = rest;
  return out as Decoded<T>;
}

const NAMES = new WeakMap<Fields, ReadonlyMap<number, string>>();

function namesOf(table: Fields): ReadonlyMap<number, string> {
  let names = NAMES.get(table);
  if (names === undefined) {
    names = new Map(Object.entries(table).map(([name, field]) => [field.type, name]));
    NAMES.set(table, names);
  }
  return names;
}

/** The fixed part in front of the attributes: each member's offset in bytes, and its format. */
export interface Struct {
  readonly size: number;
  readonly members: Readonly<Record<string, { readonly at: number; readonly as: Fixed<number> }>>;
}

/** What a {@link Struct} decodes to; members that are absent when writing are zero. */
export type Members<S extends Struct> = { readonly [K in keyof S["members"]]: number };

/** Appends a fixed header. */
export function writeStruct<S extends Struct>(
  out: Writer,
  struct: S,
  value: Partial<Members<S>>,
): void {
  const start = out.reserve(struct.size);
  for (const name in struct.members) {
    const member = struct.members[name];
    const given = value[name as keyof Members<S>];
    if (member === undefined || given === undefined) continue;
    setInteger(out.view, start + member.at, member.as, given);
  }
}

function setInteger(view: DataView, at: number, format: Fixed<number>, value: number): void {
  switch (format) {
    case u8:
      return view.setUint8(at, value);
    case u16:
      return view.setUint16(at, value, true);
    case be16:
      return view.setUint16(at, value);
    case s32:
      return view.setInt32(at, value, true);
    case u32:
      return view.setUint32(at, value, true);
  }
  throw new TypeError("a header holds integers only");
}

/** Reads a fixed header. @throws {OpError} when there are too few bytes */
export function readStruct<S extends Struct>(struct: S, bytes: Uint8Array): Members<S> {
  if (bytes.length < struct.size) {
    throw malformed(`want a header of ${struct.size} bytes, got ${bytes.length}`);
  }
  const out: Record<string, number> = {};
  for (const name in struct.members) {
    const member = struct.members[name];
    if (member === undefined) continue;
    out[name] = member.as.read(bytes.subarray(member.at, member.at + member.as.size));
  }
  return out as Members<S>;
}
