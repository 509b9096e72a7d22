/**
 * What ADD waits for: the port carries traffic, and IPv6 addresses are no longer tentative. Both
 * usually hold at the first look.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import type { Kernel, Link } from "../../ffi/kernel.ts";
import { AddressFlag } from "../../ffi/netlink/address.ts";
import { OperState } from "../../ffi/netlink/link.ts";
import type { Request } from "../plugin.ts";

/** How long the port may take to come up, ms. */
const PORT_PATIENCE = 2_550;
/** How long duplicate address detection may take, ms. */
const ADDRESS_PATIENCE = 5_000;
/** The longest pause between two looks, ms; the first ones are shorter. */
const LONGEST_PAUSE = 50;

/** Looks again and again, with growing pauses, until it holds or time is up. */
async function until(patience: number, holds: () => boolean): Promise<boolean> {
  const deadline = performance.now() + patience;
  for (let pause = 1; !holds(); pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return true;
}

/**
 * Waits until a pod's host end is operational.
 *
 * @returns The links of these names as they are then.
 * @throws {OpError} when it does not come up.
 */
export async function portUp(
  kernel: Kernel,
  request: Request,
  hostEnd: string,
  names: readonly string[],
): Promise<readonly Link[]> {
  let links: readonly Link[] = [];
  const isUp = (): boolean => {
    links = kernel.named("host", names);
    return links.some(({ name, operstate }) => name === hostEnd && operstate === OperState.UP);
  };
  if (await until(PORT_PATIENCE, isUp)) return links;
  throw new OpError("attach", `${request.containerId} ${request.ifname}`, {
    code: ErrorCode.plugin,
    kernel: `bridge port in error state: ${hostEnd} is not up after ${PORT_PATIENCE} ms`,
  });
}

/** Waits until no IPv6 address of the pod is tentative. @throws {OpError} for a duplicate */
export async function addressesSettled(kernel: Kernel, request: Request): Promise<void> {
  const index = kernel.link("pod", request.ifname)?.index;
  const flags = (): number[] => kernel.addresses("pod", index).map((address) => address.flags);
  const settled = (): boolean => {
    if (flags().some((f) => (f & AddressFlag.DADFAILED) !== 0)) {
      throw new OpError("attach", `${request.containerId} ${request.ifname}`, {
        code: ErrorCode.plugin,
        kernel: "failed to add IP addr: another host has the same IPv6 address",
      });
    }
    return flags().every((f) => (f & AddressFlag.TENTATIVE) === 0);
  };
  await until(ADDRESS_PATIENCE, settled);
}
