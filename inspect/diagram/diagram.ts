/**
 * `twill inspect diagram`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { commonAliases, type CommonFlags, commonFlags, describe } from "../flags.ts";
import { type PodPlaces, podPlaces } from "../pods/pods.ts";

/** Forms of the picture, and of what is in it. */
export const DIAGRAM_OUTPUTS = ["text", "svg", "mermaid", "json", "yaml", "name"] as const;

/** What the command is told. */
export interface DiagramFlags extends PodPlaces, Omit<CommonFlags, "output" | "noHeaders"> {
  readonly output: typeof DIAGRAM_OUTPUTS[number];
  /** All pods and peers, however many. */
  readonly all: boolean;
}

const { color, showCommands, subnetFile, stateDir, instance } = commonFlags;

/** The command. */
export const diagram: InspectCommand = command<DiagramFlags>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: {
    flags: {
      output: {
        kind: "enum",
        values: DIAGRAM_OUTPUTS,
        default: "text",
        brief: "text for terminals; svg and mermaid for documents; json, yaml: boxes and lines",
      },
      all: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Draw every pod and every peer; otherwise 16 of each, those with problems first",
      },
      ...podPlaces,
      color,
      showCommands,
      subnetFile,
      stateDir,
      instance,
    },
    aliases: commonAliases,
  },
  docs: {
    brief: "Draw this node's pod network: pods, bridge, overlay, uplink, other nodes",
    fullDescription: describe([
      "The picture that explanations of flannel draw, with the devices, addresses and nodes that are",
      "really there: the way of a packet from the pods of this node down to the other nodes. What has",
      "a problem is marked, and the problem is told below.",
      "",
      "Names of nodes come from the daemon or its snapshot; all else from the kernel. Only ASCII is",
      "used where the locale is not UTF-8. Needs root for the pods' own side.",
      "Exit code: 0 fine, 1 something is wrong, 2 wrong usage, 3 cannot tell.",
    ], [
      ["twill inspect diagram", "on the terminal"],
      ["twill inspect diagram -o svg > node.svg", "for a document"],
      ["twill inspect diagram -o mermaid", "for Markdown"],
    ]),
  },
});
