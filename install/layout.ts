/**
 * Where an installed twill has its files. All paths here are those of the running node; `--root`
 * stands in front of them only when a file is touched, so that an image can be filled from outside.
 *
 * @module
 */

import { UsageError } from "./context.ts";

/** Where container runtimes look for plugins, unless they are told otherwise. */
export const DEFAULT_BIN_DIR = "/opt/cni/bin";

/** Where they look for networks. */
export const DEFAULT_CONF_DIR = "/etc/cni/net.d";

/** The name of the program in the directory of the plugins, where their client looks for it. */
export const PROGRAM = "twill";

/** Words that stand in every version of the plugins' client, and in nobody else's plugin. */
export const CLIENT_MARK = "Cannot run twill beside the plugin";

/** The network's file; flannel's own name, so that one replaces the other. */
export const CONFLIST = "10-flannel.conflist";

/** The unit, and its file. */
export const UNIT = "twill.service";
/** See {@link UNIT}. */
export const UNIT_FILE = `/etc/systemd/system/${UNIT}`;
/** The link by which `systemctl enable` makes the unit start at boot. */
export const UNIT_WANTED = `/etc/systemd/system/multi-user.target.wants/${UNIT}`;

/** Variables for the daemon that are not for everyone to read: the operator's file, never ours. */
export const ENV_FILE = "/etc/twill/daemon.env";

/** The directory of what outlives a reboot. */
export const STATE_DIR = "/var/lib/twill";

/** What was installed, and what was there before. */
export const RECEIPT = `${STATE_DIR}/install.json`;

/** Stands behind the name of a file of somebody else's that had to make room. */
export const SAVED = ".before-twill";

/** Where plugins keep what they know about pods. */
export const CNI_STATE = {
  flannel: "/var/lib/cni/flannel",
  networks: "/var/lib/cni/networks",
} as const;

/** Directories below `/run` of flannel's daemon and of ours. */
export const RUN_DIRS: readonly string[] = ["/run/flannel", "/run/twill"];

/** The subnet file that the daemon writes unless it is told otherwise. */
export const SUBNET_FILE = "/run/flannel/subnet.env";

/** A path of the node, below the root that is worked on. */
export function below(root: string, path: string): string {
  return root === "/" ? path : `${root}${path}`;
}

/** The directory of a path. */
export function dirOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf("/")));
}

/** The last part of a path. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** A directory and all above it but `/`, the highest first. */
export function withParents(dir: string): string[] {
  const parts = dir.split("/").filter((part) => part !== "");
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join("/")}`);
}

/** Reads the value of a flag that names a directory. @throws {UsageError} */
export function parseDirectory(text: string): string {
  if (!text.startsWith("/") || text.includes("\0") || /(?:^|\/)\.\.?(?:\/|$)/.test(text)) {
    throw new UsageError(`want an absolute path without . and .., got ${JSON.stringify(text)}`);
  }
  return `/${text.split("/").filter((part) => part !== "").join("/")}`;
}
