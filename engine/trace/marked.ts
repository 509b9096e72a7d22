/**
 * One packet that can be told from all others, and the rules that make the kernel tell where it
 * comes by (`meta nftrace`). Pure.
 *
 * The table has `flags owner`: it goes with the socket that made it, so also when the program is
 * killed.
 *
 * @module
 */

import { type Family, familyOf, type Ip, ipBytes } from "../ip.ts";
import { checksum, echoRequest } from "./icmp.ts";

/** What is sent. */
export interface MarkedPacket {
  readonly src: Ip;
  readonly dst: Ip;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** Destination port; not for icmp. */
  readonly dport?: number;
  /** The source port, or the identifier of an echo: 1 to 65535. */
  readonly token: number;
}

/** Where the packet is when another is put around it. */
export interface Encapsulated {
  readonly port: number;
  readonly remote: Ip;
  /** Source and destination inside, as they are then. */
  readonly src: Ip;
  readonly dst: Ip;
}

/** netinet/in.h: the protocol's number in each family. */
export function protocolNumber(protocol: MarkedPacket["protocol"], family: Family): number {
  return { tcp: 6, udp: 17, icmp: family === 4 ? 1 : 58 }[protocol];
}

/** The packet behind its IP header: a TCP SYN, an empty UDP datagram, an echo request. */
export function markedBytes({ src, dst, protocol, dport = 0, token }: MarkedPacket): Uint8Array<
  ArrayBuffer
> {
  const family = familyOf(dst);
  if (protocol === "icmp") {
    return echoRequest(family, { id: token, sequence: 1 }, family === 4 ? 84 : 104);
  }
  const bytes = new Uint8Array(protocol === "tcp" ? 20 : 8);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, token);
  view.setUint16(2, dport);
  if (protocol === "udp") {
    view.setUint16(4, bytes.length);
  } else {
    view.setUint32(4, token * 65_537 >>> 0);
    // Header of five words; SYN.
    view.setUint16(12, 0x5002);
    view.setUint16(14, 64_240);
  }
  const at = protocol === "tcp" ? 16 : 6;
  view.setUint16(at, checksum(withPseudoHeader(src, dst, protocolNumber(protocol, family), bytes)));
  return bytes;
}

/** RFC 9293 §3.1, RFC 8200 §8.1. */
function withPseudoHeader(src: Ip, dst: Ip, protocol: number, bytes: Uint8Array): Uint8Array {
  const [from, to] = [ipBytes(src), ipBytes(dst)];
  const tail = familyOf(dst) === 4
    ? [0, protocol, bytes.length >> 8, bytes.length & 0xff]
    : [0, 0, bytes.length >> 8, bytes.length & 0xff, 0, 0, 0, protocol];
  return Uint8Array.from([...from, ...to, ...tail, ...bytes]);
}

/** Whether a received packet answers ours. @param bytes from the IP header in IPv4, else behind it. */
export function answers(
  { dst, protocol, dport, token }: MarkedPacket,
  bytes: Uint8Array,
): boolean {
  const family = familyOf(dst);
  const at = family === 4 ? ((bytes[0] ?? 0) & 0xf) * 4 : 0;
  if (bytes.length < at + 8) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at);
  if (protocol === "icmp") {
    return bytes[at] === (family === 4 ? 0 : 129) && view.getUint16(4) === token;
  }
  return view.getUint16(0) === dport && view.getUint16(2) === token;
}

/** Priorities before everybody's and after everybody's. */
const FIRST = -400;
const LAST = 400;

/** The hooks at which we want to hear of the packet. */
const HOOKS = ["prerouting", "input", "forward", "output", "postrouting"] as const;

/**
 * The table that makes the kernel tell.
 *
 * @param outer where the packet will be inside another, if it will.
 */
