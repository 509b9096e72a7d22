/**
 * `twill inspect explain`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { commonAliases, type CommonFlags, commonFlags, describe } from "../flags.ts";

/** The command. */
export const explain: InspectCommand = command<CommonFlags, [subject?: string]>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: {
    flags: commonFlags,
    aliases: commonAliases,
    positional: {
      kind: "tuple",
      parameters: [{
        parse: String,
        placeholder: "topic",
        optional: true,
        brief: "vxlan, fdb, mtu, ...: without one they are listed; or a command of inspect",
      }],
    },
  },
  docs: {
    brief: "What a part of the pod network is for, with this node's own values",
    fullDescription: describe([
      "A few sentences on a topic, then the values that it has on this node, from the kernel, the",
      "subnet file and the daemon, and where to look further. Without a topic: all of them. With the",
      "name of a command: what that command tells, and the topics that it touches.",
      "",
      "Exit code: 0 fine, 2 no such topic, 3 this node cannot be looked at.",
    ], [
      ["twill inspect explain", "which topics there are"],
      ["twill inspect explain mtu", "why pods may send 1450 bytes here"],
      ["twill inspect explain peers", "how to read that command's answer"],
    ]),
  },
}, "commands");
