/**
 * The VLANs of a pod's port, as facts. Pure.
 *
 * @module
 */

import type { VlanFact } from "./fact.ts";

/** What a pod's port carries. */
export interface PodVlans {
  /** The VLAN of untagged frames; absent: a trunk alone, whose untagged frames are of VLAN 1. */
  readonly access?: number;
  /** VLANs of tagged frames, ascending, each once. */
  readonly trunk: readonly number[];
  /** The port keeps what every port of the bridge has from the start, which is VLAN 1. */
  readonly keepDefault: boolean;
}

/** What every port has from the start, unless the bridge was told otherwise. */
const DEFAULT_VLAN = 1;

/** The VLANs of a port: the one of untagged frames first, so that there always is one. */
export function vlanFacts(dev: string, { access = DEFAULT_VLAN, trunk }: PodVlans): VlanFact[] {
  const fact = (id: number, pvid: boolean): VlanFact => ({
    kind: "vlan",
    where: "host",
    dev,
    id,
    pvid,
    untagged: pvid,
  });
  return [fact(access, true), ...trunk.filter((id) => id !== access).map((id) => fact(id, false))];
}

/** The device that carries the gateway of a VLAN, beside the bridge. */
export function vlanDevice(bridge: string, vlan: number): string {
  return `${bridge}.${vlan}`;
}
