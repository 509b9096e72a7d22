/**
 * What the page's picture shows: what the daemon knows, and the links of the kernel. Pure.
 *
 * @module
 */

import { tunnelsOf, wrapping } from "../../engine/tunnel.ts";
import { makeBackend } from "../../engine/backend/registry.ts";
import type { Scene } from "../../engine/diagram/picture.ts";
import type { Fact } from "../../engine/fact.ts";
import { type Lease, leaseKey, leaseSubnets } from "../../engine/lease.ts";
import type { NodeStatus } from "../../engine/node_status.ts";
import { BRIDGE } from "../bridge.ts";

/** A peer as the page tells it. */
export interface PagePeer {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly subnets: readonly string[];
  /** Why it is not reached; absent when the kernel holds all of it. */
  readonly reason?: string;
}

/** The nodes of all leases but the own. */
export function peersOf({ leases, pass }: NodeStatus): PagePeer[] {
  if (leases === undefined) return [];
  const own = leaseKey(leases.own);
  const reasons = new Map(
    [...pass?.refused ?? [], ...pass?.unusable ?? []].map(({ who, reason }) => [who, reason]),
  );
  return leases.leases.filter((lease) => leaseKey(lease) !== own).map((lease) => {
    const reason = pass === undefined ? "not programmed yet" : reasons.get(leaseKey(lease));
    return {
      name: nameOf(lease),
      addresses: publicOf(lease),
      subnets: leaseSubnets(lease),
      ...(reason === undefined ? {} : { reason }),
    };
  });
}

/** Its name, else its address, else its subnet. */
export function nameOf(lease: Lease): string {
  return lease.node ?? publicOf(lease)[0] ?? leaseKey(lease);
}

function publicOf({ publicIp, publicIp6 }: Lease): string[] {
  return [publicIp, publicIp6].filter((ip) => ip !== undefined);
}

/** Puts together the picture. @param facts links, ports, addresses and routes of the node */
export function pageScene(status: NodeStatus, facts: readonly Fact[]): Scene {
  const { leases, uplink, masquerade } = status;
  const devices = leases === undefined ? [] : Object.values(makeBackend(leases.conf).devices());
  const has = (name: string): boolean =>
    facts.some((fact) => fact.kind === "link" && fact.name === name);
  const peers = peersOf(status);
  const overlays = devices.map((name) => ({
    name,
    lines: linesOf(facts, name),
    wraps: wrapsOf(facts, name),
    ok: facts.some((fact) => fact.kind === "up" && fact.dev === name && fact.up),
  }));
  return {
    node: leases === undefined ? "this node" : nameOf(leases.own),
    subnets: leases === undefined ? [] : leaseSubnets(leases.own),
    pods: facts.flatMap((fact) =>
      fact.kind === "port" && fact.bridge === BRIDGE
        ? [{ name: fact.dev, ips: [], ok: isUp(facts, fact.dev) }]
        : []
    ),
    ...(has(BRIDGE) ? { bridge: { name: BRIDGE, lines: linesOf(facts, BRIDGE) } } : {}),
    overlays,
    ...(uplink === undefined
      ? {}
      : { uplink: { name: uplink.name, lines: linesOf(facts, uplink.name) } }),
    peers: peers.map(({ name, addresses, subnets, reason }) => {
      const by = deviceTo(facts, subnets);
      return {
        name,
        lines: [
          ...addresses.filter((ip) => ip !== name),
          ...subnets.map((one) => `pods in ${one}`),
        ],
        ...(by !== undefined && devices.includes(by) ? { by } : {}),
        ok: reason === undefined,
      };
    }),
    masquerade,
  };
}

function isUp(facts: readonly Fact[], dev: string): boolean {
  return facts.some((fact) => fact.kind === "up" && fact.dev === dev && fact.up);
}

function linesOf(facts: readonly Fact[], name: string): string[] {
  return facts.flatMap((fact): string[] => {
    if (fact.kind === "address" && fact.dev === name) {
      return /^fe80:/.test(fact.inet) ? [] : [fact.inet];
    }
    if (fact.kind !== "link" || fact.name !== name) return [];
    return [
      ...(fact.driver.kind === "vxlan" ? [`VXLAN, VNI ${fact.driver.vni}`] : []),
      ...(fact.mtu === undefined ? [] : [`MTU ${fact.mtu}`]),
    ];
  });
}

function wrapsOf(facts: readonly Fact[], name: string): string {
  const link = facts.find((fact) => fact.kind === "link" && fact.name === name);
  const tunnel = tunnelsOf(facts).find((one) => one.name === name);
  return link?.kind === "link" && link.driver.kind === "vxlan"
    ? `as VXLAN in UDP, port ${link.driver.port}`
    : tunnel === undefined
    ? "to other nodes"
    : wrapping(tunnel);
}

/** The device of the route to the first of a peer's subnets. */
function deviceTo(facts: readonly Fact[], [subnet]: readonly string[]): string | undefined {
  const route = facts.find((fact) => fact.kind === "route" && fact.dst === subnet);
  return route?.kind === "route" ? route.dev : undefined;
}
