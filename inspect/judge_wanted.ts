/**
 * Peers against leases: what the store asks for and the kernel does not hold, and what the kernel
 * holds for nobody. Pure.
 *
 * @module
 */

import type { Fact } from "../engine/fact.ts";
import { addressOf, type Cidr, contains } from "../engine/ip.ts";
import { leaseSubnets } from "../engine/lease.ts";
import { DAEMON, type Finding } from "./finding.ts";
import type { Peer } from "./join_peers.ts";
import { type JudgedPeer, nameOfPeer } from "./judge_peers.ts";
import { byPrefix } from "./overlay.ts";
import type { Source } from "./report.ts";
import { endpointText, tunnelsOf } from "../engine/tunnel.ts";
import { bySubnet, difference, type Wanted, type WantedLease, type WantedNode } from "./wanted.ts";

/** A peer, its lease, and what the two say of each other. */
export interface KnownPeer extends JudgedPeer {
  readonly lease?: WantedLease;
  /** What its lease asks for in this family. */
  readonly wanted: readonly Wanted[];
}

/** Without leases there is nothing to compare. */
export function withoutLeases(peers: readonly JudgedPeer[]): KnownPeer[] {
  return peers.map((peer) => ({ ...peer, wanted: [] }));
}

/**
 * Adds what the leases say: their nodes, findings of their own, and to the findings of a peer the
 * very commands that repair it.
 *
 * @param from who told the leases: a snapshot does not say who is gone.
 * @param devices what is wrong with the VTEPs: it stands for all that hangs on them.
 */
export function judgeWanted(
  peers: readonly JudgedPeer[],
  wanted: WantedNode,
  from: Source,
  devices: readonly Finding[],
): KnownPeer[] {
  const leases = bySubnet(wanted.leases);
  const known = peers.map((one): KnownPeer => {
    const { subnet } = one.peer;
    const lease = leases.get(subnet ?? "");
    if (lease === undefined || subnet === undefined) {
      const gone = subnet !== undefined && one.findings.length === 0 && from !== "snapshot";
      return { ...one, wanted: [], findings: gone ? [noLease(one.peer)] : one.findings };
    }
    const facts = factsOf(lease, subnet);
    return { ...one, lease, wanted: facts, findings: findingsOf(one, facts) };
  });
  const present = new Set<Cidr | undefined>(peers.map(({ peer }) => peer.subnet));
  const absent = wanted.leases.filter(({ own }) => !own).flatMap((lease) =>
    leaseSubnets(lease.lease).filter((subnet) => !present.has(subnet)).map((subnet) =>
      notThere(lease, subnet, devices, wanted.own)
    )
  );
  return byPrefix([...known, ...absent], ({ peer }) => peer.subnet);
}

/** The facts for one subnet of a lease: those of its route's device. */
function factsOf({ facts }: WantedLease, subnet: Cidr): Wanted[] {
  const route = facts.find(({ fact }) => fact.kind === "route" && fact.dst === subnet);
  const dev = deviceOf(route?.fact);
  return facts.filter(({ fact }) => dev !== undefined && deviceOf(fact) === dev);
}

function deviceOf(fact: Fact | undefined): string | undefined {
  return fact !== undefined && "dev" in fact ? fact.dev : undefined;
}

/** Findings whose repair the lease knows to the letter. */
const REPAIRED: readonly string[] = ["no-neighbour", "no-fdb", "no-route", "mac-mismatch"];

function findingsOf({ peer, findings }: JudgedPeer, facts: readonly Wanted[]): readonly Finding[] {
  const wrong = facts.filter(({ state }) => state !== "ok");
  if (wrong.length === 0) return findings;
  const command = wrong.map(({ fact }) => commandFor(fact)).join(" && ");
  if (findings.length > 0) {
    return findings.map((one) => REPAIRED.includes(one.id) ? { ...one, command } : one);
  }
  return [{
    id: "differs-from-lease",
    subject: nameOfPeer(peer),
    short: "differs from its lease",
    what: `the kernel does not hold what its lease says: ${wrong.map(difference).join("; ")}`,
    breaks: "packets to its pods go to the wrong place",
    fix: DAEMON,
    command,
  }];
}

function noLease(peer: Peer): Finding {
  return {
    id: "no-lease",
    subject: nameOfPeer(peer),
    short: "no lease",
    what: `no lease in the store has this subnet; its route leaves by ${peer.device}`,
    breaks: "nothing, if that node is gone; packets to its pods vanish",
    fix: DAEMON,
    ...(peer.route === undefined ? {} : { command: `ip route del ${peer.route.dst}` }),
  };
}

