/**
 * `twill inspect peers`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "./command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "./flags.ts";

/** The command. */
export const peers: InspectCommand = command<WatchFlags>({
  loader: () => import("./peers_run.ts").then((m) => m.run),
  parameters: { flags: watchFlags, aliases: watchAliases },
  docs: {
    brief: "How each other node's pods are reached, and what is missing for it",
    fullDescription: describe([
      "To send a packet to a pod of another node, the kernel looks into three tables: the route to",
      "that node's subnet names a gateway, the neighbour entry of the gateway names the MAC address",
      "of the node's VTEP, and the forwarding entry (FDB) of that MAC address names the node itself.",
      "One line here is all three, joined. If one of them is missing or they disagree, packets are",
      "lost without any message: such a peer is named, with what to do about it.",
      "",
      "Reads the kernel and the subnet file; needs neither root nor a daemon.",
      "Exit code: 0 all peers are complete, 1 some are not, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect peers", "one line for each node that this one knows"],
      ["twill inspect peers -o wide", "which of route, neighbour and forwarding entry exist"],
      ["twill inspect peers -o json | jq '.items[] | select(.ok | not)'", "only what is broken"],
    ]),
  },
});
