/**
 * What a captured frame is: Ethernet, VLAN tags, ARP, IPv4 and IPv6 with fragments and extension
 * headers, ICMP, UDP, TCP, SCTP, and what VXLAN carries. Pure.
 *
 * A capture sees every packet of a node several times, so this makes no text and copies no bytes:
 * a packet is its frame and the places of its parts. It never throws; where a frame is too short,
 * or says what cannot be, the part that is whole is told and the rest left out.
 *
 * @module
 */

/** What a frame starts with: an Ethernet header, or (tunnels without one) an IP packet. */
export type LinkType = "ethernet" | "ip";

/** One packet inside a frame. Places are offsets into the frame's bytes. */
export interface Packet {
  /** The frame that the places are in. */
  readonly bytes: Uint8Array;
  /** Where the packet starts: its Ethernet header, or its IP header where it has none. */
  readonly at: number;
  /** EtherType behind all VLAN tags; 0 when the frame is too short to tell. */
  readonly etherType: number;
  /** VLAN identifiers, outermost first. */
  readonly vlans: readonly number[];
  readonly network: Network;
}

/** The network layer. */
export type Network =
  | IpPart
  /** `arp`: Ethernet and IPv4; `operation` 1 asks, 2 answers. */
  | {
    readonly kind: "arp";
    readonly operation: number;
    /** Places of the sender's and the target's protocol address, 4 bytes each. */
    readonly sender: number;
    readonly target: number;
    /** Place of the sender's hardware address, 6 bytes. */
    readonly senderMac: number;
  }
  /** Another protocol, or too short to tell. */
  | { readonly kind: "other" };

/** An IP header and what it carries. */
export interface IpPart {
  readonly kind: "ip";
  readonly family: 4 | 6;
  /** Where the header starts. */
  readonly at: number;
  /** Places of the addresses, 4 or 16 bytes each. */
  readonly source: number;
  readonly destination: number;
  /** Time to live, or hop limit. */
  readonly ttl: number;
  /** `IPPROTO_*` of what is carried, behind extension headers. */
  readonly protocol: number;
  /** Identification, 16 bits for IPv4; of the fragment header, 32 bits, for IPv6; else 0. */
  readonly id: number;
  /** It is one of several fragments. */
  readonly fragment: boolean;
  /** More fragments follow. */
  readonly more: boolean;
  /** Bytes of the datagram's payload before this fragment's. */
  readonly offset: number;
  /** Where the payload starts: the header of {@link IpPart.transport}. */
  readonly payload: number;
  /** Bytes of payload that the header tells of; the frame may have been cut to fewer. */
  readonly length: number;
  readonly transport: Transport;
}

/** The transport layer. */
export type Transport =
  | TcpPart
  | UdpPart
  | {
    readonly kind: "icmp";
    readonly type: number;
    readonly code: number;
    /** Identifier and sequence number of echoes; undefined for other messages. */
    readonly echo?: { readonly id: number; readonly sequence: number };
    /** The packet that an error is about. */
    readonly about?: IpPart;
  }
  | {
    readonly kind: "sctp";
    readonly sourcePort: number;
    readonly destinationPort: number;
    readonly tag: number;
    /** Type of the first chunk; undefined when it is cut off. */
    readonly chunk?: number;
  }
  /** A later fragment (its ports are in the first one), another protocol, or cut off. */
  | { readonly kind: "other" };

/** A TCP header. */
export interface TcpPart {
  readonly kind: "tcp";
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** {@link TcpFlag}s. */
  readonly flags: number;
  readonly window: number;
  /** Where the data starts, and how many bytes there are by the IP header. */
  readonly data: number;
  readonly length: number;
}

/** A UDP header. */
export interface UdpPart {
  readonly kind: "udp";
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** Where the header starts. */
  readonly at: number;
  /** Bytes of data, by the UDP header. */
  readonly length: number;
  /** What it carries, where the port is one of VXLAN. */
  readonly vxlan?: { readonly vni: number; readonly inner: Packet };
}

/** RFC 9293 §3.1. */
export const TcpFlag = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32 } as const;

/** linux/if_ether.h. */
export const EtherType = {
  IPV4: 0x0800,
  ARP: 0x0806,
  VLAN: 0x8100,
  IPV6: 0x86dd,
  QINQ: 0x88a8,
} as const;

/** `IPPROTO_*`, linux/in.h and linux/in6.h. */
export const Protocol = {
  ICMP: 1,
  TCP: 6,
  UDP: 17,
  ICMPV6: 58,
  SCTP: 132,
} as const;

/** IPv6 extension headers that have a length; the fragment header (44) is told apart. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, 135, 139, 140]);
const FRAGMENT = 44;
const AUTHENTICATION = 51;

/** Tags, extension headers and tunnels in tunnels beyond this are not followed: nobody sends them. */
const DEEPEST = 8;

