/**
 * `twill inspect routes`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "./command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "./flags.ts";

/** What the command is told. */
export interface RoutesFlags extends WatchFlags {
  /** Also routes that no pod's packet to a pod takes. */
  readonly all: boolean;
}

/** The command. */
export const routes: InspectCommand = command<RoutesFlags>({
  loader: () => import("./routes_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      all: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also the other routes of the main table, the default route among them",
      },
      ...watchFlags,
    },
    aliases: { ...watchAliases, a: "all" },
  },
  docs: {
    brief: "The routes to pods, each said in words",
    fullDescription: describe([
      "Lists the routes of the main table that lead into the pod network: to pods of this node over",
      "the bridge, to pods of each other node over the VTEP (or directly), and who made each route.",
      "The network comes from the subnet file; without it, the overlay devices tell.",
      "",
      "OWNER is the route's protocol number by name: twill (146), kernel (2), boot (3: whoever uses",
      "ip without saying more). A boot route of flannel's shape is said to be flannel's.",
      "",
      "Lists only; twill inspect peers judges. Needs neither root nor a daemon.",
      "Exit code: 0 fine, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect routes", "what ip route shows about pods, and to which node each leads"],
      [
        "twill inspect routes --all -o wide",
        "the whole main table, with all that the kernel tells",
      ],
      ["twill inspect routes --show-commands", "how to see the same with iproute2"],
    ]),
  },
});
