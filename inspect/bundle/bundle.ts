/**
 * `twill inspect bundle`: its flags and its help.
 *
 * @module
 */

import { command, type InspectCommand } from "../command.ts";
import { commonFlags, describe, type PlaceFlags } from "../flags.ts";

/** What the command is told. */
export interface BundleFlags extends PlaceFlags {
  /** A path, or `-` for stdout; absent: a name with the time, in the working directory. */
  readonly write?: string;
  readonly showCommands: boolean;
}

const { showCommands, subnetFile, stateDir, instance } = commonFlags;

/** The command. */
export const bundle: InspectCommand = command<BundleFlags>({
  loader: () => import("./run.ts").then((m) => m.run),
  parameters: {
    flags: {
      write: {
        kind: "parsed",
        parse: String,
        optional: true,
        placeholder: "file",
        brief: "Where to, - for stdout; otherwise twill-bundle-TIME.tar.gz here",
      },
      showCommands,
      subnetFile,
      stateDir,
      instance,
    },
    aliases: { w: "write" },
  },
  docs: {
    brief: "All of this node's answers in one archive for a bug report, secrets removed",
    fullDescription: describe([
      "Runs the other commands (those that send nothing) and puts their answers, as text and as JSON,",
      "into one tar archive, with the versions, the subnet file, the runtime's network files, packet",
      "rules, and what the daemon tells: status, metrics. Nothing is sent anywhere.",
      "",
      "Passwords, tokens, keys and the users of URLs are taken out; kubeconfigs are left out whole. It",
      "does tell addresses, names of pods and nodes, and rules: look through it before you pass it on.",
      "The daemon's log is not in it: add journalctl -u twill, or kubectl logs.",
      "",
      "Exit code: 0 written, 2 wrong usage, 3 cannot be written.",
    ], [
      ["twill inspect bundle", "into a file here"],
      ["twill inspect bundle -w - | ssh HOST 'cat > node.tar.gz'", "to another host"],
    ]),
  },
});
