/**
 * WireGuard's messages (linux/wireguard.h, a family of generic netlink). Pure.
 *
 * @module
 */

import { type Ip, ipBytes, ipFromBytes } from "../../engine/ip.ts";
import {
  attributes,
  type Decoded,
  type Format,
  ip,
  malformed,
  NESTED,
  nested,
  raw,
  text,
  u16,
  u32,
  u8,
  writeAttribute,
  type Writer,
} from "./codec.ts";
import { readGeneric, writeGeneric } from "./generic.ts";

/** `WG_GENL_NAME`. */
export const WIREGUARD_FAMILY = "wireguard";

/** `WG_CMD_*`. */
const Command = { GET_DEVICE: 0, SET_DEVICE: 1 } as const;

/** `WGPEER_F_*`. */
export const PeerFlag = { REMOVE_ME: 1, REPLACE_ALLOWEDIPS: 2 } as const;

/** Address and UDP port of a peer. */
export interface Endpoint {
  readonly ip: Ip;
  readonly port: number;
}

/** `AF_INET`, `AF_INET6`. */
const INET = 2;
const INET6 = 10;

/** Where the parts of `struct sockaddr_in` and `sockaddr_in6` stand (netinet/in.h). */
const SOCKADDR = {
  [INET]: { size: 16, at: 4, length: 4 },
  [INET6]: { size: 28, at: 8, length: 16 },
} as const;

const endpoint: Format<Endpoint> = {
  write: (out, { ip, port }) => {
    const address = ipBytes(ip);
    const family = address.length === 4 ? INET : INET6;
    const { size, at } = SOCKADDR[family];
    const bytes = new Uint8Array(size);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, family, true);
    view.setUint16(2, port);
    bytes.set(address, at);
    out.append(bytes);
  },
  read: (bytes) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const family = bytes.length < 4 ? 0 : view.getUint16(0, true);
    if (family !== INET && family !== INET6) throw malformed(`endpoint of family ${family}`);
    const { size, at, length } = SOCKADDR[family];
    if (bytes.length < size) throw malformed(`endpoint of ${bytes.length} bytes`);
    return { ip: ipFromBytes(bytes.slice(at, at + length)), port: view.getUint16(2) };
  },
};

/** Unsigned, eight bytes; counters stay below 2^53. */
const u64: Format<number> = {
  write: (out, value) => {
    const at = out.reserve(8);
    out.view.setBigUint64(at, BigInt(value), true);
  },
  read: (bytes) => {
    if (bytes.length !== 8) throw malformed(`want 8 bytes, got ${bytes.length}`);
    return Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  },
};

/** `struct __kernel_timespec` as milliseconds since 1970; 0: never. */
const timespec: Format<number> = {
  write: (out, value) => {
    u64.write(out, Math.floor(value / 1000));
    u64.write(out, (value % 1000) * 1_000_000);
  },
  read: (bytes) => {
    if (bytes.length !== 16) throw malformed(`want 16 bytes, got ${bytes.length}`);
    const nanoseconds = u64.read(bytes.subarray(8));
    return u64.read(bytes.subarray(0, 8)) * 1000 + Math.floor(nanoseconds / 1_000_000);
  },
};

/** Attributes that are a list: nested, all of number 0. */
function list<T>(item: Format<T>): Format<readonly T[]> & { readonly nested: true } {
  return {
    nested: true,
    write: (out, values) => {
      for (const value of values) writeAttribute(out, NESTED, () => item.write(out, value));
    },
    read: (bytes) => [...attributes(bytes)].map(([, payload]) => item.read(payload)),
  };
}

/** `WGALLOWEDIP_A_*`. */
const ALLOWED_IP = {
  /** `AF_INET` or `AF_INET6`. */
  family: { type: 1, as: u16 },
  address: { type: 2, as: ip },
  /** Prefix length. */
  length: { type: 3, as: u8 },
} as const;

/** `WGPEER_A_*`, in the order of `wg`. */
export const PEER = {
  publicKey: { type: 1, as: raw },
  /** 32 bytes; zeros: none. */
  psk: { type: 2, as: raw },
  endpoint: { type: 4, as: endpoint },
  /** Seconds; 0: off. */
  keepalive: { type: 5, as: u16 },
  /** {@link PeerFlag} */
  flags: { type: 3, as: u32 },
  lastHandshake: { type: 6, as: timespec },
  received: { type: 7, as: u64 },
  sent: { type: 8, as: u64 },
  allowedIps: { type: 9, as: list(nested(ALLOWED_IP)) },
} as const;

/** `WGDEVICE_A_*`. */
export const DEVICE = {
  index: { type: 1, as: u32 },
  name: { type: 2, as: text },
  privateKey: { type: 3, as: raw },
  publicKey: { type: 4, as: raw },
  /** UDP port. */
  port: { type: 6, as: u16 },
  mark: { type: 7, as: u32 },
  peers: { type: 8, as: list(nested(PEER)) },
} as const;

/** One message about a link; a link with many peers is told in several. */
export type WireguardMessage = Decoded<typeof DEVICE>;

/** Appends the question for a link and its peers: a dump. */
export function writeGetDevice(out: Writer, name: string): void {
  writeGeneric(out, Command.GET_DEVICE, DEVICE, { name });
}

/** Appends what a link, or peers of it, are to be set to. */
export function writeSetDevice(out: Writer, message: WireguardMessage): void {
  writeGeneric(out, Command.SET_DEVICE, DEVICE, message);
}

/** Reads one message. @throws {OpError} when the bytes are malformed */
export function readDevice(bytes: Uint8Array): WireguardMessage {
  return readGeneric(DEVICE, bytes);
}
