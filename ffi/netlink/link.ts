/**
 * Links on the wire: `struct ifinfomsg` and `IFLA_*` (linux/if_link.h, linux/rtnetlink.h), with
 * the driver data of bridge, veth and vxlan, and the port data of a bridge. Pure.
 *
 * @module
 */

import {
  be16,
  type Decoded,
  flag,
  type Format,
  ip,
  mac,
  type Members,
  plainNested,
  raw,
  readAttributes,
  readStruct,
  s32,
  type Struct,
  text,
  u16,
  u32,
  u8,
  writeAttribute,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";

/** `struct ifinfomsg`. */
export const IFINFOMSG = {
  size: 16,
  members: {
    family: { at: 0, as: u8 },
    /** `ARPHRD_*`. */
    type: { at: 2, as: u16 },
    index: { at: 4, as: s32 },
    /** `IFF_*`. */
    flags: { at: 8, as: u32 },
    /** Which of the flags are meant. */
    change: { at: 12, as: u32 },
  },
} as const satisfies Struct;

/** `IFF_*`, linux/if.h. */
export const Iff = {
  UP: 0x1,
  LOOPBACK: 0x8,
  PROMISC: 0x100,
  ALLMULTI: 0x200,
  LOWER_UP: 0x10000,
} as const;

/** `IF_OPER_*`, linux/if.h: what {@link LINK}'s `operstate` holds. */
export const OperState = { UNKNOWN: 0, UP: 6 } as const;

/** `IFLA_VXLAN_*`. */
export const VXLAN = {
  /** VNI, 0 to 2^24-1. */
  id: { type: 1, as: u32 },
  /** Index of the link that carries the outer packets. */
  link: { type: 3, as: u32 },
  /** Outer source address, IPv4. */
  local: { type: 4, as: ip },
  /** Outer source address, IPv6. */
  local6: { type: 17, as: ip },
  /** 0: taken from the route. */
  ttl: { type: 5, as: u8 },
  tos: { type: 6, as: u8 },
  /** 0 or 1; flannel wants 0. */
  learning: { type: 7, as: u8 },
  proxy: { type: 11, as: u8 },
  rsc: { type: 12, as: u8 },
  l2miss: { type: 13, as: u8 },
  l3miss: { type: 14, as: u8 },
  zeroChecksum6Tx: { type: 19, as: u8 },
  zeroChecksum6Rx: { type: 20, as: u8 },
  gbp: { type: 23, as: flag },
  /** Outer UDP port; 8472 when absent. */
  port: { type: 15, as: be16 },
} as const;
/** Driver data of a vxlan link. */
export type Vxlan = Decoded<typeof VXLAN>;

/** `IFLA_IPTUN_*`, linux/if_tunnel.h. */
export const IPTUN = {
  /** Outer source address; 0.0.0.0: the route's. */
  local: { type: 2, as: ip },
  /** The other end; 0.0.0.0: the gateway of each packet's route. */
  remote: { type: 3, as: ip },
  /** 0: the inner packet's. */
  ttl: { type: 4, as: u8 },
  /** 0: the outer packet may be cut where the inner one may. */
  pathMtuDiscovery: { type: 10, as: u8 },
} as const;
/** Driver data of an ipip link. */
export type Iptun = Decoded<typeof IPTUN>;

/** `IFLA_BR_*`. */
export const BRIDGE = {
  /** Hundredths of a second. */
  forwardDelay: { type: 1, as: u32 },
  stpState: { type: 5, as: u32 },
  /** 0 or 1. */
  vlanFiltering: { type: 7, as: u8 },
  /** Number of the tag's protocol; a kernel that cannot tell VLANs apart does not say it. */
  vlanProtocol: { type: 8, as: be16 },
} as const;
/** Driver data of a bridge. */
export type Bridge = Decoded<typeof BRIDGE>;

/** `IFLA_BRPORT_*`. */
export const BRIDGE_PORT = {
  /** Hairpin: 0 or 1 (`IFLA_BRPORT_MODE`). */
  hairpin: { type: 4, as: u8 },
  /** 0 or 1: MAC addresses are learned from the frames that come in. */
  learning: { type: 8, as: u8 },
  /** 0 or 1: frames to unknown MAC addresses leave here too. */
  flooding: { type: 9, as: u8 },
  /** 0 or 1. */
  isolated: { type: 33, as: u8 },
} as const;
/** Port data of a link that belongs to a bridge. */
export type BridgePort = Decoded<typeof BRIDGE_PORT>;

/** `IFLA_INFO_*` as they lie on the wire; the two data blobs depend on the kinds. */
export const INFO = {
  kind: { type: 1, as: text },
  data: { type: 2, as: raw },
  slaveKind: { type: 4, as: text },
  slaveData: { type: 5, as: raw },
} as const;

/** `IFLA_LINKINFO`, decoded as far as we know the driver. */
export interface LinkInfo {
  /** The driver: `bridge`, `veth`, `vxlan`, … */
  readonly kind?: string;
  readonly vxlan?: Vxlan;
  readonly bridge?: Bridge;
  readonly ipip?: Iptun;
  /** The other end, when a pair is created (`VETH_INFO_PEER`). */
  readonly peer?: LinkMessage;
  /** The driver of the master. */
  readonly slaveKind?: string;
  readonly bridgePort?: BridgePort;
}

/** `VETH_INFO_PEER`, linux/veth.h: a whole link message. */
export const VETH = {
  peer: {
    type: 1,
    as: {
      write: (out: Writer, value: LinkMessage): void => writeLink(out, value),
      // Without the peer's own driver data: nothing nests without end.
      read: (bytes: Uint8Array): LinkMessage => ({
        ...readStruct(IFINFOMSG, bytes),
        attributes: readAttributes(PEER_LINK, bytes.subarray(IFINFOMSG.size)),
      }),
    },
  },
} as const;

/** The format of `IFLA_INFO_DATA` for each driver whose data we know. */
const DRIVER_DATA = {
  vxlan: plainNested(VXLAN),
  bridge: plainNested(BRIDGE),
  ipip: plainNested(IPTUN),
  peer: plainNested(VETH),
};

const linkInfo: Format<LinkInfo> = {
  write: (out, { kind, vxlan, bridge, ipip, peer, slaveKind, bridgePort }) => {
    const data = <T>(type: number, format: Format<T>, value: T | undefined): void => {
      if (value !== undefined) writeAttribute(out, type, () => format.write(out, value));
    };
    data(INFO.kind.type, text, kind);
    data(INFO.data.type, DRIVER_DATA.vxlan, vxlan);
    data(INFO.data.type, DRIVER_DATA.bridge, bridge);
    data(INFO.data.type, DRIVER_DATA.ipip, ipip);
    data(INFO.data.type, DRIVER_DATA.peer, peer && { peer });
    data(INFO.slaveKind.type, text, slaveKind);
    data(INFO.slaveData.type, plainNested(BRIDGE_PORT), bridgePort);
  },
  read: (bytes) => {
    const { kind, data, slaveKind, slaveData } = readAttributes(INFO, bytes);
    return {
      ...(kind === undefined ? {} : { kind }),
      ...(data === undefined ? {} : readDriver(kind, data)),
      ...(slaveKind === undefined ? {} : { slaveKind }),
      ...(slaveKind !== "bridge" || slaveData === undefined
        ? {}
        : { bridgePort: readAttributes(BRIDGE_PORT, slaveData) }),
    };
  },
};

function readDriver(kind: string | undefined, data: Uint8Array): Partial<LinkInfo> {
  switch (kind) {
    case "vxlan":
      return { vxlan: readAttributes(VXLAN, data) };
    case "bridge":
      return { bridge: readAttributes(BRIDGE, data) };
    case "ipip":
      return { ipip: readAttributes(IPTUN, data) };
    case "veth": {
      const { peer } = readAttributes(VETH, data);
      return peer === undefined ? {} : { peer };
    }
  }
  return {};
}

/** `IFLA_*`. */
export const LINK = {
  name: { type: 3, as: text },
  address: { type: 1, as: mac },
  /** Bytes. */
  mtu: { type: 4, as: u32 },
  txQueueLength: { type: 13, as: u32 },
  /** Index of the lower link, or of the veth peer. */
  link: { type: 5, as: u32 },
  /** Index of the bridge; 0 detaches. */
  master: { type: 10, as: u32 },
  operstate: { type: 16, as: u8 },
  /** Words that `ip link` shows beside the name, up to 255 bytes. */
  alias: { type: 20, as: text },
  info: { type: 18, as: linkInfo },
  /** {@link LINK_STATS}; absent where the request leaves them out. */
  stats: { type: 23, as: raw },
  /** Descriptor of the namespace to create the link in, or to move it to. */
  netnsFd: { type: 28, as: u32 },
  /** `RTEXT_FILTER_*`, linux/rtnetlink.h: what a dump may leave out. */
  extMask: { type: 29, as: u32 },
  promiscuity: { type: 30, as: u32 },
  /** Id of the namespace that `link` refers to. */
  linkNetnsId: { type: 37, as: s32 },
} as const;

const { info: _info, ...PEER_LINK } = LINK;

/** `struct rtnl_link_stats64`: what a link counted since it was made. */
export const LINK_STATS = {
  receivedPackets: 0,
  sentPackets: 8,
  receivedBytes: 16,
  sentBytes: 24,
  receiveErrors: 32,
  sendErrors: 40,
  receiveDropped: 48,
  sendDropped: 56,
} as const;
/** The counters of a link. */
export type LinkStats = { readonly [K in keyof typeof LINK_STATS]: number };

/** Reads a link's counters; what a shorter struct does not have is 0. */
export function readLinkStats(bytes: Uint8Array): LinkStats {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const at = (offset: number): number =>
    offset + 8 <= bytes.length ? Number(view.getBigUint64(offset, true)) : 0;
  const entries = Object.entries(LINK_STATS).map(([name, offset]) => [name, at(offset)]);
  return Object.fromEntries(entries) as LinkStats;
}

/** A link message after the netlink header. */
export interface LinkMessage extends Partial<Members<typeof IFINFOMSG>> {
  readonly attributes: Decoded<typeof LINK>;
}

/** Appends header and attributes. */
export function writeLink(out: Writer, link: LinkMessage): void {
  writeStruct(out, IFINFOMSG, link);
  writeAttributes(out, LINK, link.attributes);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readLink(bytes: Uint8Array): LinkMessage & Members<typeof IFINFOMSG> {
  return {
    ...readStruct(IFINFOMSG, bytes),
    attributes: readAttributes(LINK, bytes.subarray(IFINFOMSG.size)),
  };
}
