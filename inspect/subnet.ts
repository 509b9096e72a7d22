/**
 * `twill inspect subnet`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "./command.ts";
import { describe, watchAliases, type WatchFlags, watchFlags } from "./flags.ts";

/** What the command is told. */
export interface SubnetFlags extends WatchFlags {
  /** The runtime's directory of networks. */
  readonly confDir: string;
}

/** The command. */
export const subnet: InspectCommand = command<SubnetFlags>({
  loader: () => import("./subnet_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      confDir: {
        kind: "parsed",
        parse: String,
        default: "/etc/cni/net.d",
        placeholder: "path",
        brief: "Where the container runtime looks for networks",
      },
      ...watchFlags,
    },
    aliases: watchAliases,
  },
  docs: {
    brief: "This node's subnet: subnet.env explained, and checked against kernel, store, plugins",
    fullDescription: describe([
      "The daemon writes subnet.env when this node has its subnet and can reach its peers; the",
      "plugin reads it for every pod. This compares it with what the kernel has: the VTEP's address",
      "and MTU, the underlay's MTU, the address of the pods' bridge, the MTU of pod interfaces; with",
      "the lease and the configuration in the store, where the daemon or its snapshot tells them; and",
      "with what the plugin is told.",
      "",
      "Needs neither root nor a daemon.",
      "Exit code: 0 all agree, 1 something is missing or differs, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect subnet", "each value, where it comes from, whether the kernel agrees"],
      ["twill inspect subnet -o json | jq .file.mtu", "one value for a script"],
      ["twill inspect subnet --subnet-file /tmp/copy.env", "another file than the daemon's"],
    ]),
  },
});
