/**
 * Masquerade of a pod (`ipMasq`): made, looked at and taken away, by either back end.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import {
  addressOf,
  type Cidr,
  contains,
  type Family,
  familyOf,
  type Inet,
  type Ip,
  lengthOf,
} from "../../engine/ip.ts";
import { missing } from "../../engine/rules/iptables.ts";
import {
  type Attached,
  attachmentMark,
  MASQUERADE_TABLE,
  masqueradeChain,
  masqueradeCollection,
  masqueradeCommands,
  masqueradeCount,
  masqueradeDeletion,
  masqueradeRemoval,
  masqueradeWanted,
  networkMark,
} from "../../engine/rules/masquerade.ts";
import { parseListing } from "../../engine/rules/nft_listing.ts";
import { editTable, listTable } from "../../ffi/nft.ts";
import type { Attachment } from "../attachments.ts";
import type { Backend } from "../backend.ts";
import { addNat, LOOKS, NatCleaner, withBackend } from "../nat.ts";
import type { Request } from "../plugin.ts";

/** Which of a container's masqueraded sources go. */
export type Goes = (source: Cidr | undefined) => boolean;

const TABLE = { family: "inet", table: "cni_plugins_masquerade" } as const;

/** Masquerades the pod's addresses; what it made is taken back by `undo`. */
export async function masquerade(
  request: Request,
  backend: Backend | undefined,
  addresses: readonly Inet[],
  undo: AsyncDisposableStack,
): Promise<void> {
  const families = familiesOf(addresses);
  undo.defer(async () => {
    using cleaner = new NatCleaner(request);
    const ours = new Set<string>(addresses.map(addressOf));
    await unmasquerade(
      cleaner,
      request,
      (source) => source !== undefined && ours.has(addressOf(source)),
    );
    cleaner.finishQuietly();
  });
  await withBackend(backend, families, {
    iptables: async (tables) => {
      for (const family of families) {
        await addNat(family, wantedOf(request, family, addresses), tables.get(family));
      }
    },
    nftables: () =>
      editTable(MASQUERADE_TABLE, (listing) => masqueradeCommands(listing, request, addresses)),
  });
}

function familiesOf(addresses: readonly Inet[]): Family[] {
  return [...new Set(addresses.map(familyOf))].toSorted();
}

function wantedOf(
  attached: Attached,
  family: Family,
  addresses: readonly Inet[],
): ReturnType<typeof masqueradeWanted> {
  return masqueradeWanted(attached, addresses.filter((inet) => familyOf(inet) === family));
}

/** Takes an attachment's masquerade away, by whichever back end it was made. */
export async function unmasquerade(
  cleaner: NatCleaner,
  attached: Attached,
  goes: Goes,
): Promise<void> {
  const chain = masqueradeChain(attached);
  await cleaner.iptables([chain], (table) => masqueradeRemoval(table, chain, goes));
  const mark = attachmentMark(attached);
  await cleaner.nftables(
    TABLE,
    (listing) => masqueradeDeletion(listing, (comment) => comment.startsWith(mark)),
  );
}

/**
 * Which sources go with an interface, where its container's chain serves others too: its own
 * addresses, and those that no other interface has.
 *
 * @param own the addresses of the interface.
 * @param others the addresses of the container's other interfaces.
 */
export function sourcesOf(own: readonly Ip[], others: readonly Ip[]): Goes {
  return (source) => {
    if (source === undefined) return true;
    const single = lengthOf(source) === (familyOf(source) === 4 ? 32 : 128);
    if (single && own.includes(addressOf(source))) return true;
    return !others.some((ip) => contains(source, ip));
  };
}

/** Takes away what belongs to this network and to no valid attachment. */
export async function collectMasquerade(
  cleaner: NatCleaner,
  network: string,
  valid: readonly Attachment[],
): Promise<void> {
  const containers = new Set(valid.map(({ containerId }) => containerId));
  await cleaner.iptables(
    ["POSTROUTING"],
    (table) => masqueradeCollection(table, network, containers),
  );
  const marks = valid.map((attachment) => attachmentMark({ network, ...attachment }));
  const isStale = (comment: string): boolean =>
    comment.startsWith(networkMark(network)) && !marks.some((mark) => comment.startsWith(mark));
  await cleaner.nftables(TABLE, (listing) => masqueradeDeletion(listing, isStale));
}

/** @throws {OpError} when addresses of the pod are not masqueraded. */
export async function checkMasquerade(
  request: Request,
  backend: Backend | undefined,
  addresses: readonly Inet[],
): Promise<void> {
  const families = familiesOf(addresses);
  const count = (): number =>
    masqueradeCount(parseListing(listTable(MASQUERADE_TABLE, undefined, "handles")), request);
  const byNftables = (): boolean => {
    for (let look = 0; look < LOOKS; look++) if (count() >= addresses.length) return true;
    return false;
  };
  const holds = await withBackend(backend, families, {
    iptables: (tables) => {
      const all = families.every((family) => {
        const table = tables.get(family);
        return table !== undefined &&
          missing(table, wantedOf(request, family, addresses)).rules.length === 0;
      });
      // When the back end was chosen by what worked, that may have been the other one.
      return Promise.resolve(all || backend === undefined && byNftables());
    },
    nftables: byNftables,
  });
  if (holds) return;
  throw new OpError("confirm", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: `masquerade rules for ${addresses.join(", ")} not found`,
    advice: "Delete the pod; its replacement is attached anew",
  });
}