export function markingTable(
  name: string,
  packet: MarkedPacket,
  outer: Encapsulated | undefined,
): string {
  const first = `${matchOf(packet)} meta nftrace set 1`;
  const around = outer === undefined ? [] : [`${outerMatch(outer)} meta nftrace set 1`];
  const begin = (["prerouting", "output"] as const).map((hook) =>
    chain(`begin-${hook}`, hook, FIRST, hook === "output" ? [first, ...around] : [first])
  );
  const end = HOOKS.map((hook) => chain(`seen-${hook}`, hook, LAST, []));
  return `table inet ${name} {\n\tflags owner\n${[...begin, ...end].join("")}}\n`;
}

function chain(name: string, hook: string, priority: number, rules: readonly string[]): string {
  const lines = rules.map((rule) => `\t\t${rule}\n`).join("");
  return `\tchain ${name} {\n\t\ttype filter hook ${hook} priority ${priority}; policy accept;\n${lines}\t}\n`;
}

function matchOf({ src, dst, protocol, dport, token }: MarkedPacket): string {
  const family = familyOf(dst) === 4 ? "ip" : "ip6";
  const ends = `${family} saddr ${src} ${family} daddr ${dst}`;
  if (protocol !== "icmp") return `${ends} ${protocol} dport ${dport} ${protocol} sport ${token}`;
  return `${ends} ${family === "ip" ? "icmp" : "icmpv6"} id ${token}`;
}

/** Bits from the UDP header to the inner source address: UDP 8, VXLAN 8, Ethernet 14, IPv4 12. */
const INNER_SOURCE = (8 + 8 + 14 + 12) * 8;

function outerMatch({ port, remote, src, dst }: Encapsulated): string {
  const hex = (ip: Ip): string =>
    `0x${Array.from(ipBytes(ip), (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
  return `ip daddr ${remote} udp dport ${port} ` +
    `@th,${INNER_SOURCE},32 ${hex(src)} @th,${INNER_SOURCE + 32},32 ${hex(dst)}`;
}

/** One word of the kernel about a packet. */
export interface TraceEvent {
  /** The same for one packet at all hooks. */
  readonly id: number;
  readonly table: string;
  readonly chain: string;
  /** A rule matched; a chain of ours or others ended with its policy, or came back. */
  readonly kind: "rule" | "policy" | "return";
  /** Number of the rule. */
  readonly handle?: bigint;
  readonly verdict?: "accept" | "drop" | "continue" | "jump" | "goto" | "return" | "other";
  /** Indexes of links. */
  readonly iif?: number;
  readonly oif?: number;
}

/** What the kernel told of our packet at one hook. */
export interface Seen {
  /** `prerouting`, …; with `outer-` before it, of the packet around ours. */
  readonly hook: string;
  readonly iif?: string;
  readonly oif?: string;
}

/** Where it was dropped. */
export interface Dropped {
  readonly table: string;
  readonly chain: string;
  readonly handle?: bigint;
}

/** Puts the kernel's words together, in their order. */
export function readEvents(
  events: readonly TraceEvent[],
  table: string,
  nameOf: (index: number) => string,
): { readonly seen: readonly Seen[]; readonly dropped?: Dropped } {
  const seen: Seen[] = [];
  let dropped: Dropped | undefined;
  // A bridge copies packets, and copies have numbers of their own; but the packet around ours is
  // made when ours is through, and begins with its own mark.
  let outer = false;
  for (const { id, table: at, chain, kind, handle, verdict, iif, oif } of events) {
    const marks = at === table && chain === "begin-output" && kind === "rule";
    if (marks && id !== events[0]?.id && seen.length > 0) outer = true;
    if (verdict === "drop") {
      dropped = {
        table: at,
        chain,
        ...(kind === "rule" && handle !== undefined ? { handle } : {}),
      };
    }
    const hook = /^(?:begin|seen)-(\w+)$/.exec(at === table ? chain : "")?.[1];
    if (hook === undefined) continue;
    const name = outer ? `outer-${hook}` : hook;
    if (seen.some((one) => one.hook === name)) continue;
    seen.push({
      hook: name,
      ...(iif === undefined ? {} : { iif: nameOf(iif) }),
      ...(oif === undefined ? {} : { oif: nameOf(oif) }),
    });
  }
  return { seen, ...(dropped === undefined ? {} : { dropped }) };
}
