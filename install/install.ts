/**
 * `twill install`: its flags and its help.
 *
 * @module
 */

import { buildCommand, type Command } from "@stricli/core";
import type { InstallContext } from "./context.ts";
import { DEFAULT_BIN_DIR, DEFAULT_CONF_DIR, parseDirectory } from "./layout.ts";

/** What install is told. */
export interface InstallFlags {
  readonly cniBinDir: string;
  readonly cniConfDir: string;
  readonly root: string;
  readonly systemd: boolean;
  readonly conflist: boolean;
  readonly dryRun: boolean;
}

/** The command. */
export const install: Command<InstallContext> = buildCommand<InstallFlags, [], InstallContext>({
  loader: () => import("./install_run.ts").then((m) => m.run),
  parameters: {
    flags: {
      cniBinDir: {
        kind: "parsed",
        parse: parseDirectory,
        default: DEFAULT_BIN_DIR,
        placeholder: "dir",
        brief: "Where the runtime looks for plugins",
      },
      cniConfDir: {
        kind: "parsed",
        parse: parseDirectory,
        default: DEFAULT_CONF_DIR,
        placeholder: "dir",
        brief: "Where the runtime looks for networks",
      },
      root: {
        kind: "parsed",
        parse: parseDirectory,
        default: "/",
        placeholder: "dir",
        brief: "Fill the tree of a node below this directory, not this node",
      },
      systemd: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Also write a unit that runs the daemon with the flags behind --, and start it",
      },
      conflist: {
        kind: "boolean",
        default: true,
        brief: "The network's file; --no-conflist leaves it to a daemon with --conflist-file",
      },
      dryRun: {
        kind: "boolean",
        default: false,
        withNegated: false,
        brief: "Print what would be done, and do nothing",
      },
    },
    aliases: { n: "dryRun" },
  },
  docs: {
    brief: "Put the plugins, the network and (if asked) a systemd unit on this node",
    customUsage: [
      { input: "", brief: "Plugins and network; the daemon is yours to start" },
      {
        input: "--systemd -- --etcd-endpoints=http://10.0.0.2:2379 --ip-masq",
        brief: "All of it; what stands behind -- are flags of twill daemon",
      },
      {
        input: "--systemd -- --lease-file=/etc/twill/leases.yaml --ip-masq --healthz-port=9898",
        brief: "A cluster without any server",
      },
      {
        input: "--systemd -- --kube-subnet-mgr --kubeconfig-file=/etc/twill/kubeconfig --ip-masq",
        brief: "Leases from the Kubernetes API; the daemon writes the network",
      },
      { input: "--cni-bin-dir=/usr/lib/cni", brief: "Where Debian's containerd looks" },
      { input: "--root=/mnt/image --systemd -- --ip-masq", brief: "Fill an image" },
    ],
    fullDescription: [
      "Copies this program into the directory of plugins, with a small client for each plugin's name,",
      "and writes the network (10-flannel.conflist, named cbr0 as flannel's) last: from then on",
      "runtimes start pods with it. Files of others that have to make room are kept beside, with",
      `".before-twill" behind their name; twill uninstall puts them back. A list of yours under that`,
      "name is kept as well, and one of ours that you edited stays as it is.",
      "",
      "A daemon with --conflist-file, and any with --kube-subnet-mgr, writes the network itself, when",
      "the node is ready: Kubernetes sends pods to nodes that have one.",
      "",
      "Either all of it happens or nothing; run it again as often as you like, also to upgrade. With",
      "--systemd a changed daemon is restarted; pods keep their connections meanwhile.",
      "Secrets belong into /etc/twill/daemon.env, as FLANNELD_… variables, not behind --.",
      "",
      "Exit code: 0 done, 1 it could not be done and nothing was changed, 2 wrong usage.",
    ].join("\n"),
  },
});
