/**
 * What `headers_test.ts` asks the C headers about tun devices and many datagrams in one call.
 *
 * @module
 */

import { CONTROL, DatagramConstant, IOVEC, MMSGHDR, SEGMENT_LENGTH } from "../../ffi/datagrams.ts";
import { IFREQ, TunConstant } from "../../ffi/tun.ts";

/** A C expression, and our number. */
type Row = readonly [expression: string, ours: number];

/** By what they are about. */
export const RELAY_ROWS: Readonly<Record<string, readonly Row[]>> = {
  "tun devices": [
    ...Object.entries(TunConstant),
    ["sizeof(struct ifreq)", IFREQ.size],
    ["offsetof(struct ifreq, ifr_flags)", IFREQ.flags],
  ],
  "struct mmsghdr": [
    ...Object.entries(DatagramConstant),
    ["sizeof(struct mmsghdr)", MMSGHDR.size],
    ["offsetof(struct mmsghdr, msg_hdr.msg_name)", MMSGHDR.name],
    ["offsetof(struct mmsghdr, msg_hdr.msg_namelen)", MMSGHDR.nameLength],
    ["offsetof(struct mmsghdr, msg_hdr.msg_iov)", MMSGHDR.vector],
    ["offsetof(struct mmsghdr, msg_hdr.msg_iovlen)", MMSGHDR.vectorLength],
    ["offsetof(struct mmsghdr, msg_hdr.msg_control)", MMSGHDR.control],
    ["offsetof(struct mmsghdr, msg_hdr.msg_controllen)", MMSGHDR.controlLength],
    ["offsetof(struct mmsghdr, msg_hdr.msg_flags)", MMSGHDR.flags],
    ["offsetof(struct mmsghdr, msg_len)", MMSGHDR.length],
    ["sizeof(struct iovec)", IOVEC.size],
    ["offsetof(struct iovec, iov_len)", IOVEC.length],
    ["CMSG_SPACE(sizeof(int))", CONTROL.size],
    ["CMSG_LEN(0)", CONTROL.data],
    ["CMSG_LEN(2)", SEGMENT_LENGTH],
    ["offsetof(struct cmsghdr, cmsg_level)", CONTROL.level],
    ["offsetof(struct cmsghdr, cmsg_type)", CONTROL.type],
  ],
};
