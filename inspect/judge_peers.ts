/**
 * What is wrong with each peer, what that breaks, what to do. Pure.
 *
 * @module
 */

import { MAIN_TABLE, type RouteFact } from "../engine/fact.ts";
import {
  addressOf,
  type Family,
  familyOf,
  type Ip,
  lengthOf,
  networkOf,
  overlaps,
} from "../engine/ip.ts";
import type { Mac } from "../engine/mac.ts";
import { DAEMON, type Finding } from "./finding.ts";
import type { Peer } from "./join_peers.ts";
import { judgeWireguard } from "./judge_tunnel.ts";
import { isWithin, type Overlay, type Vtep } from "./overlay.ts";

/** A peer with what is wrong with it. */
export interface JudgedPeer {
  readonly peer: Peer;
  readonly findings: readonly Finding[];
}

/**
 * Judges peers one by one, and each against the others. What a VTEP keeps while it is down is not
 * judged: the device's finding stands for it.
 *
 * @param devices what is wrong with the VTEPs themselves: {@link judgeDevices}
 */
export function judgePeers(
  overlay: Overlay,
  peers: readonly Peer[],
  devices: readonly Finding[],
): JudgedPeer[] {
  const vteps = new Map(overlay.vteps.map((vtep) => [vtep.name, vtep]));
  const down = new Set(
    [...overlay.vteps, ...overlay.tunnels].filter(({ up }) => !up).map(({ name }) => name),
  );
  const others = indexOthers(overlay, peers);
  return peers.map((peer) => {
    const vtep = vteps.get(peer.device);
    if (down.has(peer.device)) {
      return { peer, findings: devices.filter(({ subject }) => subject === peer.device) };
    }
    return {
      peer,
      findings: [
        ...(vtep === undefined || peer.mode === "direct" ? [] : tables(peer, vtep, others)),
        ...(peer.mode === "wireguard" && overlay.keysRead
          ? judgeWireguard(peer).map((words) => finding(peer, words))
          : []),
        ...together(peer, others),
        ...(vtep?.foreign ? [] : placement(peer, overlay)),
      ],
    };
  });
}

/** What the findings of a peer are about: its subnet, or the best name there is. */
export function nameOfPeer({ subnet, gateway, mac, wireguard, device }: Peer): string {
  return subnet ?? gateway ?? mac ?? wireguard?.publicKey ?? device;
}

type Words = Omit<Finding, "subject">;

function finding(peer: Peer, words: Words): Finding {
  return { ...words, subject: nameOfPeer(peer) };
}

/** The three tables of one peer. */
function tables(peer: Peer, vtep: Vtep, others: Others): Finding[] {
  const { device, route, neighbour, fdb, gateway, mac, publicIp, stray } = peer;
  const found: Words[] = [];
  if (route === undefined && neighbour === undefined) found.push(staleFdb(peer, others));
  else if (route === undefined) found.push(noRoute(peer, others));
  if (route !== undefined && route.via === undefined) {
    found.push({
      id: "no-gateway",
      short: "no gateway",
      what: `its route over ${device} names no gateway`,
      breaks: "the kernel asks for each pod's MAC address, and nobody on an overlay answers",
      fix: DAEMON,
      command: `ip route replace ${route.dst} via ${addressOf(route.dst)} dev ${device} onlink`,
    });
  } else if (route !== undefined && neighbour === undefined) {
    found.push({
      id: "no-neighbour",
      short: "no neighbour",
      what: `no permanent neighbour entry for its gateway ${gateway} on ${device}${
        stray === undefined
          ? ""
          : `; the forwarding entry of ${stray.mac} to ${stray.remote}, which no neighbour ` +
            "uses, is probably its own"
      }`,
      breaks: `packets wait for ${
        familyOf(gateway!) === 4 ? "ARP" : "neighbour discovery"
      }, which nobody answers, and are dropped`,
      fix: DAEMON,
      command: `ip neighbour replace ${gateway} lladdr ${
        stray?.mac ?? "MAC-OF-ITS-VTEP"
      } dev ${device} nud permanent`,
    });
  }
  if (neighbour !== undefined && fdb.length === 0) found.push(noFdb(peer));
  if (fdb.length > 1) {
    found.push({
      id: "fdb-twice",
      short: "several FDB entries",
      what: `${fdb.length} forwarding entries for ${mac}: to ${
        fdb.map(({ remote }) => remote).join(" and ")
      }`,
      breaks: "frames go to more than one node, or to the wrong one",
      fix: "find out which is its address and delete the other:",
      command: `bridge fdb del ${mac} dev ${device} dst WRONG-ADDRESS`,
    });
  }
  if (publicIp !== undefined && publicIp === vtep.local) {
    found.push({
      id: "own-address",
      short: "leads to this node",
      what: `its forwarding entry leads to ${publicIp}, which is this node`,
      breaks: "its packets come back here and are dropped",
      fix:
        "look for two nodes with one public address in the store: each needs its own (--public-ip)",
    });
  }

  return found.map((words) => finding(peer, words));
}

