/**
 * The host-gw backend: no device and no encapsulation. Each peer is one route to its subnet by its
 * address, so all nodes must be on one link; the kernel refuses peers that are not, by name.
 *
 * @module
 */

import { ErrorCode, OpError } from "../errors.ts";
import type { Scope } from "../fact.ts";
import type { Family, Ip } from "../ip.ts";
import type { Lease } from "../lease.ts";
import { enabledFamilies, type NetConf } from "../net_conf.ts";
import type { Ours } from "../plan.ts";
import type { Backend, BackendFacts, BadPeer, PeerFacts, Self, Underlay } from "./backend.ts";
import { directRoute, insideOf, isOverlayRoute, LEASE_ROWS } from "./routes.ts";

/** The host-gw backend for a network. It has no options. */
export function hostGw(conf: NetConf): Backend {
  const families = enabledFamilies(conf);
  return {
    type: "host-gw",
    leaseType: "host-gw",
    podMtu: (underlay) => Math.min(underlay.mtu, 65_535),
    devices: () => ({}),
    admit,
    macsOf: () => ({}),
    publish: () => ({}),
    facts: (self, peers) => peerRoutes(self, peers, families),
    scope: (): Scope => ({ routes: true }),
    ours: () => ours(conf),
  };
}

/** Peers use our public address as gateway: it must be the interface's own. */
function admit(underlay: Underlay, publicIps: Readonly<Partial<Record<Family, Ip>>>): void {
  for (const family of [4, 6] as const) {
    const [own, published] = [underlay.addresses[family], publicIps[family]];
    if (own === published) continue;
    throw new OpError("use", "backend host-gw", {
      code: ErrorCode.badConfig,
      kernel:
        `your PublicIP ${published} differs from interface IP ${own}, meaning that probably ` +
        "you're on a NAT, which is not supported by host-gw backend",
      advice: "Remove --public-ip, choose the interface with --iface, or use backend vxlan",
    });
  }
}

function peerRoutes(
  { underlay }: Self,
  peers: readonly Lease[],
  families: readonly Family[],
): BackendFacts {
  const good: PeerFacts[] = [];
  const bad: BadPeer[] = [];
  for (const lease of peers) {
    if (lease.backendType !== "host-gw") {
      const reason = `its backend is ${JSON.stringify(lease.backendType)}, ours is host-gw`;
      bad.push({ lease, reason });
      continue;
    }
    const facts = families.flatMap((family) => {
      const row = LEASE_ROWS[family];
      const [subnet, via] = [row.subnet(lease), row.publicIp(lease)];
      if (subnet === undefined) return [];
      if (via !== undefined) return [directRoute(subnet, via, underlay.name)];
      bad.push({ lease, reason: `it has no public IPv${family} address` });
      return [];
    });
    if (facts.length > 0) good.push({ lease, facts });
  }
  return { own: [], peers: good, bad };
}

function ours(conf: NetConf): Ours {
  const inside = insideOf(conf);
  return (fact) => fact.kind === "route" && isOverlayRoute(fact, new Set(), inside);
}
