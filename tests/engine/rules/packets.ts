/**
 * A packet filter of a few lines: what a rule set of ours does to one packet.
 *
 * @module
 */

import { contains, familyOf, type Ip } from "../../../engine/ip.ts";
import type { Chain, Match, RuleSet, Verdict } from "../../../engine/rules/model.ts";

/** What rules look at. */
export interface Packet {
  readonly source: Ip;
  readonly destination: Ip;
  /** Absent: 0. */
  readonly mark?: number;
}

/** The verdict that a hook's chain says; undefined when no rule matches: the policy, accept. */
export function verdictOf(
  rules: RuleSet,
  hook: Chain["hook"],
  packet: Packet,
): Verdict["kind"] | undefined {
  const chain = rules.chains.find((chain) => chain.hook === hook);
  const rule = chain?.rules.find(({ match }) => match.every((m) => matches(m, packet)));
  return rule?.verdict.kind;
}

function matches(match: Match, packet: Packet): boolean {
  switch (match.kind) {
    case "source":
    case "destination": {
      const ip = packet[match.kind];
      // A rule of one family never sees the other's packets, whatever it says of them.
      return familyOf(ip) === familyOf(match.net) &&
        contains(match.net, ip) !== (match.not ?? false);
    }
    case "mark":
      return match.exactly
        ? packet.mark === match.bits
        : ((packet.mark ?? 0) & match.bits) === match.bits;
  }
}
