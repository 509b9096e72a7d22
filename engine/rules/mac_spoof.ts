/**
 * Frames that a pod sends with a source address other than its own are dropped where they enter
 * the bridge (`macspoofchk`). nftables only; names are those of the CNI reference plugins.
 *
 * @module
 */

import type { Mac } from "../mac.ts";
import { batch, deletions, type Listing, LONGEST_NFT_COMMENT } from "./nft_listing.ts";

/** The table that holds the rules of all pods. */
export const MAC_SPOOF_TABLE = "bridge nat";
const BASE = "PREROUTING";

/** The attachment whose frames are checked. */
export interface Guarded {
  readonly containerId: string;
  readonly ifname: string;
}

/** The chain of an attachment; a second one has `-mac` behind it. */
export function macSpoofChain({ containerId, ifname }: Guarded): string {
  return `cni-br-iface-${containerId}-${ifname}`;
}

/** True when nft's language can name the chains; an interface may be called almost anything. */
export function canGuard(guarded: Guarded): boolean {
  return /^[\w.-]+$/.test(macSpoofChain(guarded));
}

function commentOf({ containerId, ifname }: Guarded): string {
  return `macspoofchk-${containerId}-${ifname}`.slice(0, LONGEST_NFT_COMMENT);
}

/** The commands that check one attachment, in place of those that did so before. */
export function macSpoofCommands(
  listing: Listing,
  guarded: Guarded,
  hostEnd: string,
  mac: Mac,
): string {
  const table = MAC_SPOOF_TABLE;
  const chain = macSpoofChain(guarded);
  const comment = `comment "${commentOf(guarded)}"`;
  return batch([
    `add table ${table}`,
    `add chain ${table} ${BASE} { type filter hook prerouting priority -300 ; policy accept ; }`,
    `add chain ${table} ${chain}`,
    `add chain ${table} ${chain}-mac`,
    `flush chain ${table} ${chain}`,
    `flush chain ${table} ${chain}-mac`,
    ...ownJumps(listing, guarded),
    `add rule ${table} ${chain}-mac ether saddr ${mac} return ${comment}`,
    `add rule ${table} ${chain}-mac drop ${comment}`,
    `add rule ${table} ${chain} jump ${chain}-mac ${comment}`,
    `add rule ${table} ${BASE} iifname "${hostEnd}" jump ${chain} ${comment}`,
  ]);
}

/** The commands that end the check of an attachment. */
export function macSpoofDeletion(listing: Listing, guarded: Guarded): string {
  const chain = macSpoofChain(guarded);
  const present = [chain, `${chain}-mac`].filter((name) => listing.has(name));
  return batch([
    ...ownJumps(listing, guarded),
    ...present.map((name) => `flush chain ${MAC_SPOOF_TABLE} ${name}`),
    ...present.map((name) => `delete chain ${MAC_SPOOF_TABLE} ${name}`),
  ]);
}

function ownJumps(listing: Listing, guarded: Guarded): string[] {
  return deletions(MAC_SPOOF_TABLE, listing, BASE, (text) => text === commentOf(guarded));
}
