/**
 * `twill inspect status`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "../flags.ts";

/** The command. */
export const status: InspectCommand = command<WatchFlags>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: { flags: watchFlags, aliases: watchAliases },
  docs: {
    brief: "This node on one screen: subnet, backend, MTU, devices, peers, store, rules, daemon",
    fullDescription: describe([
      "One line for each part that this node's pod network stands on, and whether it is as it should",
      "be. What is wrong is explained below, with what breaks and what to do. The other commands show",
      "each part in detail; twill inspect check tries more.",
      "",
      "Works without the daemon; asking it, and reading rules, needs root.",
      "Exit code: 0 all is well, 1 something is wrong, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect status", "is this node all right?"],
      ["twill inspect status --watch", "tell me when something changes"],
      ["twill inspect status -o json | jq -r '.findings[].what'", "only what is wrong"],
    ]),
  },
});
