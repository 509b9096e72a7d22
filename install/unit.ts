/**
 * The systemd unit that runs the daemon.
 *
 * @module
 */

import {
  type FlagName,
  type Flags,
  parseFlags,
  UsageError as FlagError,
  variableOf,
} from "../daemon/flags.ts";
import { UsageError } from "./context.ts";
import { ENV_FILE } from "./layout.ts";

/** The first line of every unit of ours; by it uninstall knows one without a receipt. */
export const UNIT_MARK = "# Written by twill install; twill uninstall removes it.";

/** Flags whose value is nobody's business: a unit can be read by every user of the node. */
const SECRET: readonly FlagName[] = ["etcd-password"];

/**
 * Refuses daemon flags that the daemon would refuse, and secrets.
 *
 * Variables do not count here: those of this shell are not those of the unit.
 *
 * @returns what they say.
 * @throws {UsageError} naming the flag.
 */
export function checkFlags(words: readonly string[]): Flags {
  let line;
  try {
    line = parseFlags(words, () => undefined);
  } catch (e) {
    if (!(e instanceof FlagError)) throw e;
    throw new UsageError(`daemon flags: ${e.message}\nRun: twill daemon --help`);
  }
  if (line.kind !== "run") {
    throw new UsageError(`daemon flags: --${line.kind} would end the daemon at once`);
  }
  const { given, flags } = line;
  const secret = SECRET.find((name) => given.has(name));
  if (secret !== undefined) {
    throw new UsageError(
      `daemon flags: --${secret} would stand in the unit, which every user can read\n` +
        `Put ${variableOf(secret)}=… into ${ENV_FILE} (mode 0600), and leave the flag out`,
    );
  }
  return flags;
}

/** Who writes the network's file. */
export interface Writer {
  /** The unit's flags, with one for a daemon that is to write it. */
  readonly daemonFlags: readonly string[];
  /** The daemon does, when the node is ready. */
  readonly later: boolean;
}

/**
 * Decides who writes the network's file: where Kubernetes sends pods to nodes that have one, the
 * daemon.
 *
 * @param words flags of the daemon: see {@link checkFlags}.
 * @param list the file.
 * @param edited an operator has made the list his own: it stays, unless the daemon is told of it.
 * @throws {UsageError} when the daemon is told another file than uninstall would find.
 */
export function whoWrites(
  words: readonly string[],
  list: string,
  { systemd, conflist }: { readonly systemd: boolean; readonly conflist: boolean },
  edited: boolean,
): Writer {
  if (!systemd) return { daemonFlags: [], later: !conflist };
  const flags = checkFlags(words);
  const given = flags["conflist-file"];
  if (given !== "" && given !== list) {
    throw new UsageError(
      `daemon flags: --conflist-file must be ${list}, where uninstall looks; see --cni-conf-dir`,
    );
  }
  const adds = given === "" && conflist && !edited && flags["kube-subnet-mgr"];
  return {
    daemonFlags: adds ? [...words, `--conflist-file=${list}`] : words,
    later: adds || given !== "" || !conflist,
  };
}

/**
 * One word of `ExecStart=`, as systemd reads it back: `%` and `$` doubled, everything else that is
 * not plainly harmless in double quotes, with the escapes of systemd.syntax(7).
 *
 * @throws {UsageError} for what no command line can hold.
 */
export function unitWord(word: string): string {
  if (word.includes("\0")) throw new UsageError("daemon flags: NUL in a word");
  const text = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (/^[\w./:,@+=%$-]+$/.test(text)) return text;
  const escaped = text.replaceAll(
    // deno-lint-ignore no-control-regex -- those are what must not go into the file as they are
    /["\\\x00-\x1f\x7f]/g,
    (c) =>
      c === '"' || c === "\\" ? `\\${c}` : `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return `"${escaped}"`;
}

/**
 * The unit's text.
 *
 * @param program path of the installed program
 * @param flags for the daemon; see {@link checkFlags}
 * @throws {UsageError} for what a unit cannot say
 */
export function unitText(program: string, flags: readonly string[]): string {
  // systemd reads the first word by rules of its own.
  if (!/^[\w./:,@+=-]+$/.test(program)) {
    throw new UsageError(`systemd cannot start a program of this path: ${JSON.stringify(program)}`);
  }
  const command = [program, ...["daemon", ...flags].map(unitWord)].join(" ");
  return `${UNIT_MARK}
# Settings of your own belong into a drop-in: systemctl edit twill.service

[Unit]
Description=twill, the node agent of the pod network
Wants=network-online.target
After=network-online.target
# It waits for what is missing, and is never to be given up.
StartLimitIntervalSec=0

[Service]
# Started once the node is ready, however long that takes.
Type=notify
TimeoutStartSec=infinity
# FLANNELD_… variables, for what must not stand here: --etcd-password is FLANNELD_ETCD_PASSWORD.
EnvironmentFile=-${ENV_FILE}
ExecStart=${command}
Restart=always
RestartSec=2
# A command line that cannot be used does not get better.
RestartPreventExitStatus=2
OOMScoreAdjust=-900

[Install]
WantedBy=multi-user.target
`;
}
