/**
 * Sets of nf_tables and their elements as netlink messages (linux/netfilter/nf_tables.h): what nft
 * would say in text, for tables so large that its parser takes longer than the kernel. Pure.
 *
 * @module
 */

import {
  attributes,
  be32,
  type Fields,
  NESTED,
  readAttributes,
  text,
  writeAttribute,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";
import { messageType, NFGENMSG, NfProto, NftMessage, Subsystem } from "./netfilter.ts";

/** `NFTA_SET_*`. */
const NFT_SET = {
  table: { type: 1, as: text },
  name: { type: 2, as: text },
  flags: { type: 3, as: be32 },
  keyType: { type: 4, as: be32 },
  keyLength: { type: 5, as: be32 },
} as const satisfies Fields;

/** `NFTA_SET_ELEM_LIST_*`. */
const LIST = { table: { type: 1, as: text }, set: { type: 2, as: text } } as const satisfies Fields;
/** `NFTA_SET_ELEM_LIST_ELEMENTS`, `NFTA_LIST_ELEM`. */
const [ELEMENTS, ELEMENT] = [3, 1];
/** `NFTA_SET_ELEM_KEY`, `NFTA_SET_ELEM_DATA`; `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`. */
const [KEY, DATA, VALUE, VERDICT] = [1, 2, 1, 2];
/** `NFTA_VERDICT_*`. */
const NFT_VERDICT = {
  code: { type: 1, as: be32 },
  chain: { type: 2, as: text },
} as const satisfies Fields;
/** `NFT_GOTO`: -4. */
const GOTO = 0xffff_fffc;

/** `NFT_SET_*`: an anonymous set goes with its rule; a map has data. */
export const SetFlag = { ANONYMOUS: 0x1, MAP: 0x8 } as const;

/** Elements in one message: with the longest keys and chains they stay below 64 KiB. */
export const MOST_ELEMENTS = 200;
/** The same for plain sets, whose elements are up to 48 bytes long. */
export const MOST_PLAIN_ELEMENTS = 1_300;

/** A set or map of a table. */
export interface NftSetPlace {
  /** Without its family, which is `inet`. */
  readonly table: string;
  readonly set: string;
}

/** An element: its key in network order, each part padded to four bytes; in maps also a chain. */
export interface NftElement {
  readonly key: Uint8Array;
  /** Of a verdict map: where packets go. */
  readonly goto?: string;
}

/** A set as the kernel describes it. */
export interface NftSetHead {
  readonly name: string;
  /** `NFT_SET_*`; 0 for a plain set without intervals, time limits and data. */
  readonly flags: number;
  /** nft's number of the type of elements. */
  readonly keyType: number;
  /** Bytes. */
  readonly keyLength: number;
}

/** The types of the messages that add elements and delete them. */
export const ELEMENT_CHANGE = {
  add: messageType(Subsystem.NFTABLES, NftMessage.NEWSETELEM),
  delete: messageType(Subsystem.NFTABLES, NftMessage.DELSETELEM),
} as const;

/** Appends the body of a message about elements; without any: the question for all of them. */
export function writeElements(
  out: Writer,
  { table, set }: NftSetPlace,
  elements: readonly NftElement[],
): void {
  writeStruct(out, NFGENMSG, { family: NfProto.INET });
  writeAttributes(out, LIST, { table, set });
  if (elements.length === 0) return;
  writeAttribute(out, ELEMENTS | NESTED, () => {
    for (const element of elements) writeElement(out, element);
  });
}

/** What has no data is written at once: there may be a million of them. */
function writeElement(out: Writer, { key, goto }: NftElement): void {
  if (goto === undefined) return writeKey(out, ELEMENT, key, 4);
  writeAttribute(out, ELEMENT | NESTED, () => {
    writeKey(out, KEY, key, 0);
    writeAttribute(out, DATA | NESTED, () => {
      writeAttribute(out, VERDICT | NESTED, () => {
        writeAttributes(out, NFT_VERDICT, { code: GOTO, chain: goto });
      });
    });
  });
}

/** The key as a value, below an attribute; `more` bytes for one more header in between. */
function writeKey(out: Writer, type: number, key: Uint8Array, more: 0 | 4): void {
  const size = 8 + more + key.length;
  const at = out.reserve(size);
  const { view } = out;
  view.setUint16(at, size, true);
  view.setUint16(at + 2, type | NESTED, true);
  if (more > 0) {
    view.setUint16(at + 4, size - 4, true);
    view.setUint16(at + 6, KEY | NESTED, true);
  }
  view.setUint16(at + more + 4, 4 + key.length, true);
  view.setUint16(at + more + 6, VALUE, true);
  for (let i = 0; i < key.length; i++) view.setUint8(at + more + 8 + i, key[i] ?? 0);
}

/** Appends the body of the question for all sets of a table. */
export function writeSetsQuestion(out: Writer, table: string): void {
  writeStruct(out, NFGENMSG, { family: NfProto.INET });
  writeAttributes(out, NFT_SET, { table });
}

/** Reads what the kernel says of one set. @throws {OpError} */
export function readSetHead(bytes: Uint8Array): NftSetHead {
  const { name = "", flags = 0, keyType = 0, keyLength = 0 } = readAttributes(
    NFT_SET,
    bytes.subarray(NFGENMSG.size),
  );
  return { name, flags, keyType, keyLength };
}

/** Walks the keys in one part of a set, without a copy. @throws {OpError} */
export function* readKeys(bytes: Uint8Array): Generator<Uint8Array> {
  for (const list of within(bytes.subarray(NFGENMSG.size), ELEMENTS)) {
    for (const element of within(list, ELEMENT)) {
      for (const key of within(element, KEY)) yield* within(key, VALUE);
    }
  }
}

function* within(bytes: Uint8Array, wanted: number): Generator<Uint8Array> {
  for (const [type, payload] of attributes(bytes)) if (type === wanted) yield payload;
}
