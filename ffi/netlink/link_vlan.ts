/**
 * The VLANs of a bridge's port on the wire: link messages of the family `AF_BRIDGE`, whose
 * `IFLA_AF_SPEC` holds one `struct bridge_vlan_info` for each VLAN (linux/if_bridge.h). Pure.
 *
 * @module
 */

import {
  attributes,
  type Decoded,
  type Format,
  type Members,
  readAttributes,
  readStruct,
  type Struct,
  u16,
  u32,
  writeAttribute,
  writeAttributes,
  type Writer,
  writeStruct,
} from "./codec.ts";
import { IFINFOMSG } from "./link.ts";

/** `struct bridge_vlan_info`. */
export const BRIDGE_VLAN_INFO = {
  size: 4,
  members: {
    /** {@link BridgeVlanFlag} */
    flags: { at: 0, as: u16 },
    /** 1 to 4094. */
    vid: { at: 2, as: u16 },
  },
} as const satisfies Struct;
/** One VLAN of a port. */
export type BridgeVlan = Members<typeof BRIDGE_VLAN_INFO>;

/** `BRIDGE_VLAN_INFO_*`, the flags. */
export const BridgeVlanFlag = { PVID: 0x2, UNTAGGED: 0x4 } as const;

/** `RTEXT_FILTER_BRVLAN`, linux/rtnetlink.h: a dump shall tell VLANs, one by one. */
export const FILTER_BRIDGE_VLAN = 0x2;

/** `IFLA_BRIDGE_VLAN_INFO`, linux/if_bridge.h; it comes once for each VLAN. */
export const IFLA_BRIDGE_VLAN_INFO = 2;

/** `IFLA_AF_SPEC` of the family `AF_BRIDGE`; what is not about VLANs is left out. */
const vlans: Format<readonly BridgeVlan[]> = {
  write: (out, list) => {
    for (const vlan of list) {
      writeAttribute(out, IFLA_BRIDGE_VLAN_INFO, () => writeStruct(out, BRIDGE_VLAN_INFO, vlan));
    }
  },
  read: (bytes) =>
    [...attributes(bytes)].filter(([type]) => type === IFLA_BRIDGE_VLAN_INFO)
      .map(([, payload]) => readStruct(BRIDGE_VLAN_INFO, payload)),
};

/** `IFLA_*`, as far as the family `AF_BRIDGE` uses them. */
export const BRIDGE_LINK = {
  vlans: { type: 26, as: vlans },
  /** `RTEXT_FILTER_*`, of a dump. */
  extMask: { type: 29, as: u32 },
} as const;

/** A link message of the family `AF_BRIDGE` after the netlink header. */
export interface BridgeLinkMessage extends Partial<Members<typeof IFINFOMSG>> {
  readonly attributes: Decoded<typeof BRIDGE_LINK>;
}

/** Appends header and attributes. */
export function writeBridgeLink(out: Writer, link: BridgeLinkMessage): void {
  writeStruct(out, IFINFOMSG, link);
  writeAttributes(out, BRIDGE_LINK, link.attributes);
}

/** Reads header and attributes. @throws {OpError} when the bytes are malformed */
export function readBridgeLink(
  bytes: Uint8Array,
): BridgeLinkMessage & Members<typeof IFINFOMSG> {
  return {
    ...readStruct(IFINFOMSG, bytes),
    attributes: readAttributes(BRIDGE_LINK, bytes.subarray(IFINFOMSG.size)),
  };
}
