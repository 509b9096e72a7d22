/**
 * The pods' bridge when the node's subnet has changed: new pods need the new gateway on it, and
 * pods of the old subnet go on as long as they are there.
 *
 * @module
 */

import type { AddressFact, Fact } from "../engine/fact.ts";
import {
  addressOf,
  type Cidr,
  contains,
  familyOf,
  type Inet,
  type Ip,
  networkOf,
  parseIp,
} from "../engine/ip.ts";
import { type Plan, plan } from "../engine/plan.ts";
import type { Kernel } from "../ffi/kernel.ts";

/** The bridge that flannel's plugin names when the configuration names none. */
export const BRIDGE = "cni0";

/** A family of the overlay, as the bridge sees it. */
export interface BridgeNet {
  /** All pods of the cluster. */
  readonly network: Cidr;
  /** The pods' gateway: the first address of this node's subnet. */
  readonly gateway: Inet;
}

/** What was found on the bridge. */
export interface BridgeView {
  readonly addresses: readonly AddressFact[];
  /** Whether pods hang on it. */
  readonly hasPorts: boolean;
}

/** The bridge as it is; undefined when there is none. */
export function viewBridge(kernel: Kernel): BridgeView | undefined {
  const bridge = kernel.link("host", BRIDGE);
  if (bridge?.kind !== "bridge") return undefined;
  const addresses = kernel.read({ addresses: [BRIDGE] })
    .filter((fact): fact is AddressFact => fact.kind === "address");
  return { addresses, hasPorts: kernel.links("host").some((l) => l.master === bridge.index) };
}

/**
 * What must change on the bridge. A bridge without an address of the overlay is left alone: the
 * plugin gives it one with the first pod. Addresses of old subnets go when no pod needs them.
 */
export function planBridge({ addresses, hasPorts }: BridgeView, nets: readonly BridgeNet[]): Plan {
  const stale = staleAddresses(addresses, nets);
  const want: Fact[] = nets
    .filter(({ gateway }) => stale.some(({ inet }) => familyOf(inet) === familyOf(gateway)))
    .map(({ gateway }) => ({ kind: "address", where: "host", dev: BRIDGE, inet: gateway }));
  return plan(
    want,
    addresses,
    (fact) => !hasPorts && fact.kind === "address" && stale.includes(fact),
  );
}

/** Addresses of the overlay that belong to another subnet than this node's. */
function staleAddresses(
  addresses: readonly AddressFact[],
  nets: readonly BridgeNet[],
): AddressFact[] {
  return addresses.filter(({ inet }) =>
    nets.some(({ network, gateway }) =>
      contains(network, addressOf(inet)) && networkOf(inet) !== networkOf(gateway)
    )
  );
}

/** Where host-local keeps reservations. */
const STORE = "/var/lib/cni/networks";

/** The pods that still have an address of an old subnet: `IP (container ID)`. */
export function podsOfOldSubnets(
  { addresses }: BridgeView,
  nets: readonly BridgeNet[],
  store: string = STORE,
): string[] {
  const old = staleAddresses(addresses, nets).map(({ inet }) => networkOf(inet));
  if (old.length === 0) return [];
  return entries(store).flatMap((network) =>
    entries(`${store}/${network}`).flatMap((name) => {
      const ip = asIp(name);
      if (ip === undefined || !old.some((net) => contains(net, ip))) return [];
      return [`${ip} (${ownerOf(`${store}/${network}/${name}`)})`];
    })
  );
}

function entries(directory: string): string[] {
  try {
    return Array.from(Deno.readDirSync(directory), ({ name }) => name).sort();
  } catch {
    return [];
  }
}

function asIp(name: string): Ip | undefined {
  try {
    return parseIp(name);
  } catch {
    return undefined;
  }
}

function ownerOf(path: string): string {
  try {
    return Deno.readTextFileSync(path).split(/\s/, 1)[0] || "unknown container";
  } catch {
    return "unknown container";
  }
}
