/**
 * What the kernel tells of packets with `meta nftrace`: by which chains and rules they come.
 *
 * @module
 */

import type { TraceEvent } from "../engine/trace/marked.ts";
import { attributes, text } from "./netlink/codec.ts";
import type { Message } from "./netlink/message.ts";
import { NetlinkSocket, Overrun } from "./netlink/socket.ts";
import type { Poller } from "./poll.ts";

/** linux/netlink.h, linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h; a test asks them. */
export const NftTrace = {
  NETLINK_NETFILTER: 12,
  NFNLGRP_NFTRACE: 9,
  NFNL_SUBSYS_NFTABLES: 10,
  NFT_MSG_TRACE: 17,
  NFTA_TRACE_TABLE: 1,
  NFTA_TRACE_CHAIN: 2,
  NFTA_TRACE_RULE_HANDLE: 3,
  NFTA_TRACE_TYPE: 4,
  NFTA_TRACE_VERDICT: 5,
  NFTA_TRACE_ID: 6,
  NFTA_TRACE_NETWORK_HEADER: 8,
  NFTA_TRACE_TRANSPORT_HEADER: 9,
  NFTA_TRACE_IIF: 10,
  NFTA_TRACE_OIF: 12,
  NFTA_TRACE_NFPROTO: 15,
  NFTA_TRACE_POLICY: 16,
  NFTA_VERDICT_CODE: 1,
  NFT_TRACETYPE_POLICY: 1,
  NFT_TRACETYPE_RETURN: 2,
  NFT_TRACETYPE_RULE: 3,
} as const;
const C = NftTrace;

/** `NFPROTO_*` as nft writes them, linux/netfilter.h. */
const FAMILIES: Readonly<Record<number, string>> = { 1: "inet", 2: "ip", 7: "bridge", 10: "ip6" };

/** `NF_DROP`, `NF_ACCEPT`, `NFT_CONTINUE` and so on, linux/netfilter.h and nf_tables.h. */
const VERDICTS: Readonly<Record<number, NonNullable<TraceEvent["verdict"]>>> = {
  0: "drop",
  1: "accept",
  [-1]: "continue",
  [-3]: "jump",
  [-4]: "goto",
  [-5]: "return",
};

const KINDS: Readonly<Record<number, TraceEvent["kind"]>> = {
  [C.NFT_TRACETYPE_POLICY]: "policy",
  [C.NFT_TRACETYPE_RETURN]: "return",
  [C.NFT_TRACETYPE_RULE]: "rule",
};

/** `struct nfgenmsg`, 4 bytes. */
const NFGENMSG_SIZE = 4;

/** Hears of traced packets in the calling thread's network namespace, until disposed. */
export class TraceListener implements Disposable {
  readonly #stack: DisposableStack;

  /**
   * @param hear also gets the packet's headers (40 and 20 bytes at most), which the kernel tells
   * with the first word about a packet at each hook.
   * @throws {OpError} without CAP_NET_ADMIN.
   */
  constructor(
    poller: Poller,
    hear: (event: TraceEvent, network?: Uint8Array, transport?: Uint8Array) => void,
  ) {
    using undo = new DisposableStack();
    const socket = undo.use(new NetlinkSocket(C.NETLINK_NETFILTER));
    socket.enlarge();
    socket.join(C.NFNLGRP_NFTRACE);
    undo.use(poller.watch(socket.fd, () => {
      try {
        for (let heard = socket.poll(); heard !== undefined; heard = socket.poll()) {
          for (const message of heard) {
            const event = traceEvent(message);
            if (event === undefined) continue;
            const found = new Map(attributes(message.body.subarray(NFGENMSG_SIZE)));
            hear(
              event,
              found.get(C.NFTA_TRACE_NETWORK_HEADER),
              found.get(C.NFTA_TRACE_TRANSPORT_HEADER),
            );
          }
        }
      } catch (e) {
        // Others trace many packets: ours may still come.
        if (!(e instanceof Overrun)) throw e;
      }
    }));
    this.#stack = undo.move();
  }

  [Symbol.dispose](): void {
    this.#stack.dispose();
  }
}

/** Reads one message; undefined when it is about something else. */
export function traceEvent({ type, body }: Message): TraceEvent | undefined {
  if (type !== (C.NFNL_SUBSYS_NFTABLES << 8 | C.NFT_MSG_TRACE)) return undefined;
  const found = new Map(attributes(body.subarray(NFGENMSG_SIZE)));
  const word = (number: number): string | undefined => {
    const payload = found.get(number);
    return payload === undefined ? undefined : text.read(payload);
  };
  const number = (attribute: number): number | undefined => numberIn(found.get(attribute));
  const id = number(C.NFTA_TRACE_ID);
  const kind = KINDS[number(C.NFTA_TRACE_TYPE) ?? 0];
  if (id === undefined || kind === undefined) return undefined;
  const handle = found.get(C.NFTA_TRACE_RULE_HANDLE);
  const [iif, oif] = [number(C.NFTA_TRACE_IIF), number(C.NFTA_TRACE_OIF)];
  const verdict = verdictOf(found.get(C.NFTA_TRACE_VERDICT), number(C.NFTA_TRACE_POLICY));
  const family = FAMILIES[body[0] ?? 0] ?? "inet";
  return {
    id,
    kind,
    table: `${family} ${word(C.NFTA_TRACE_TABLE) ?? ""}`,
    chain: word(C.NFTA_TRACE_CHAIN) ?? "",
    ...(handle?.length === 8 ? { handle: viewOf(handle).getBigUint64(0) } : {}),
    ...(verdict === undefined ? {} : { verdict }),
    ...(iif === undefined ? {} : { iif }),
    ...(oif === undefined ? {} : { oif }),
  };
}

function verdictOf(
  nested: Uint8Array | undefined,
  policy: number | undefined,
): TraceEvent["verdict"] {
  const code = nested === undefined
    ? policy
    : numberIn(new Map(attributes(nested)).get(C.NFTA_VERDICT_CODE));
  return code === undefined ? undefined : VERDICTS[code | 0] ?? "other";
}

/** A 32-bit number in network byte order. */
function numberIn(payload: Uint8Array | undefined): number | undefined {
  return payload?.length === 4 ? viewOf(payload).getUint32(0) : undefined;
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
