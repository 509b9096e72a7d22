/**
 * Wanted against actual: what the leases ask of this kernel, fact by fact, and what it holds. The
 * same backends make the facts as in the daemon. Pure.
 *
 * @module
 */

import type { Self } from "../engine/backend/backend.ts";
import { makeBackend } from "../engine/backend/registry.ts";
import { OpError } from "../engine/errors.ts";
import { describe, type Fact, slotOf } from "../engine/fact.ts";
import { addressOf, type Family, familyOf, type Ip, networkOf } from "../engine/ip.ts";
import { type Lease, leaseSubnets } from "../engine/lease.ts";
import type { Memory } from "../engine/memory.ts";
import { satisfies } from "../engine/plan.ts";
import { addressesOf, linkOf, type Overlay } from "./overlay.ts";

/** One wanted fact. */
export interface Wanted {
  readonly fact: Fact;
  /** `taken`: a fact of others is in its place, which satisfies nothing. */
  readonly state: "ok" | "missing" | "differs";
  /** What is there instead. */
  readonly have?: Fact;
}

/** What a lease asks for. */
export interface WantedLease {
  readonly lease: Lease;
  readonly own: boolean;
  readonly facts: readonly Wanted[];
  /** The record cannot be used, and why. */
  readonly bad?: string;
}

/** All that the leases ask for. */
export interface WantedNode {
  readonly leases: readonly WantedLease[];
  /** The device and its settings, whoever the peers are. */
  readonly own: readonly Wanted[];
}

/**
 * Compares.
 *
 * @param uplink name of the interface between nodes, where the daemon told it.
 * @returns undefined, and a reason, when this cannot be told.
 */
export function compareWanted(
  overlay: Overlay,
  memory: Memory,
  uplink: string | undefined,
): WantedNode | string {
  const self = selfOf(overlay, memory, uplink);
  if (typeof self === "string") return self;
  const others = memory.leases.filter((lease) => !isOwn(lease, memory.own));
  let facts;
  try {
    facts = makeBackend(memory.conf).facts(self, others);
  } catch (e) {
    if (!(e instanceof OpError || e instanceof SyntaxError)) throw e;
    return e.message;
  }
  const found = new Map(overlay.facts.map((fact) => [slotOf(fact), fact]));
  const compare = (wanted: readonly Fact[]): Wanted[] =>
    wanted.filter(({ kind }) =>
      kind !== "sysctl" && (overlay.keysRead || (kind !== "wireguard" && kind !== "wireguard-peer"))
    ).map((fact) => judge(fact, found));
  const byLease = new Map(facts.peers.map(({ lease, facts }) => [lease, compare(facts)]));
  const bad = new Map(facts.bad.map(({ lease, reason }) => [lease, reason]));
  const own = memory.leases.find((lease) => isOwn(lease, memory.own)) ?? memory.own;
  return {
    own: compare(facts.own),
    leases: [
      { lease: own, own: true, facts: [] },
      ...others.map((lease) => ({
        lease,
        own: false,
        facts: byLease.get(lease) ?? [],
        ...(bad.has(lease) ? { bad: bad.get(lease)! } : {}),
      })),
    ],
  };
}

function judge(fact: Fact, found: ReadonlyMap<string, Fact>): Wanted {
  const have = found.get(slotOf(fact));
  if (have === undefined) return { fact, state: "missing" };
  // Who made a route makes no difference to a packet: flannel's and ours are alike.
  const same = fact.kind === "route" && have.kind === "route"
    ? satisfies({ ...have, protocol: fact.protocol ?? 0 }, fact)
    : satisfies(have, fact);
  return same ? { fact, state: "ok" } : { fact, state: "differs", have };
}

/** A difference in words: `missing 10.244.2.0 lladdr … dev flannel.1`. */
export function difference({ fact, state, have }: Wanted): string {
  if (state === "missing" || have === undefined) return `missing: ${describe(fact)}`;
  return `wanted: ${describe(fact)}; is: ${describe(have)}`;
}

function isOwn(lease: Lease, own: Lease): boolean {
  return (own.subnet !== undefined && own.subnet === lease.subnet) ||
    (own.subnet6 !== undefined && own.subnet6 === lease.subnet6);
}

/** This node as its backend sees it, from what the kernel shows of the uplink. */
export function selfOf(
  { facts, vteps }: Overlay,
  { own }: Memory,
  told: string | undefined,
): Self | string {
  const publicIps: readonly (Ip | undefined)[] = [own.publicIp, own.publicIp6];
  const holder = facts.find((fact) =>
    fact.kind === "address" && publicIps.includes(addressOf(fact.inet))
  );
  const name = told ?? vteps.find(({ foreign, underlay }) => !foreign && underlay)?.underlay ??
    (holder?.kind === "address" ? holder.dev : undefined);
  const link = name === undefined ? undefined : linkOf(facts, name);
  if (name === undefined || link === undefined) {
    return "cannot tell which interface the packets between nodes take";
  }
  const inets = ([4, 6] as const).flatMap((family) => addressesOf(facts, name, family));
  const addressIn = (family: Family, published: Ip | undefined): Ip | undefined => {
    const local = vteps.find((vtep) => vtep.family === family && !vtep.foreign)?.local;
    const all = inets.map(addressOf).filter((ip) => familyOf(ip) === family);
    return local ?? all.find((ip) => ip === published) ?? all[0];
  };
  const [ip4, ip6] = [addressIn(4, own.publicIp), addressIn(6, own.publicIp6)];
  return {
    lease: own,
    underlay: {
      name,
      mtu: link.mtu ?? 0,
      addresses: { ...(ip4 && { 4: ip4 }), ...(ip6 && { 6: ip6 }) },
      onLink: inets.map(networkOf),
    },
  };
}

/** The lease of a node by one of its subnets. */
export function bySubnet(leases: readonly WantedLease[]): Map<string, WantedLease> {
  return new Map(leases.flatMap((one) => leaseSubnets(one.lease).map((subnet) => [subnet, one])));
}