/** A lease of which the kernel holds nothing at all. */
function notThere(
  lease: WantedLease,
  subnet: Cidr,
  devices: readonly Finding[],
  own: readonly Wanted[],
): KnownPeer {
  const wanted = factsOf(lease, subnet);
  const first = wanted.find(({ fact }) => fact.kind === "route") ??
    own.find(({ fact }) => fact.kind === "route" && contains(fact.dst, addressOf(subnet)));
  const device = deviceOf(first?.fact) ?? "-";
  const mode = modeOf(wanted, own);
  const peer: Peer = { mode, device, subnet, fdb: [] };
  const below = devices.filter(({ id, subject }) =>
    subject === device || mode === "vxlan" && id === "no-vtep"
  );
  if (below.length > 0) return { peer, lease, wanted, findings: below };
  if (lease.bad === undefined && lease.facts.length === 0) {
    return { peer, lease, wanted, findings: sharedFindings(subnet, own) };
  }
  const finding: Finding = lease.bad === undefined
    ? {
      id: "not-programmed",
      subject: subnet,
      short: "not programmed",
      what: `the store has a lease for it, and the kernel holds nothing of it`,
      breaks: "packets to its pods take the default route, out of the cluster",
      fix: DAEMON,
      command: wanted.map(({ fact }) => commandFor(fact)).join(" && "),
    }
    : {
      id: "unusable-lease",
      subject: subnet,
      short: "unusable lease",
      what: `its lease cannot be used: ${lease.bad}`,
      breaks: "this node has no way to that node's pods",
      fix: "see what that node's daemon published, and its log",
    };
  return { peer, lease, wanted, findings: [finding] };
}

/** By what a lease asks for; one that asks for nothing is reached by what this node has of its own. */
function modeOf(wanted: readonly Wanted[], own: readonly Wanted[]): Peer["mode"] {
  const kinds = new Set(wanted.map(({ fact }) => fact.kind));
  if (kinds.has("neighbour")) return "vxlan";
  if (kinds.has("wireguard-peer")) return "wireguard";
  const tunnels = tunnelsOf(own.map(({ fact }) => fact));
  const route = wanted.map(({ fact }) => fact).find((fact) => fact.kind === "route");
  return tunnels.find(({ name }) => route === undefined || name === route.dev)?.kind ?? "direct";
}

/** Of a backend whose peers have nothing of their own in the kernel, as udp: what all of them need. */
function sharedFindings(subnet: Cidr, own: readonly Wanted[]): Finding[] {
  const wrong = own.filter(({ state }) => state !== "ok");
  if (wrong.length === 0) return [];
  return [{
    id: "not-programmed",
    subject: subnet,
    short: "not programmed",
    what: `the kernel lacks what packets to all other nodes need: ${
      wrong.map(difference).join("; ")
    }`,
    breaks: "packets to its pods go nowhere, or the wrong way",
    fix: DAEMON,
    command: wrong.map(({ fact }) => commandFor(fact)).join(" && "),
  }];
}

/** The command that makes a fact. */
export function commandFor(fact: Fact): string {
  switch (fact.kind) {
    case "route":
      return [
        `ip route replace ${fact.dst}`,
        ...(fact.via === undefined ? [] : [`via ${fact.via}`]),
        ...(fact.dev === undefined ? [] : [`dev ${fact.dev}`]),
        ...(fact.onlink ? ["onlink"] : []),
        ...(fact.protocol === undefined ? [] : [`proto ${fact.protocol}`]),
      ].join(" ");
    case "neighbour":
      return `ip neighbour replace ${fact.ip} lladdr ${fact.mac} dev ${fact.dev} nud permanent`;
    case "fdb":
      return `bridge fdb replace ${fact.mac} dev ${fact.dev} dst ${fact.remote}`;
    case "wireguard-peer":
      return [
        `wg set ${fact.dev} peer ${fact.publicKey} allowed-ips ${fact.allowed.join(",")}`,
        ...(fact.remote === undefined || fact.port === undefined
          ? []
          : [`endpoint ${endpointText(fact.remote, fact.port)}`]),
      ].join(" ");
    default:
      return `true # ${fact.kind}: restart twill's daemon`;
  }
}
