/**
 * What `install`, `uninstall` and `manifest` are given instead of the real world: the program itself, streams,
 * the kernel, processes and other programs. Tests run both on fakes of it and on a directory.
 *
 * @module
 */

import type { CommandContext, StricliProcess } from "@stricli/core";
import type { OpError } from "../engine/errors.ts";
import type { Fact, Scope } from "../engine/fact.ts";
import type { Change } from "../engine/plan.ts";

/** The node's kernel; closed when disposed. */
export interface NodeKernel extends Disposable {
  /** The facts of a scope. @throws {OpError} */
  read(scope: Scope): Fact[];
  /** Carries changes out, each for itself. */
  apply(changes: readonly Change[]): readonly { readonly error?: OpError }[];
  /** Runs nft commands as one transaction, and returns what nft prints. @throws {OpError} */
  nft(commands: string, handles?: boolean): string;
  /** Clears bits of the marks of all connections. @throws {OpError} */
  clearMarks(mask: number): void;
}

/** What another program left. */
export interface Ran {
  /** Exit status. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process of this network namespace. */
export interface Process {
  readonly pid: number;
  /** Its command line. */
  readonly words: readonly string[];
  /** Its control groups, as `/proc/PID/cgroup` has them. */
  readonly cgroup: string;
}

/** All that the commands may touch, but for the files, which are below `--root`. */
export interface InstallContext extends CommandContext {
  readonly process: StricliProcess;
  readonly uid: number;
  /** The compiled program that runs; absent when it was started from its sources. */
  readonly program?: string;
  /** The plugins' client, for each plugin's name; absent: the names become links to the program. */
  readonly client?: Uint8Array<ArrayBuffer>;
  /** What `twill --version` prints. */
  readonly version: string;
  /** The words behind `--`; absent when there was no `--`. */
  readonly behind?: readonly string[];
  /** All of the input; absent when that is a terminal. */
  readonly stdin?: () => Promise<string>;
  /** Opens the kernel; loads the code for it first. @throws {OpError} */
  readonly open: () => Promise<NodeKernel>;
  /** Processes that share our network. */
  readonly processes: () => readonly Process[];
  /** Runs a program to its end; undefined when there is none of that name. */
  readonly run: (program: string, args: readonly string[]) => Ran | undefined;
  /** The same, with this text on its stdin. */
  readonly feed: (
    program: string,
    args: readonly string[],
    stdin: string,
  ) => Promise<Ran | undefined>;
}

/** What the end of a command says to a script. */
export const Exit = {
  fine: 0,
  /** Something could not be done, or must not be. */
  failed: 1,
  /** The command line cannot be used; nothing was touched. */
  usage: 2,
} as const;

/** A command line that cannot be used; the text says why. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
