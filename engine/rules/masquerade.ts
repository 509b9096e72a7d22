/**
 * Masquerade of one pod by the bridge plugin: what leaves the pod for another network gets the
 * node's address. Chains, comments and order are those of the CNI reference plugins, so that
 * either can take away what the other made.
 *
 * In iptables the chain belongs to a container in a network, whichever of its interfaces asked:
 * it goes only with the last jump to it. In nftables each rule carries its interface.
 *
 * @module
 */

import { addressOf, type Cidr, type Family, familyOf, type Inet, networkOf } from "../ip.ts";
import { sha512 } from "../sha512.ts";
import {
  commentOwner,
  type IptablesRule,
  IptablesTable,
  LONGEST_COMMENT,
  removalText,
  ruleComment,
  targetOf,
  valueOf,
  type Wanted,
} from "./iptables.ts";
import { batch, deletions, type Listing, LONGEST_NFT_COMMENT } from "./nft_listing.ts";

/** The table that the nftables back end uses. */
export const MASQUERADE_TABLE = "inet cni_plugins_masquerade";
const CHECKS = "masq_checks";

/** What differs between the families. */
const ROWS = {
  4: { nft: "ip", multicast: "224.0.0.0/4", bits: 32 },
  6: { nft: "ip6", multicast: "ff00::/8", bits: 128 },
} as const satisfies Record<Family, unknown>;

/** Whose traffic it is. */
export interface Attached {
  readonly network: string;
  readonly containerId: string;
  readonly ifname: string;
}

/** The chain of a container in iptables' table nat. */
export function masqueradeChain({ network, containerId }: Omit<Attached, "ifname">): string {
  return `CNI-${sha512(`${network}${containerId}`).slice(0, 24)}`;
}

/** The start of the comment of every nftables rule of a network. */
export function networkMark(network: string): string {
  return `${sha512(network).slice(0, 16)}-`;
}

/** The start of the comment of every nftables rule of an attachment. */
export function attachmentMark({ network, containerId, ifname }: Attached): string {
  return `${networkMark(network)}${sha512(`${ifname}:${containerId}`).slice(0, 16)}`;
}

/** Chain and rules for the addresses of one family. */
export function masqueradeWanted(attached: Attached, addresses: readonly Inet[]): Wanted {
  const chain = masqueradeChain(attached);
  const text = ruleComment(attached.network, attached.containerId).slice(0, LONGEST_COMMENT);
  const comment = ["-m", "comment", "--comment", text];
  return {
    chains: addresses.length === 0 ? [] : [chain],
    rules: addresses.flatMap((inet) => {
      const { multicast, bits } = ROWS[familyOf(inet)];
      return [
        // In front: with several networks, each must be accepted before anything is masqueraded.
        { chain, words: ["-d", networkOf(inet), ...comment, "-j", "ACCEPT"], first: true as const },
        { chain, words: ["!", "-d", multicast, ...comment, "-j", "MASQUERADE"] },
        {
          chain: "POSTROUTING",
          words: ["-s", `${addressOf(inet)}/${bits}`, ...comment, "-j", chain],
        },
      ];
    }),
  };
}

/**
 * The input that takes jumps to a container's chain out, and the chain when no jump is left.
 *
 * @param goes whether the jump for this source goes; undefined: a jump for every source.
 */
export function masqueradeRemoval(
  table: IptablesTable,
  chain: string,
  goes: (source: Cidr | undefined) => boolean,
): string {
  const jumps = table.jumpsTo(chain);
  const going = jumps.filter((jump) => goes(valueOf(jump, "-s") as Cidr | undefined));
  return removalText(table, going, going.length === jumps.length ? [chain] : []);
}

/** The input that takes out what belongs to this network and to no valid container. */
export function masqueradeCollection(
  table: IptablesTable,
  network: string,
  valid: ReadonlySet<string>,
): string {
  const isStale = (rule: IptablesRule): boolean => {
    const owner = commentOwner(rule);
    return owner?.network === network && !valid.has(owner.containerId) &&
      targetOf(rule) === masqueradeChain(owner);
  };
  const going = table.rules("POSTROUTING").filter(isStale);
  const chains = new Set(going.map((rule) => targetOf(rule) ?? ""));
  return removalText(table, going, [...chains]);
}

/** The commands that make the rules of one attachment, in place of those it had. */
export function masqueradeCommands(
  listing: Listing,
  attached: Attached,
  addresses: readonly Inet[],
): string {
  const { network, ifname, containerId } = attached;
  const mark = attachmentMark(attached);
  const comment = `${mark}, net: ${network}, if: ${ifname}, id: ${containerId}`
    .replaceAll('"', "").slice(0, LONGEST_NFT_COMMENT);
  const table = MASQUERADE_TABLE;
  return batch([
    `add table ${table}`,
    `add chain ${table} ${CHECKS}`,
    `add chain ${table} postrouting { type nat hook postrouting priority 100 ; }`,
    `flush chain ${table} postrouting`,
    `add rule ${table} postrouting ip daddr ${ROWS[4].multicast} return`,
    `add rule ${table} postrouting ip6 daddr ${ROWS[6].multicast} return`,
    `add rule ${table} postrouting goto ${CHECKS}`,
    ...deletions(table, listing, CHECKS, (text) => text.startsWith(mark)),
    ...addresses.map((inet) => {
      const { nft } = ROWS[familyOf(inet)];
      return `add rule ${table} ${CHECKS} ${nft} saddr ${addressOf(inet)} ` +
        `${nft} daddr != ${networkOf(inet)} masquerade comment "${comment}"`;
    }),
  ]);
}

/** The commands that delete rules by their comments. */
export function masqueradeDeletion(
  listing: Listing,
  goes: (comment: string) => boolean,
): string {
  return batch(deletions(MASQUERADE_TABLE, listing, CHECKS, goes));
}

/** How many rules of an attachment the listing shows. */
export function masqueradeCount(listing: Listing, attached: Attached): number {
  const mark = attachmentMark(attached);
  return (listing.get(CHECKS) ?? []).filter((rule) => rule.comment.startsWith(mark)).length;
}
