/**
 * What is common to the netlink messages of netfilter (linux/netfilter/nfnetlink.h), and the
 * questions to nf_tables whether a table or a chain exists (linux/netfilter/nf_tables.h). Pure.
 *
 * @module
 */

import {
  be16,
  be32,
  be64,
  type Fields,
  nested,
  readAttributes,
  type Struct,
  text,
  u8,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";

/** `NETLINK_NETFILTER`, linux/netlink.h. */
export const NETLINK_NETFILTER = 12;

/** `struct nfgenmsg`. */
export const NFGENMSG = {
  size: 4,
  members: {
    /** `NFPROTO_*`, which are `AF_*` where there is one. */
    family: { at: 0, as: u8 },
    version: { at: 1, as: u8 },
    resource: { at: 2, as: be16 },
  },
} as const satisfies Struct;

/** `NFPROTO_*`, linux/netfilter.h. */
export const NfProto = { INET: 1, IPV4: 2, BRIDGE: 7, IPV6: 10 } as const;

/** `NFNL_SUBSYS_*`: the high byte of a message's type. */
export const Subsystem = { CTNETLINK: 1, NFTABLES: 10 } as const;

/** `NFT_MSG_*`: the low byte. */
export const NftMessage = {
  GETTABLE: 1,
  GETCHAIN: 4,
  GETRULE: 7,
  GETSET: 10,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  DELSETELEM: 14,
  GETOBJ: 19,
} as const;

/** `NFNL_MSG_BATCH_*`: around the messages of a transaction. */
export const Batch = { BEGIN: 16, END: 17 } as const;

/** Appends the body of a message around a transaction of nf_tables. */
export function writeBatch(out: Writer): void {
  writeStruct(out, NFGENMSG, { resource: Subsystem.NFTABLES });
}

/** A message's type. */
export function messageType(subsystem: number, message: number): number {
  return subsystem << 8 | message;
}

/** `NFTA_TABLE_*`. */
export const NFT_TABLE = { name: { type: 1, as: text } } as const;

/** `NFTA_CHAIN_*`. */
export const NFT_CHAIN = { table: { type: 1, as: text }, name: { type: 3, as: text } } as const;

/** `NFTA_COUNTER_*`. */
export const NFT_COUNTER = { packets: { type: 2, as: be64 } } as const satisfies Fields;

/** `NFTA_OBJ_*`. */
export const NFT_OBJ = {
  table: { type: 1, as: text },
  name: { type: 2, as: text },
  type: { type: 3, as: be32 },
  data: { type: 4, as: nested(NFT_COUNTER) },
} as const satisfies Fields;

/** `NFT_OBJECT_COUNTER`. */
const COUNTER = 1;

/** Something that nf_tables may hold: a table, or a chain in it. */
export interface NftObject {
  /** As in `nft list table FAMILY NAME`. */
  readonly family: "ip" | "ip6" | "inet" | "bridge";
  readonly table: string;
  readonly chain?: string;
}

const FAMILY = {
  ip: NfProto.IPV4,
  ip6: NfProto.IPV6,
  inet: NfProto.INET,
  bridge: NfProto.BRIDGE,
} as const satisfies Record<NftObject["family"], number>;

/** The type of the message that asks for an object. */
export function nftQuestion({ chain }: NftObject): number {
  const message = chain === undefined ? NftMessage.GETTABLE : NftMessage.GETCHAIN;
  return messageType(Subsystem.NFTABLES, message);
}

/** Appends the body of the message that asks for an object. */
export function writeNftObject(out: Writer, { family, table, chain }: NftObject): void {
  writeStruct(out, NFGENMSG, { family: FAMILY[family] });
  if (chain === undefined) writeAttributes(out, NFT_TABLE, { name: table });
  else writeAttributes(out, NFT_CHAIN, { table, name: chain });
}

/** The name of a chain, if it is one of this table. */
export function readNftChain(bytes: Uint8Array, table: string): string | undefined {
  const chain = readAttributes(NFT_CHAIN, bytes.subarray(NFGENMSG.size));
  return chain.table === table ? chain.name : undefined;
}

/** Appends the body of the question for all counters of a table. */
export function writeNftCounters(out: Writer, { family, table }: NftObject): void {
  writeStruct(out, NFGENMSG, { family: FAMILY[family] });
  writeAttributes(out, NFT_OBJ, { table, type: COUNTER });
}

/** Reads one counter: its name, and how many packets it has seen. */
export function readNftCounter(bytes: Uint8Array): [name: string, packets: number] {
  const { name = "", data } = readAttributes(NFT_OBJ, bytes.subarray(NFGENMSG.size));
  return [name, data?.packets ?? 0];
}