const NO_VLANS: readonly number[] = [];
const OTHER = { kind: "other" } as const;

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! << 8 | bytes[at + 1]!;
}

function u32(bytes: Uint8Array, at: number): number {
  return (u16(bytes, at) << 16 | u16(bytes, at + 2)) >>> 0;
}

/**
 * Decodes a frame.
 *
 * @param bytes the frame as far as it was captured
 * @param vxlanPorts UDP destination ports that are VXLAN's
 */
export function decode(
  bytes: Uint8Array,
  vxlanPorts: ReadonlySet<number>,
  link: LinkType = "ethernet",
): Packet {
  return link === "ethernet"
    ? ethernet(bytes, 0, vxlanPorts, 0)
    : { bytes, at: 0, etherType: 0, vlans: NO_VLANS, network: ip(bytes, 0, vxlanPorts, 0) };
}

function ethernet(
  bytes: Uint8Array,
  at: number,
  ports: ReadonlySet<number>,
  depth: number,
): Packet {
  if (at + 14 > bytes.length) return { bytes, at, etherType: 0, vlans: NO_VLANS, network: OTHER };
  let next = at + 14;
  let etherType = u16(bytes, at + 12);
  let vlans = NO_VLANS;
  while (
    (etherType === EtherType.VLAN || etherType === EtherType.QINQ) && next + 4 <= bytes.length &&
    vlans.length < DEEPEST
  ) {
    vlans = [...vlans, u16(bytes, next) & 0xfff];
    etherType = u16(bytes, next + 2);
    next += 4;
  }
  return { bytes, at, etherType, vlans, network: network(bytes, etherType, next, ports, depth) };
}

function network(
  bytes: Uint8Array,
  etherType: number,
  at: number,
  ports: ReadonlySet<number>,
  depth: number,
): Network {
  switch (etherType) {
    case EtherType.IPV4:
    case EtherType.IPV6:
      return ip(bytes, at, ports, depth);
    case EtherType.ARP:
      // Ethernet (1), IPv4, lengths 6 and 4: the only kind there is (RFC 826).
      if (at + 28 > bytes.length || u32(bytes, at) !== 0x0001_0800) return OTHER;
      return {
        kind: "arp",
        operation: u16(bytes, at + 6),
        senderMac: at + 8,
        sender: at + 14,
        target: at + 24,
      };
  }
  return OTHER;
}

function ip(
  bytes: Uint8Array,
  at: number,
  ports: ReadonlySet<number>,
  depth: number,
): IpPart | typeof OTHER {
  const version = at < bytes.length ? bytes[at]! >> 4 : 0;
  if (version === 4) return ip4(bytes, at, ports, depth);
  return version === 6 ? ip6(bytes, at, ports, depth) : OTHER;
}

/** RFC 791 §3.1. */
function ip4(
  bytes: Uint8Array,
  at: number,
  ports: ReadonlySet<number>,
  depth: number,
): IpPart | typeof OTHER {
  const header = (bytes[at]! & 15) * 4;
  if (header < 20 || at + header > bytes.length) return OTHER;
  const total = u16(bytes, at + 2);
  const flags = u16(bytes, at + 6);
  const payload = at + header;
  // A packet that a device is to cut up may be longer than its header can say.
  const length = total === 0 ? bytes.length - payload : Math.max(0, total - header);
  const [more, offset] = [(flags & 0x2000) !== 0, (flags & 0x1fff) * 8];
  const protocol = bytes[at + 9]!;
  return {
    kind: "ip",
    family: 4,
    at,
    source: at + 12,
    destination: at + 16,
    ttl: bytes[at + 8]!,
    protocol,
    id: u16(bytes, at + 4),
    fragment: more || offset > 0,
    more,
    offset,
    payload,
    length,
    transport: offset > 0 ? OTHER : transport(bytes, protocol, payload, length, ports, depth),
  };
}

/** RFC 8200 §3 and §4. */
function ip6(
  bytes: Uint8Array,
  at: number,
  ports: ReadonlySet<number>,
  depth: number,
): IpPart | typeof OTHER {
  if (at + 40 > bytes.length) return OTHER;
  const told = u16(bytes, at + 4);
  const end = told === 0 ? bytes.length : at + 40 + told;
  let [protocol, payload, id, offset] = [bytes[at + 6]!, at + 40, 0, 0];
  let [fragment, more] = [false, false];
  for (let i = 0; i < DEEPEST && offset === 0 && payload + 8 <= bytes.length; i++) {
    if (protocol === FRAGMENT) {
      const field = u16(bytes, payload + 2);
      [offset, more, id] = [field & 0xfff8, (field & 1) !== 0, u32(bytes, payload + 4)];
      fragment = true;
      protocol = bytes[payload]!;
      payload += 8;
    } else if (EXTENSIONS.has(protocol) || protocol === AUTHENTICATION) {
      const units = bytes[payload + 1]!;
      const size = protocol === AUTHENTICATION ? (units + 2) * 4 : (units + 1) * 8;
      protocol = bytes[payload]!;
      payload += size;
    } else break;
  }
  const length = Math.max(0, end - payload);
  return {
    kind: "ip",
    family: 6,
    at,
    source: at + 8,
    destination: at + 24,
    ttl: bytes[at + 7]!,
    protocol,
    id,
    fragment,
    more,
    offset,
    payload,
    length,
    transport: offset > 0 ? OTHER : transport(bytes, protocol, payload, length, ports, depth),
  };
}

