/**
 * What a node wants in its kernel beside what its backend wants, in pure parts.
 *
 * @module
 */

import type { Self } from "../engine/backend/backend.ts";
import { type Fact, type RouteFact, TWILL_PROTOCOL } from "../engine/fact.ts";
import type { Cidr } from "../engine/ip.ts";
import { enabledFamilies, type NetConf } from "../engine/net_conf.ts";
import type { OverlayNet } from "../engine/rules/overlay.ts";

/** The networks of the families in use, with this node's subnets. */
export function overlayNets(conf: NetConf, { lease }: Self): OverlayNet[] {
  return enabledFamilies(conf).flatMap((family) => {
    const { network } = conf.families[family];
    const subnet = family === 4 ? lease.subnet : lease.subnet6;
    return network === undefined || subnet === undefined ? [] : [{ network, subnet }];
  });
}

/**
 * The nft table in which a fact's rules stand. The nf_tables variant of iptables keeps its tables
 * there too; changes of the legacy variant are heard by nobody, and found on the slow tick.
 */
export function tableOf(fact: Fact): string[] {
  if (fact.kind === "rules") return [fact.table];
  if (fact.kind === "chain") return [`${fact.family === 4 ? "ip" : "ip6"} ${fact.table}`];
  return [];
}

/** Packets to pods that are not there end here, instead of looping over the default route. */
export function lastResort(dst: Cidr): RouteFact {
  return {
    kind: "route",
    where: "host",
    dst,
    blackhole: true,
    protocol: TWILL_PROTOCOL,
    // Behind every other route: the bridge's own must win.
    metric: 0xffff_ffff,
  };
}
