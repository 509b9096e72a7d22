/**
 * What is asked of rules of nf_tables (linux/netfilter/nf_tables.h). Pure.
 *
 * @module
 */

import {
  attributes,
  type Fields,
  nested,
  raw,
  readAttributes,
  text,
  u32,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";
import { NFGENMSG, NfProto } from "./netfilter.ts";

/** `NFTA_RULE_*`. */
const NFT_RULE = {
  table: { type: 1, as: text },
  chain: { type: 2, as: text },
  expressions: { type: 4, as: raw },
} as const satisfies Fields;

/** `NFTA_EXPR_*`. */
const NFT_EXPR = { name: { type: 1, as: text }, data: { type: 2, as: raw } } as const;

/** `NFTA_DATA_VALUE`; of four bytes that are a number in the host's order. */
const NFT_DATA = { value: { type: 1, as: u32 } } as const satisfies Fields;

/** `NFTA_BITWISE_XOR`. */
const NFT_BITWISE = { xor: { type: 5, as: nested(NFT_DATA) } } as const satisfies Fields;

/** Appends the body of the question for the rules of a chain. */
export function writeRulesQuestion(out: Writer, table: string, chain: string): void {
  writeStruct(out, NFGENMSG, { family: NfProto.INET });
  writeAttributes(out, NFT_RULE, { table, chain });
}

/** The bits that a rule switches on in a number of four bytes, such as `ct mark`. @throws {OpError} */
export function readMarks(bytes: Uint8Array): number[] {
  const { expressions } = readAttributes(NFT_RULE, bytes.subarray(NFGENMSG.size));
  const marks: number[] = [];
  for (const [, expression] of attributes(expressions ?? new Uint8Array())) {
    const { name, data } = readAttributes(NFT_EXPR, expression);
    if (name !== "bitwise" || data === undefined) continue;
    const { xor } = readAttributes(NFT_BITWISE, data);
    if (xor?.value !== undefined) marks.push(xor.value);
  }
  return marks;
}
