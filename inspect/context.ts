/**
 * What a command of inspect is given instead of the real world: streams, the kernel's facts, files,
 * and how the terminal is. Tests run the whole program on fakes of it.
 *
 * @module
 */

import type { CommandContext, StricliProcess } from "@stricli/core";
import type { Fact, Scope } from "../engine/fact.ts";

/** The reading half of the kernel; closed when disposed. */
export interface Reader extends Disposable {
  /** The facts of a scope, as the kernel holds them now. @throws {OpError} */
  read(scope: Scope): Fact[];
}

/** All that a command may touch. */
export interface InspectContext extends CommandContext {
  /** Streams, environment, and the exit code that the command leaves. */
  readonly process: StricliProcess;
  /** Opens the kernel; loads the code for it first. @throws {OpError} */
  readonly open: () => Promise<Reader>;
  /** A whole file as text. @throws Deno's errors, by class: `NotFound`, `PermissionDenied` */
  readonly readFile: (path: string) => string;
  /** Colours are welcome, unless a flag says otherwise. */
  readonly colour: boolean;
  /** Columns of the terminal; absent when stdout is none: then nothing is wrapped. */
  readonly width?: number;
}

/** What a command's end says to a script. */
export const Exit = {
  /** All that was looked at is as it should be. */
  fine: 0,
  /** Something is missing or wrong. */
  finding: 1,
  /** The command line cannot be understood. */
  usage: 2,
  /** Not enough could be read to judge. */
  unknown: 3,
} as const;
