/**
 * VLANs of pods: a bridge that tells them apart, a pod's port in its VLANs, and a device that is
 * the gateway of one VLAN.
 *
 * A kernel may be built without all of that. Then an attachment with VLANs is refused before
 * anything is made: without the filter every pod would be in every VLAN.
 *
 * @module
 */

import { ErrorCode, OpError } from "../../engine/errors.ts";
import { type Fact, type LinkFact, slotOf } from "../../engine/fact.ts";
import { type Change, plan } from "../../engine/plan.ts";
import { type PodVlans, vlanDevice, vlanFacts } from "../../engine/pod_vlan.ts";
import { Errno } from "../../ffi/errno.ts";
import type { Kernel } from "../../ffi/kernel.ts";
import type { Request } from "../plugin.ts";
import { failed, notABridge, randomName } from "./parts.ts";

/** What is needed of the kernel. */
export type VlanKernel = Pick<Kernel, "apply" | "enlarge" | "link" | "links" | "read">;

/** From so many VLANs on their acknowledgements need room. */
const MANY = 200;

/** How many random names are tried. */
const NAME_TRIES = 10;

/**
 * Makes the bridge, with its VLAN filter, if it is missing. An older bridge keeps its settings.
 *
 * @throws {OpError} code 2 when the kernel has no VLANs on bridges; nothing is made then.
 */
export function ensureVlanBridge(request: Request, kernel: VlanKernel, bridge: LinkFact): void {
  const { name } = bridge;
  const there = kernel.link("host", name);
  if (there === undefined) {
    const driver = { kind: "bridge", vlanFiltering: true } as const;
    const [outcome] = kernel.apply([{ op: "put", fact: { ...bridge, driver } }]);
    const error = outcome?.error;
    if (error === undefined) return;
    if (error.errno === Errno.EOPNOTSUPP) throw noVlans();
    if (error.errno !== Errno.EEXIST) {
      throw failed(request, `failed to create bridge "${name}"`, error);
    }
    // Another ADD made it at the same moment.
    return ensureVlanBridge(request, kernel, bridge);
  }
  if (there.kind !== "bridge") throw notABridge(request, name);
  if (there.message.attributes.info?.bridge?.vlanProtocol === undefined) throw noVlans();
}

function noVlans(): OpError {
  return new OpError("use", "vlan or vlanTrunk", {
    code: ErrorCode.unsupportedField,
    kernel: "this kernel's bridges have no VLANs: it was built without " +
      "CONFIG_BRIDGE_VLAN_FILTERING",
    advice: "Use a kernel with it, or remove vlan and vlanTrunk from the network configuration",
  });
}

/** Puts a port into its VLANs, and takes it out of all others. @throws {OpError} */
export function joinVlans(
  request: Request,
  kernel: VlanKernel,
  dev: string,
  vlans: PodVlans,
): void {
  const want = vlanFacts(dev, vlans);
  const wanted = new Set(want.map(slotOf));
  const have = kernel.read({ vlans: [dev] });
  const ours = (fact: Fact): boolean =>
    fact.kind === "vlan" && fact.dev === dev && (wanted.has(slotOf(fact)) || !vlans.keepDefault);
  const { changes } = plan(want, have, ours);
  if (changes.length > MANY) kernel.enlarge();
  must(request, kernel, "failed to set VLANs of the port", changes);
}

/**
 * Makes the device that is the gateway of the access VLAN: one end of a pair, whose other end is a
 * port in that VLAN. It is made once, for all pods of the VLAN, and stays like the bridge. One that
 * was left half made is completed.
 *
 * @returns Its name.
 * @throws {OpError}
 */
export function ensureVlanGateway(
  request: Request,
  kernel: VlanKernel,
  bridge: string,
  vlans: PodVlans & { readonly access: number },
): string {
  const name = vlanDevice(bridge, vlans.access);
  const port = portOf(kernel, name) ?? makePair(request, kernel, bridge, name);
  const want: Fact[] = [
    { kind: "port", where: "host", dev: port, bridge },
    { kind: "up", where: "host", dev: port, up: true },
    { kind: "up", where: "host", dev: name, up: true },
  ];
  const { changes, conflicts } = plan(want, kernel.read({ links: [name, port] }), () => false);
  if (conflicts.length > 0) throw failed(request, `"${port}", the port of ${name}, is elsewhere`);
  const words = `failed to set up VLAN gateway "${name}"`;
  must(request, kernel, words, changes.filter(({ fact }) => fact.kind === "port"));
  joinVlans(request, kernel, port, { ...vlans, trunk: [] });
  must(request, kernel, words, changes.filter(({ fact }) => fact.kind !== "port"));
  return name;
}

/** The other end of a pair that is there. */
function portOf(kernel: VlanKernel, name: string): string | undefined {
  const link = kernel.link("host", name);
  if (link?.lower === undefined) return undefined;
  return kernel.links("host").find(({ index }) => index === link.lower)?.name;
}

/** Makes the pair, with the MTU of the bridge; returns the name of its other end. */
function makePair(request: Request, kernel: VlanKernel, bridge: string, name: string): string {
  const mtu = kernel.link("host", bridge)?.mtu;
  for (let tries = 1;; tries++) {
    const peer = randomName();
    const fact: LinkFact = {
      kind: "link",
      where: "host",
      name,
      driver: { kind: "veth", peer },
      ...(mtu === undefined ? {} : { mtu }),
    };
    const error = kernel.apply([{ op: "put", fact }])[0]?.error;
    if (error === undefined) return peer;
    // Another ADD made it at the same moment, or the random name is taken.
    const port = error.errno === Errno.EEXIST ? portOf(kernel, name) : undefined;
    if (port !== undefined) return port;
    if (error.errno !== Errno.EEXIST || tries >= NAME_TRIES) {
      throw failed(request, `failed to create VLAN gateway "${name}"`, error);
    }
  }
}

function must(
  request: Request,
  kernel: VlanKernel,
  words: string,
  changes: readonly Change[],
): void {
  const error = kernel.apply(changes).find((outcome) => outcome.error !== undefined)?.error;
  if (error !== undefined) throw failed(request, words, error);
}
