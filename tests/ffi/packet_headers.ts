/**
 * What `headers_test.ts` asks the C headers about packet sockets.
 *
 * @module
 */

import {
  ADDRESS_AT,
  ADDRESS_SIZE,
  BLOCK_AT,
  PACKET_AT,
  PACKET_HEADER,
  PacketConstant,
} from "../../ffi/packet.ts";

/** A C expression, and our number. */
type Row = readonly [expression: string, ours: number];

/** Offsets; `names` has the C name of each member. */
function offsets<T extends Readonly<Record<string, number>>>(
  type: string,
  at: T,
  names: Readonly<Record<keyof T, string>>,
): Row[] {
  return Object.entries(at).map(([name, ours]) => [`offsetof(${type}, ${names[name]})`, ours]);
}

/** By what they are about. */
export const PACKET_ROWS: Readonly<Record<string, readonly Row[]>> = {
  "packet sockets": [
    ...Object.entries(PacketConstant),
    ["BPF_RET | BPF_K", 6],
    ["sizeof(struct tpacket_req3)", 28],
    ["sizeof(struct tpacket_stats_v3)", 12],
    ["sizeof(struct sock_filter)", 8],
    ["offsetof(struct sock_fprog, filter)", 8],
  ],
  "struct tpacket_block_desc": offsets("struct tpacket_block_desc", BLOCK_AT, {
    status: "hdr.bh1.block_status",
    packets: "hdr.bh1.num_pkts",
    first: "hdr.bh1.offset_to_first_pkt",
    length: "hdr.bh1.blk_len",
  }),
  "struct tpacket3_hdr": [
    ["TPACKET_ALIGN(sizeof(struct tpacket3_hdr))", PACKET_HEADER],
    ...offsets("struct tpacket3_hdr", PACKET_AT, {
      next: "tp_next_offset",
      sec: "tp_sec",
      nsec: "tp_nsec",
      snapLength: "tp_snaplen",
      length: "tp_len",
      status: "tp_status",
      mac: "tp_mac",
      vlan: "hv1.tp_vlan_tci",
      vlanProtocol: "hv1.tp_vlan_tpid",
    }),
  ],
  "struct sockaddr_ll": [
    ["sizeof(struct sockaddr_ll)", ADDRESS_SIZE],
    ...offsets("struct sockaddr_ll", ADDRESS_AT, {
      protocol: "sll_protocol",
      index: "sll_ifindex",
      type: "sll_pkttype",
    }),
  ],
};
