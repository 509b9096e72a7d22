/**
 * What makes the kernel tell of packets that policies drop (`meta nftrace`), and the packets in what
 * it tells. Pure.
 *
 * The rules of policies stay as they are: a table beside them marks first packets of isolated pods
 * for the trace, while somebody looks. It has `flags owner`, so it goes with whoever made it.
 *
 * @module
 */

import { type Ip, ipFromBytes } from "../ip.ts";
import type { FoundTable } from "./found.ts";
import { MARK_MASK, MARK_SHIFT } from "./frame.ts";

/** A packet that the rules of policies dropped. */
export interface DroppedPacket {
  /** Of the table of policies. */
  readonly chain: string;
  readonly src: Ip;
  readonly dst: Ip;
  /** `TCP`, `UDP`, `SCTP`, `ICMP`, or the protocol's number. */
  readonly protocol: string;
  readonly sport?: number;
  readonly dport?: number;
}

/** Before the chains of policies, which begin at filter - 10. */
const BEFORE = "filter - 20";

/** The table that marks packets of these pods. It is made once, and filled by {@link tellingFill}. */
export function tellingTable(name: string): string {
  const families = [["4", "ip", "ipv4_addr"], ["6", "ip6", "ipv6_addr"]] as const;
  const hook = (hook: string): string =>
    `\tchain at-${hook} {\n\t\ttype filter hook ${hook} priority ${BEFORE}; policy accept;\n${
      families.map(([n, header]) =>
        `\t\t${header} saddr @pods${n} jump tell\n\t\t${header} daddr @pods${n} jump tell\n`
      ).join("")
    }\t}\n`;
  return `table inet ${name} {\n\tflags owner\n${
    families.map(([n, , type]) => `\tset pods${n} {\n\t\ttype ${type}\n\t}\n`).join("")
  }\tchain tell {\n\t}\n${hook("forward")}${hook("input")}}\n`;
}

/** Its content for a table of policies as it is now. */
export function tellingFill(name: string, { maps, generation = 0 }: FoundTable): string {
  const mask = `0x${MARK_MASK.toString(16)}`;
  const current = `0x${(generation * 2 ** MARK_SHIFT).toString(16)}`;
  const fill = (n: 4 | 6): string => {
    const ips = new Set([...maps[`from${n}`].keys(), ...maps[`to${n}`].keys()]);
    const set = `pods${n}`;
    return `flush set inet ${name} ${set}\n${
      ips.size === 0 ? "" : `add element inet ${name} ${set} { ${[...ips].join(", ")} }\n`
    }`;
  };
  return [
    fill(4),
    fill(6),
    `flush chain inet ${name} tell\n`,
    `add rule inet ${name} tell ct state new meta nftrace set 1\n`,
    // Connections that stand and are judged again: they carry another generation than now.
    `add rule inet ${name} tell ct direction original ct mark & ${mask} != 0 ` +
    `ct mark & ${mask} != ${current} meta nftrace set 1\n`,
  ].join("");
}

/** What is in the headers of a packet; undefined when they are too short. */
export function readHeaders(
  network: Uint8Array,
  transport: Uint8Array,
): Omit<DroppedPacket, "chain"> | undefined {
  const six = network[0]! >> 4 === 6;
  if (network.length < (six ? 40 : 20)) return undefined;
  const number = network[six ? 6 : 9]!;
  const at = six ? 8 : 12;
  const length = six ? 16 : 4;
  const [src, dst] = [at, at + length].map((from) =>
    ipFromBytes(network.slice(from, from + length))
  );
  const protocol = NAMES[number] ?? String(number);
  const hasPorts = transport.length >= 4 && PORTED.has(protocol);
  const view = new DataView(transport.buffer, transport.byteOffset, transport.byteLength);
  return {
    src: src!,
    dst: dst!,
    protocol,
    ...(hasPorts ? { sport: view.getUint16(0), dport: view.getUint16(2) } : {}),
  };
}

/** `IPPROTO_*`, netinet/in.h. */
const NAMES: Readonly<Record<number, string>> = {
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMP",
  132: "SCTP",
};
const PORTED: ReadonlySet<string> = new Set(["TCP", "UDP", "SCTP"]);
