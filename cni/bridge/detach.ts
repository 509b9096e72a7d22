/**
 * DEL of the bridge plugin: the pod's interface first, its address after that, so that no address
 * is given to another pod while this one still has it. Then the rules that were made for the pod,
 * whether the configuration still asks for them or not. The bridge stays.
 *
 * @module
 */

import { OpError } from "../../engine/errors.ts";
import { addressOf, type Ip } from "../../engine/ip.ts";
import { Errno } from "../../ffi/errno.ts";
import { Kernel } from "../../ffi/kernel.ts";
import { delegate } from "../delegate.ts";
import { NatCleaner } from "../nat.ts";
import type { Request } from "../plugin.ts";
import { ipamType } from "./config.ts";
import { unguardMac } from "./mac_spoof.ts";
import { type Goes, sourcesOf, unmasquerade } from "./masquerade.ts";

/** Serves DEL; what is already gone is no error. @throws {OpError} when something stays behind */
export async function detach(request: Request): Promise<void> {
  const ipam = ipamType(request);
  const goes = await removeInterface(request);
  using cleaner = new NatCleaner(request);
  if (ipam !== "") await cleaner.attempt(() => delegate(request, "DEL", ipam));
  await unguardMac(cleaner, request);
  await unmasquerade(cleaner, request, goes);
  cleaner.finish();
}

/** Removes the interface, and tells which masqueraded sources go with it. */
async function removeInterface(request: Request): Promise<Goes> {
  using kernel = openIfThere(request);
  if (kernel === undefined) return () => true;
  const index = kernel.link("pod", request.ifname)?.index;
  const addresses = kernel.addresses("pod");
  const gone = {
    op: "delete",
    fact: { kind: "link", where: "pod", name: request.ifname, driver: { kind: "veth" } },
  } as const;
  // Who serves others too does not wait for the kernel to have done it.
  const [outcome] = request.call.mayBlock ? kernel.apply([gone]) : [await kernel.applySlow(gone)];
  if (outcome?.error !== undefined) throw outcome.error;
  const own = addresses.filter((address) => address.index === index).map(({ ip }) => ip);
  const others = addresses.filter((address) => address.index !== index).map(({ ip }) => ip);
  return sourcesOf([...own, ...recorded(request)], others);
}

/** The interface's addresses as the runtime remembers them. */
function recorded(request: Request): Ip[] {
  const result = request.prevResult();
  return (result?.ips ?? []).filter(({ interface: index }) =>
    index === undefined || result?.interfaces[index]?.name === request.ifname
  ).map(({ address }) => addressOf(address));
}

/** A namespace that is gone, or a file that is none (any more), took the interface with it. */
function openIfThere(request: Request): Kernel | undefined {
  if (request.netns === "") return undefined;
  try {
    return Kernel.open({ pod: request.netns });
  } catch (e) {
    const gone = e instanceof OpError && e.object === request.netns &&
      (e.errno === Errno.ENOENT || e.errno === Errno.EINVAL);
    if (!gone) throw e;
    request.log(`twill: ${e.message}; taken as gone`);
    return undefined;
  }
}
