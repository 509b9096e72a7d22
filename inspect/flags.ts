/**
 * The flags that all commands of inspect share.
 *
 * @module
 */

import type { FlagParametersForType } from "@stricli/core";
import type { InspectContext } from "./context.ts";

/** Forms of output. */
export const OUTPUTS = ["table", "wide", "json", "yaml", "name"] as const;
/** One of {@link OUTPUTS}. */
export type Output = typeof OUTPUTS[number];

/** When to use colours. */
export const COLOURS = ["auto", "always", "never"] as const;

/** Where things are. */
export interface PlaceFlags {
  /** Path of the file that the daemon writes. */
  readonly subnetFile: string;
  /** `--instance` of the daemon; absent for the one without a name. */
  readonly instance?: string;
  /** Where the daemon keeps its last good snapshot. */
  readonly stateDir: string;
}

/** What every command is told. */
export interface CommonFlags extends PlaceFlags {
  readonly output: Output;
  readonly noHeaders: boolean;
  readonly color: typeof COLOURS[number];
  readonly showCommands: boolean;
}

/** What a command that lists is told: it can go on listing. */
export interface WatchFlags extends CommonFlags {
  /** Print again whenever something changes. */
  readonly watch: boolean;
}

/** The declaration of {@link CommonFlags}. */
export const commonFlags: FlagParametersForType<CommonFlags, InspectContext> = {
  output: {
    kind: "enum",
    values: OUTPUTS,
    default: "table",
    brief: "name: one a line; json, yaml: one document",
  },
  noHeaders: {
    kind: "boolean",
    default: false,
    withNegated: false,
    brief: "Only rows on stdout: no headings, and problems go to stderr",
  },
  color: {
    kind: "enum",
    values: COLOURS,
    default: "auto",
    brief: "Colours; auto: on a terminal, unless NO_COLOR is set",
  },
  showCommands: {
    kind: "boolean",
    default: false,
    withNegated: false,
    brief: "Print on stderr the shell commands (ip, bridge, nft, ...) that show the same",
  },
  subnetFile: {
    kind: "parsed",
    parse: String,
    default: "/run/flannel/subnet.env",
    placeholder: "path",
    brief: "File in which the daemon tells this node's subnet",
  },
  stateDir: {
    kind: "parsed",
    parse: String,
    default: "/var/lib/twill",
    placeholder: "path",
    brief: "Where the daemon keeps its last good snapshot, read when it does not answer",
  },
  instance: {
    kind: "parsed",
    parse: (word) => {
      if (/^[a-z0-9][a-z0-9_.-]{0,31}$/.test(word)) return word;
      throw new SyntaxError(`--instance: no name of a daemon: ${JSON.stringify(word)}`);
    },
    optional: true,
    placeholder: "name",
    brief: "Which daemon, where several share this host (its --instance)",
  },
};

/** Their short forms. */
export const commonAliases = { o: "output" } as const;

/** The declaration of {@link WatchFlags}. */
export const watchFlags: FlagParametersForType<WatchFlags, InspectContext> = {
  ...commonFlags,
  watch: {
    kind: "boolean",
    default: false,
    withNegated: false,
    brief: "Print again when something changes, until interrupted; json: one document a line",
  },
};

/** Their short forms. */
export const watchAliases = { ...commonAliases, w: "watch" } as const;

/** A command's description: its lines, then its examples in two columns. */
export function describe(
  lines: readonly string[],
  examples: readonly (readonly [line: string, what: string])[],
): string {
  const width = Math.max(...examples.map(([line]) => line.length));
  const rows = examples.map(([line, what]) => `  ${line.padEnd(width)}  # ${what}`);
  return [...lines, "", "Examples:", ...rows].join("\n");
}
