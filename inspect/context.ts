/**
 * What a command of inspect is given instead of the real world: streams, the kernel's facts, files,
 * and how the terminal is. Tests run the whole program on fakes of it.
 *
 * @module
 */

import type { CommandContext, StricliProcess } from "@stricli/core";
import type { Fact, Scope } from "../engine/fact.ts";
import type { RouteAnswer, RouteQuestion } from "../engine/trace/lookup.ts";
import type { CheckTools } from "./check/tools.ts";
import type { RuleTools } from "./rules/tools.ts";
import type { PolicyTools } from "./policy/tools.ts";
import type { TraceTools } from "./trace/tools.ts";
import type { PodTools } from "./pods/view.ts";

/** The reading half of the kernel; closed when disposed. */
export interface Reader extends Disposable {
  /** The facts of a scope, as the kernel holds them now. @throws {OpError} */
  read(scope: Scope): Fact[];
  /** Which way it would send a packet from this node, or through it. @throws {OpError} */
  lookUp(where: "host", question: RouteQuestion): RouteAnswer;
}

/** Rights that a command may need, linux/capability.h. */
export type Capability = "CAP_NET_ADMIN" | "CAP_NET_RAW" | "CAP_SYS_ADMIN";

/** All that a command may touch. */
export interface InspectContext extends CommandContext {
  /** Streams, environment, and the exit code that the command leaves. */
  readonly process: StricliProcess;
  /** Opens the kernel; loads the code for it first. @throws {OpError} */
  readonly open: () => Promise<Reader>;
  /** A whole file as text. @throws Deno's errors, by class: `NotFound`, `PermissionDenied` */
  readonly readFile: (path: string) => string;
  /** The names in a directory. @throws as {@link InspectContext.readFile} */
  readonly list: (path: string) => string[];
  /**
   * Writes a new file that only its owner may read; `-` is stdout.
   *
   * @throws {OpError} also when there is one already.
   */
  readonly save: (path: string, bytes: Uint8Array) => void;
  /**
   * The body of the daemon's answer on its status socket; undefined where nobody answers.
   *
   * @param path `/status`
   */
  readonly ask: (socket: string, path: string) => Promise<string | undefined>;
  /** What `check` tries out; loads the code for it first. */
  readonly checkTools: () => Promise<CheckTools>;
  /** What `trace` asks the kernel; loads the code for it first. */
  readonly traceTools: () => Promise<TraceTools>;
  /** How `policy` asks the kernel; loads the code for it first. */
  readonly policyTools: () => Promise<PolicyTools>;
  /** How `pods` looks into namespaces; loads the code for it first. */
  readonly podTools: () => Promise<PodTools>;
  /** How `rules` reads packet rules; loads the code for it first. */
  readonly ruleTools: () => Promise<RuleTools>;
  /** Whether this process has a right. */
  readonly has: (capability: Capability) => boolean;
  /** Aborted by SIGINT and SIGTERM; from the first call on they no longer end the process. */
  readonly interrupted: () => AbortSignal;
  /**
   * One as soon as it listens, then one for each burst of changes, in the kernel's tables or below
   * these paths. Ends with the signal.
   */
  readonly changes: (signal: AbortSignal, paths: readonly string[]) => AsyncIterable<void>;
  /** As `Date.now()`. */
  readonly now: () => number;
  /** The locale is UTF-8: more than ASCII can be shown. */
  readonly unicode: boolean;
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