function noFdb({ device, mac, stray }: Peer): Words {
  if (stray === undefined) {
    return {
      id: "no-fdb",
      short: "no FDB entry",
      what: `no forwarding entry for its VTEP ${mac} on ${device}`,
      breaks: "the kernel does not know which node to send the frames to, and drops them",
      fix: DAEMON,
      command: `bridge fdb append ${mac} dev ${device} dst ADDRESS-OF-THE-NODE`,
    };
  }
  return {
    id: "mac-mismatch",
    short: "MAC mismatch",
    what:
      `the neighbour table says ${mac}, the forwarding table has ${stray.mac} for ${stray.remote}`,
    breaks: "frames carry a MAC address that no forwarding entry knows, and are dropped",
    fix: "twill's daemon takes the right one from the lease; by hand: see which one the node has " +
      "and correct the other entry; there:",
    command: `ip link show ${device}`,
  };
}

function noRoute({ device, gateway }: Peer, { lengths }: Others): Words {
  const length = lengths.get(familyOf(gateway!)) ?? "LENGTH";
  return {
    id: "no-route",
    short: "no route",
    what: `neighbour ${gateway} on ${device} has no route that uses it`,
    breaks: "packets to that node's pods take the default route, out of the cluster",
    fix: `if the node is gone, delete its neighbour entry; else ${DAEMON}`,
    command: `ip route add ${gateway}/${length} via ${gateway} dev ${device} onlink`,
  };
}

function staleFdb({ device, mac, publicIp }: Peer, { incomplete }: Others): Words {
  const suspects = incomplete.filter((peer) => peer.device === device).map(nameOfPeer);
  return {
    id: "stale-fdb",
    short: "stale FDB entry",
    what: `the forwarding entry for ${mac} to ${publicIp} on ${device} belongs to no neighbour`,
    breaks:
      "nothing by itself: no packet uses it; it is left of a node that is gone or was renewed",
    fix: suspects.length > 0
      ? `first see whether it is the missing half of ${suspects.join(" or ")}; if not:`
      : DAEMON,
    command: `bridge fdb del ${mac} dev ${device} dst ${publicIp}`,
  };
}

/** What only shows when peers are compared. */
interface Others {
  /** The length of this node's subnets: that of all others, as a rule. */
  readonly lengths: ReadonlyMap<Family, number>;
  /** Those that have a route or a neighbour, but no forwarding entry. */
  readonly incomplete: readonly Peer[];
  readonly byMac: ReadonlyMap<string, readonly Peer[]>;
  readonly byPublicIp: ReadonlyMap<string, readonly Peer[]>;
  /** The routes that the kernel prefers to a VTEP's route for the same destination. */
  readonly routes: ReadonlyMap<string, readonly RouteFact[]>;
}

function indexOthers({ facts, subnets }: Overlay, peers: readonly Peer[]): Others {
  const joined = peers.filter(({ neighbour }) => neighbour !== undefined);
  const destinations = new Set<string | undefined>(peers.map(({ subnet }) => subnet));
  const routes = facts.filter((fact): fact is RouteFact =>
    fact.kind === "route" && destinations.has(fact.dst)
  );
  return {
    lengths: new Map(subnets.map((inet) => [familyOf(inet), lengthOf(inet)])),
    incomplete: peers.filter(({ mode, fdb }) => mode === "vxlan" && fdb.length === 0),
    byMac: group(joined, ({ device, mac }) => mac && key(device, mac)),
    byPublicIp: group(joined, ({ device, publicIp }) => publicIp && key(device, publicIp)),
    routes: group(routes, ({ dst, table }) => (table ?? MAIN_TABLE) === MAIN_TABLE && dst),
  };
}

