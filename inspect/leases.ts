/**
 * `twill inspect leases`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "./command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "./flags.ts";

/** What the command is told. */
export interface LeasesFlags extends WatchFlags {
  /** Read this lease file, instead of what the daemon knows. */
  readonly leaseFile?: string;
}

/** The command. */
export const leases: InspectCommand = command<LeasesFlags>({
  loader: () => import("./leases_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      leaseFile: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "path",
        brief: "The leases of this file (daemon --lease-file), instead of those the daemon knows",
      },
      ...watchFlags,
    },
    aliases: watchAliases,
  },
  docs: {
    brief: "The subnet of every node, as the store tells it, and whether this node reaches it",
    fullDescription: describe([
      "A lease says which subnet a node has and how it is reached. They come from the daemon's",
      "status socket; when it does not answer, from the last good snapshot that it left. Each is",
      "compared with this node's kernel: STATUS is ok when everything is held that it asks for.",
      "",
      "Asking the daemon needs root. Exit code: 0 all are held, 1 some are not, or the store has a",
      "problem, 2 wrong usage, 3 cannot tell: no daemon, no snapshot.",
    ], [
      ["twill inspect leases", "which node has which subnet"],
      ["twill inspect leases --watch", "nodes that come and go, as it happens"],
      ["twill inspect leases -o json | jq -r '.items[].publicIP'", "the addresses of all nodes"],
    ]),
  },
});
