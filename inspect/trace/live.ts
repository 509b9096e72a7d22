/**
 * `trace --live`: what the kernel told of one real packet, in words and as findings. Pure.
 *
 * @module
 */

import { type MarkedPacket, readEvents, type Seen } from "../../engine/trace/marked.ts";
import type { LiveResult } from "../../ffi/live_trace.ts";
import type { Finding } from "../finding.ts";

/** What is told of it. */
export interface Live {
  readonly packet: MarkedPacket;
  readonly seen: readonly Seen[];
  /** The rule or policy that dropped it. */
  readonly dropped?: { readonly table: string; readonly chain: string; readonly rule: string };
  readonly answered: boolean;
}

/**
 * Puts it together.
 *
 * @param ruleOf the text of a rule by its number.
 */
export function liveOf(
  packet: MarkedPacket,
  { table, events, answered }: LiveResult,
  nameOf: (index: number) => string,
  ruleOf: (table: string, chain: string, handle: bigint) => string | undefined,
): Live {
  const { seen, dropped } = readEvents(events, table, nameOf);
  if (dropped === undefined) return { packet, seen, answered };
  const { table: at, chain, handle } = dropped;
  const rule = handle === undefined ? "policy drop" : ruleOf(at, chain, handle) ?? `rule ${handle}`;
  return { packet, seen, answered, dropped: { table: at, chain, rule } };
}

const SENT = {
  icmp: "an echo request",
  tcp: "a TCP SYN",
  udp: "an empty UDP datagram",
} as const;

/** One line for each thing that was seen. */
export function liveText({ packet, seen, dropped, answered }: Live): string {
  const { src, dst, protocol, dport } = packet;
  const to = dport === undefined ? dst : `${dst} port ${dport}`;
  const places = seen.map(({ hook, iif, oif }) => {
    const links = [iif, oif].filter((name) => name !== undefined).join(" -> ");
    return links === "" ? hook : `${hook} (${iif === undefined ? `-> ${oif}` : links})`;
  });
  const end = dropped !== undefined
    ? `dropped in ${dropped.table} ${dropped.chain}: ${dropped.rule}`
    : answered
    ? "answered"
    : "no answer";
  return [
    `live: sent ${SENT[protocol]} from ${src} to ${to}`,
    `  seen at ${places.join(", ") || "no hook of this node"}`,
    `  ${end}`,
    "",
  ].join("\n");
}

/** What is wrong. */
export function liveFindings({ packet, seen, dropped, answered }: Live): Finding[] {
  if (dropped !== undefined) {
    return [{
      id: "live-dropped",
      subject: dropped.table,
      short: "dropped",
      what: `the kernel dropped the packet in ${dropped.chain}: ${dropped.rule}`,
      breaks: `packets from ${packet.src} to ${packet.dst} end here`,
      fix: "see whose rule that is; it must not match packets of pods:",
      command: `nft -a list chain ${dropped.table} ${dropped.chain}`,
    }];
  }
  // Nobody needs to answer an empty datagram.
  if (answered || packet.protocol === "udp") return [];
  const last = seen.at(-1);
  const where = last === undefined
    ? "no hook of this node saw it: it was lost in the pod, its pair or the bridge"
    : `it was last seen at ${last.hook}${
      last.oif === undefined ? "" : `, on its way to ${last.oif}`
    }`;
  return [{
    id: "live-no-answer",
    subject: packet.dst,
    short: "no answer",
    what: `no answer came; ${where}`,
    breaks: `${packet.src} gets no answer of ${packet.dst}`,
    fix: "if it left this node, follow it on the other one, and see whether it comes in:",
    command: `twill inspect capture --pod ${packet.dst}`,
  }];
}

/** The document's key. */
export function liveJson({ packet, seen, dropped, answered }: Live): Record<string, unknown> {
  return {
    packet: {
      source: packet.src,
      destination: packet.dst,
      protocol: packet.protocol,
      port: packet.dport ?? null,
    },
    seen: seen.map(({ hook, iif = null, oif = null }) => ({ hook, iif, oif })),
    dropped: dropped ?? null,
    answered,
  };
}