function key(device: string, value: Mac | Ip): string {
  return `${device} ${value}`;
}

function group<T>(
  items: readonly T[],
  keyOf: (item: T) => string | false | undefined,
): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    if (!key) continue;
    const same = groups.get(key);
    if (same === undefined) groups.set(key, [item]);
    else same.push(item);
  }
  return groups;
}

function together(peer: Peer, others: Others): Finding[] {
  const { device, mac, publicIp, route, neighbour } = peer;
  const found: Words[] = [];
  const rivals = (
    all: readonly Peer[] | undefined,
  ): string[] => [
    ...new Set((neighbour ? all ?? [] : []).filter((p) => p !== peer).map(nameOfPeer)),
  ];
  const sameMac = rivals(mac && others.byMac.get(key(device, mac)));
  if (sameMac.length > 0) {
    found.push({
      id: "shared-mac",
      short: "MAC used twice",
      what: `its VTEP's MAC address ${mac} is also that of ${sameMac.join(" and ")}`,
      breaks: "one MAC address leads to one node only: packets to the other are lost",
      fix: "two nodes published one MAC address (a cloned machine?): delete flannel's or twill's " +
        "VTEP on one of them and restart its daemon",
    });
  }
  // With one MAC address they share the forwarding entry too: said once is enough.
  const sameIp = sameMac.length > 0
    ? []
    : rivals(publicIp && others.byPublicIp.get(key(device, publicIp)));
  if (sameIp.length > 0) {
    found.push({
      id: "shared-public-ip",
      short: "public IP used twice",
      what: `its node address ${publicIp} is also that of ${sameIp.join(" and ")}`,
      breaks: "one node has one VTEP: packets for one of the two arrive where nobody wants them",
      fix: "see which lease is true (twill inspect subnet on that node) and remove the other",
    });
  }
  const before = route &&
    (others.routes.get(route.dst) ?? []).find((other) =>
      other.dev !== route.dev && (other.metric ?? 0) < (route.metric ?? 0)
    );
  if (before !== undefined) {
    found.push({
      id: "shadowed-route",
      short: "route shadowed",
      what: `another route to ${before.dst} is preferred: ${
        before.dev === undefined ? "a blackhole" : `dev ${before.dev}`
      }, metric ${before.metric ?? 0} before ${route!.metric ?? 0}`,
      breaks: "packets to these pods never reach the overlay",
      fix: "see who made it, and remove it:",
      command: `ip route del ${before.dst} metric ${before.metric ?? 0}`,
    });
  }
  return found.map((words) => finding(peer, words));
}

/** Whether the peer's subnet may be where it is. */
function placement(peer: Peer, { networks, subnets }: Overlay): Finding[] {
  const { subnet, device } = peer;
  if (subnet === undefined) return [];
  const found: Words[] = [];
  const own = subnets.find((inet) => overlaps(networkOf(inet), subnet));
  if (own !== undefined) {
    found.push({
      id: "own-subnet",
      short: "is this node's own",
      what: `it overlaps ${networkOf(own)}, this node's own subnet`,
      breaks: "packets to pods of this node may leave to another one",
      fix: "two nodes believe in one subnet: see the leases in the store; if it is left from an " +
        "earlier lease:",
      command: `ip route del ${subnet} dev ${device}`,
    });
  }
  if (networks.length > 0 && !isWithin(networks, subnet)) {
    found.push({
      id: "outside-network",
      short: "outside the network",
      what: `it is not inside ${networks.join(", ")}`,
      breaks: "masquerade and forwarding rules do not treat it as pod traffic",
      fix: "if it is left from an earlier network:",
      command: `ip route del ${subnet} dev ${device}`,
    });
  }
  return found.map((words) => finding(peer, words));
}
