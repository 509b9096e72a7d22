/**
 * `twill inspect rules`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "../flags.ts";

/** What the command is told. */
export interface RulesFlags extends WatchFlags {
  /** Also what touches no pod's packets, and long chains of others. */
  readonly all: boolean;
}

/** The command. */
export const rules: InspectCommand = command<RulesFlags>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: {
    flags: {
      all: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also rules that touch no pod's packets, and long chains of others",
      },
      ...watchFlags,
    },
    aliases: { ...watchAliases, a: "all" },
  },
  docs: {
    brief: "Packet rules that pods' packets meet, ours and others', in their order and in words",
    fullDescription: describe([
      "Rules of nftables and of old iptables that may act on pods' packets, or on the packets between",
      "nodes that carry them, in the order in which packets meet them: by hook, by priority, and",
      "through the chains that they jump to. EFFECT: acts on them for sure, may act (it depends on",
      "what is not known here: a port, a mark, a set), or is a hazard: packets that must pass are",
      "thrown away, or packets between pods get another source address. A packet must be let through",
      "by every chain of a hook: that one accepts does not help against another that drops.",
      "",
      "Needs root (CAP_NET_ADMIN). Exit code: 0 no hazard, 1 hazards, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect rules", "what pods' packets meet on this node"],
      ["twill inspect rules -o wide", "the same, with each rule as its program writes it"],
      [
        "twill inspect rules -o json | jq '.items[] | select(.effect == \"hazard\")'",
        "hazards only",
      ],
    ]),
  },
});
