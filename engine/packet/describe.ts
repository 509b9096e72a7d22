/**
 * Packets in words, close to those of tcpdump. Pure.
 *
 * @module
 */

import { type Ip, ipFromBytes } from "../ip.ts";
import { type Mac, macFromBytes } from "../mac.ts";
import { type IpPart, type Packet, Protocol, TcpFlag, type Transport } from "./decode.ts";

/** The ends of a packet. */
export interface Ends {
  readonly source: Ip;
  readonly destination: Ip;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/**
 * Source and destination; undefined where the packet has no IP addresses.
 *
 * @param ports of a later fragment, when they are known from the first
 */
export function endsOf(
  { bytes, network }: Packet,
  ports?: readonly [source: number, destination: number],
): Ends | undefined {
  switch (network.kind) {
    case "ip": {
      const { transport } = network;
      const [sourcePort, destinationPort] = "sourcePort" in transport
        ? [transport.sourcePort, transport.destinationPort]
        : ports ?? [];
      return {
        ...addressesOf(bytes, network),
        ...(sourcePort === undefined ? {} : { sourcePort }),
        ...(destinationPort === undefined ? {} : { destinationPort }),
      };
    }
    case "arp":
      return {
        source: ipFromBytes(bytes.subarray(network.sender, network.sender + 4)),
        destination: ipFromBytes(bytes.subarray(network.target, network.target + 4)),
      };
    case "other":
      return undefined;
  }
}

function addressesOf(bytes: Uint8Array, ip: IpPart): { source: Ip; destination: Ip } {
  const size = ip.family === 4 ? 4 : 16;
  return {
    source: ipFromBytes(bytes.subarray(ip.source, ip.source + size)),
    destination: ipFromBytes(bytes.subarray(ip.destination, ip.destination + size)),
  };
}

/** The addresses of the Ethernet header that starts the packet; undefined when it is cut off. */
export function macsOf(
  { bytes, at, etherType }: Packet,
): { readonly source: Mac; readonly destination: Mac } | undefined {
  if (etherType === 0) return undefined;
  return {
    destination: macFromBytes(bytes.subarray(at, at + 6)),
    source: macFromBytes(bytes.subarray(at + 6, at + 12)),
  };
}

/** An address with its port, brackets around IPv6 ones. */
export function endText(ip: Ip, port?: number): string {
  if (port === undefined) return ip;
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

/** The name of what is carried: `tcp`, `icmp6`, or a number. */
export function protocolOf({ network, etherType }: Packet): string {
  switch (network.kind) {
    case "arp":
      return "arp";
    case "ip":
      return PROTOCOL_NAMES[network.protocol] ?? `ip-proto-${network.protocol}`;
    case "other":
      return `ethertype-0x${etherType.toString(16).padStart(4, "0")}`;
  }
}

/** IANA "protocol numbers", those that a pod network carries. */
const PROTOCOL_NAMES: Readonly<Record<number, string>> = {
  [Protocol.ICMP]: "icmp",
  2: "igmp",
  4: "ipip",
  [Protocol.TCP]: "tcp",
  [Protocol.UDP]: "udp",
  47: "gre",
  50: "esp",
  [Protocol.ICMPV6]: "icmp6",
  [Protocol.SCTP]: "sctp",
};

/** What a packet is, without its ends: `tcp S seq 17 len 0`, `icmp echo request id 4 seq 1`. */
export function summaryOf(packet: Packet): string {
  const { bytes, network } = packet;
  const name = protocolOf(packet);
  switch (network.kind) {
    case "arp":
      return network.operation === 1
        ? "arp who has it?"
        : network.operation === 2
        ? `arp it is at ${macFromBytes(bytes.subarray(network.senderMac, network.senderMac + 6))}`
        : `arp operation ${network.operation}`;
    case "other":
      return name;
    case "ip":
      return [
        name,
        transportText(network.transport, network.family, bytes),
        network.fragment
          ? `fragment ${network.offset}+${network.length} of ${network.id}${
            network.more ? "" : ", the last"
          }`
          : "",
      ].filter((part) => part !== "").join(" ");
  }
}

const FLAG_LETTERS = [
  [TcpFlag.SYN, "S"],
  [TcpFlag.FIN, "F"],
  [TcpFlag.RST, "R"],
  [TcpFlag.PSH, "P"],
  [TcpFlag.URG, "U"],
  [TcpFlag.ACK, "."],
] as const;

/** TCP's flags as tcpdump writes them: `S.` for SYN and ACK. */
export function flagText(flags: number): string {
  return FLAG_LETTERS.map(([flag, letter]) => flags & flag ? letter : "").join("") || "none";
}

function transportText(transport: Transport, family: 4 | 6, bytes: Uint8Array): string {
  switch (transport.kind) {
    case "tcp": {
      const { flags, sequence, acknowledgement, length } = transport;
      const ack = flags & TcpFlag.ACK ? ` ack ${acknowledgement}` : "";
      return `${flagText(flags)} seq ${sequence}${ack} len ${length}`;
    }
    case "udp":
      return `len ${transport.length}${
        transport.vxlan === undefined ? "" : ` vxlan vni ${transport.vxlan.vni}`
      }`;
    case "sctp":
      return transport.chunk === undefined ? "" : `chunk ${transport.chunk}`;
    case "icmp": {
      const { type, code, echo, about } = transport;
      const words = ICMP_WORDS[family][`${type}/${code}`] ?? ICMP_WORDS[family][type] ??
        `type ${type} code ${code}`;
      if (echo !== undefined) return `${words} id ${echo.id} seq ${echo.sequence}`;
      if (about === undefined) return words;
      const { source, destination } = addressesOf(bytes, about);
      return `${words} (about ${source} > ${destination})`;
    }
    case "other":
      return "";
  }
}

/** Type, or type and code, in words: RFC 792, RFC 4443, RFC 4861. */
const ICMP_WORDS: Readonly<Record<4 | 6, Readonly<Record<string, string>>>> = {
  4: {
    0: "echo reply",
    3: "unreachable",
    "3/0": "network unreachable",
    "3/1": "host unreachable",
    "3/3": "port unreachable",
    "3/4": "too big, fragmentation needed",
    "3/13": "administratively prohibited",
    5: "redirect",
    8: "echo request",
    11: "time exceeded",
  },
  6: {
    1: "unreachable",
    "1/4": "port unreachable",
    2: "too big",
    3: "time exceeded",
    128: "echo request",
    129: "echo reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "multicast listener report",
  },
};
