/**
 * `twill uninstall`: its flags and its help.
 *
 * @module
 */

import { buildCommand, type Command } from "@stricli/core";
import type { InstallContext } from "./context.ts";
import { parseDirectory } from "./layout.ts";

/** What uninstall is told. */
export interface UninstallFlags {
  /** Absent: where install put them. */
  readonly cniBinDir?: string;
  readonly cniConfDir?: string;
  readonly root: string;
  readonly dryRun: boolean;
  readonly force: boolean;
}

/** The command. */
export const uninstall: Command<InstallContext> = buildCommand<
  UninstallFlags,
  [],
  InstallContext
>({
  loader: () => import("./uninstall_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      cniBinDir: {
        kind: "parsed",
        parse: parseDirectory,
        optional: true,
        placeholder: "dir",
        brief: "Where the plugins are; default: where install put them",
      },
      cniConfDir: {
        kind: "parsed",
        parse: parseDirectory,
        optional: true,
        placeholder: "dir",
        brief: "Where the network's file is; default: where install put it",
      },
      root: {
        kind: "parsed",
        parse: parseDirectory,
        default: "/",
        placeholder: "dir",
        brief: "Only files, below this directory; nothing of this node",
      },
      dryRun: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Print what would be done, and do nothing",
      },
      force: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Even if pods are alive: they lose their network",
      },
    },
    aliases: { n: "dryRun" },
  },
  docs: {
    brief: "Take every trace of twill, and of flannel, off this node",
    customUsage: [
      { input: "--dry-run", brief: "What would go" },
      { input: "", brief: "Let it go" },
      { input: "--force", brief: "Also when pods are still there" },
    ],
    fullDescription: [
      "Leaves the node as it was before the install: unit, network, plugins and program go, files",
      "that had made room come back. Devices (flannel.*, the bridge when no pod hangs on it), routes,",
      "rules and state go too, those of flannel's daemon included, whatever its version.",
      "",
      "While pods are alive nothing is touched, because their deletion needs the plugins: drain the",
      "node first. A daemon that runs outside our unit must be stopped first. While flanneld runs,",
      "devices, rules and state are its own and stay: that is the way back to flannel.",
      "",
      "Exit code: 0 done, 1 refused or something is left (it is named), 2 wrong usage.",
    ].join("\n"),
  },
});