function transport(
  bytes: Uint8Array,
  protocol: number,
  at: number,
  length: number,
  ports: ReadonlySet<number>,
  depth: number,
): Transport {
  switch (protocol) {
    case Protocol.TCP:
      return tcp(bytes, at, length);
    case Protocol.UDP:
      return udp(bytes, at, ports, depth);
    case Protocol.ICMP:
    case Protocol.ICMPV6:
      return icmp(bytes, protocol, at, depth);
    case Protocol.SCTP:
      // RFC 9260 §3.1: ports, verification tag, checksum, then chunks.
      if (at + 12 > bytes.length) return OTHER;
      return {
        kind: "sctp",
        sourcePort: u16(bytes, at),
        destinationPort: u16(bytes, at + 2),
        tag: u32(bytes, at + 4),
        ...(at + 13 > bytes.length ? {} : { chunk: bytes[at + 12]! }),
      };
  }
  return OTHER;
}

function tcp(bytes: Uint8Array, at: number, length: number): Transport {
  if (at + 20 > bytes.length) return OTHER;
  const header = (bytes[at + 12]! >> 4) * 4;
  if (header < 20) return OTHER;
  return {
    kind: "tcp",
    sourcePort: u16(bytes, at),
    destinationPort: u16(bytes, at + 2),
    sequence: u32(bytes, at + 4),
    acknowledgement: u32(bytes, at + 8),
    flags: bytes[at + 13]!,
    window: u16(bytes, at + 14),
    data: at + header,
    length: Math.max(0, length - header),
  };
}

function udp(bytes: Uint8Array, at: number, ports: ReadonlySet<number>, depth: number): Transport {
  if (at + 8 > bytes.length) return OTHER;
  const destinationPort = u16(bytes, at + 2);
  const part: UdpPart = {
    kind: "udp",
    sourcePort: u16(bytes, at),
    destinationPort,
    at,
    length: Math.max(0, u16(bytes, at + 4) - 8),
  };
  if (!ports.has(destinationPort) || depth >= DEEPEST) return part;
  const vxlan = at + 8;
  // RFC 7348 §5: the flag that says that there is a VNI, and room for an inner frame.
  if (vxlan + 8 + 14 > bytes.length || (bytes[vxlan]! & 0x08) === 0) return part;
  const vni = u32(bytes, vxlan + 4) >>> 8;
  return { ...part, vxlan: { vni, inner: ethernet(bytes, vxlan + 8, ports, depth + 1) } };
}

/** Echo requests and answers: RFC 792, RFC 4443 §4. */
const ECHOES: Readonly<Record<number, readonly number[]>> = {
  [Protocol.ICMP]: [0, 8],
  [Protocol.ICMPV6]: [128, 129],
};
/** Errors that quote the packet they are about: unreachable, quench, redirect, expired, bad; v6: 1 to 4. */
const ERRORS: Readonly<Record<number, readonly number[]>> = {
  [Protocol.ICMP]: [3, 4, 5, 11, 12],
  [Protocol.ICMPV6]: [1, 2, 3, 4],
};

const NO_PORTS: ReadonlySet<number> = new Set();

function icmp(bytes: Uint8Array, protocol: number, at: number, depth: number): Transport {
  if (at + 8 > bytes.length) return OTHER;
  const [type, code] = [bytes[at]!, bytes[at + 1]!];
  if (ECHOES[protocol]!.includes(type)) {
    const echo = { id: u16(bytes, at + 4), sequence: u16(bytes, at + 6) };
    return { kind: "icmp", type, code, echo };
  }
  const quotes = ERRORS[protocol]!.includes(type) && depth < DEEPEST;
  const about = quotes ? ip(bytes, at + 8, NO_PORTS, depth + 1) : OTHER;
  return { kind: "icmp", type, code, ...(about.kind === "ip" ? { about } : {}) };
}

/** The packet that a pod or host sent: what VXLAN carries, or the packet itself. */
export function innermost(packet: Packet): Packet {
  const { network } = packet;
  const carried = network.kind === "ip" && network.transport.kind === "udp"
    ? network.transport.vxlan
    : undefined;
  return carried === undefined ? packet : innermost(carried.inner);
}
