/**
 * What the backends share: which routes of the kernel belong to the overlay, and the route of a
 * peer that is reached without encapsulation.
 *
 * @module
 */

import { type RouteFact, TWILL_PROTOCOL } from "../fact.ts";
import { addressOf, type Cidr, contains, type Family, type Ip } from "../ip.ts";
import type { Lease } from "../lease.ts";
import { enabledFamilies, type NetConf } from "../net_conf.ts";

/** A lease's members by family: the rows that backends loop over. */
export const LEASE_ROWS = {
  4: {
    subnet: (lease: Lease): Cidr | undefined => lease.subnet,
    publicIp: (lease: Lease): Ip | undefined => lease.publicIp,
    data: (lease: Lease): Lease["backendData"] => lease.backendData,
  },
  6: {
    subnet: (lease: Lease): Cidr | undefined => lease.subnet6,
    publicIp: (lease: Lease): Ip | undefined => lease.publicIp6,
    data: (lease: Lease): Lease["backendData"] => lease.backendV6Data,
  },
} as const satisfies Record<Family, unknown>;

/** True for addresses of the cluster's pod networks. */
export function insideOf(conf: NetConf): (ip: Ip) => boolean {
  const networks = enabledFamilies(conf).flatMap((family): Cidr[] => {
    const { network } = conf.families[family];
    return network === undefined ? [] : [network];
  });
  return (ip) => networks.some((network) => contains(network, ip));
}

/**
 * True for routes that a backend of ours made: they carry our protocol number, and lead into the
 * pod network or over one of our devices. Also for what flannel left on its devices: on-link, the
 * subnet's base address as gateway, or with ipip any.
 */
export function isOverlayRoute(
  route: RouteFact,
  devices: ReadonlySet<string>,
  inside: (ip: Ip) => boolean,
): boolean {
  if (route.multipath) return false;
  const base = addressOf(route.dst);
  if (route.protocol === TWILL_PROTOCOL) {
    return inside(base) || (route.dev !== undefined && devices.has(route.dev));
  }
  if (route.onlink !== true || !inside(base)) return false;
  return route.dev === IPIP_DEVICE ||
    (FLANNEL_DEVICE.test(route.dev ?? "") && route.via === base);
}

/** The device of backend ipip, flannel's and ours. */
export const IPIP_DEVICE = "flannel.ipip";

const FLANNEL_DEVICE = /^flannel(-v6)?\.\d+$/;

/** The route to a peer's pods by its public address, which is on the underlay's own link. */
export function directRoute(dst: Cidr, via: Ip, dev: string): RouteFact {
  return {
    kind: "route",
    where: "host",
    dst,
    via,
    dev,
    onlink: false,
    protocol: TWILL_PROTOCOL,
    metric: 0,
    multipath: false,
  };
}
