/**
 * The check of a pod's source MAC address (`macspoofchk`), made, looked at and taken away.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Mac } from "../../engine/mac.ts";
import {
  canGuard,
  MAC_SPOOF_TABLE,
  macSpoofChain,
  macSpoofCommands,
  macSpoofDeletion,
} from "../../engine/rules/mac_spoof.ts";
import { Netfilter, type NftObject } from "../../ffi/netfilter.ts";
import { editTable } from "../../ffi/nft.ts";
import { NatCleaner } from "../nat.ts";
import type { Request } from "../plugin.ts";

/** Drops what the pod sends with another MAC address; `undo` takes that back. */
export function guardMac(
  request: Request,
  hostEnd: string,
  mac: Mac,
  undo: AsyncDisposableStack,
): void {
  if (!canGuard(request)) {
    throw new OpError("check MAC addresses of", `${request.containerId} ${request.ifname}`, {
      code: ErrorCode.unsupportedField,
      kernel: "nftables has no chain of such a name",
      advice: "Name the interface with letters, digits, '.', '_' and '-', or leave macspoofchk out",
    });
  }
  undo.defer(async () => {
    using cleaner = new NatCleaner(request);
    await unguardMac(cleaner, request);
    cleaner.finishQuietly();
  });
  editTable(MAC_SPOOF_TABLE, (listing) => macSpoofCommands(listing, request, hostEnd, mac));
}

/** Ends the check of an attachment; one without a check is left alone. */
export async function unguardMac(cleaner: NatCleaner, request: Request): Promise<void> {
  if (!canGuard(request)) return;
  await cleaner.nftables(chainOf(request), (listing) => macSpoofDeletion(listing, request));
}

/** @throws {OpError} when the check is not there. */
export function checkMacGuard(request: Request): void {
  using netfilter = new Netfilter();
  if (netfilter.holdsAny([chainOf(request)])) return;
  throw new OpError("confirm", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: `chain ${macSpoofChain(request)} of macspoofchk not found`,
    advice: "Delete the pod; its replacement is attached anew",
  });
}

function chainOf(request: Request): NftObject {
  return { family: "bridge", table: "nat", chain: macSpoofChain(request) };
}
