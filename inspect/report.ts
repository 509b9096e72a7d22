/**
 * What a command found, and how it is given out: one place decides streams, forms and exit codes.
 *
 * @module
 */

import { Exit, type InspectContext } from "./context.ts";
import { type Finding, findingJson, renderFindings } from "./finding.ts";
import type { CommonFlags } from "./flags.ts";
import type { TableOptions } from "./style.ts";

/** The answer of one command. */
export interface Report {
  /** The command's name; `kind` of the document. */
  readonly kind: string;
  /** What json and yaml give out behind `schema` and `kind`; `findings` is added. */
  readonly document: Readonly<Record<string, unknown>>;
  /** What `-o name` gives out. */
  readonly names: readonly string[];
  /** The table for people; empty when there is nothing to list. */
  readonly table: (options: TableOptions) => string;
  readonly findings: readonly Finding[];
  /** Commands of iproute2 that show the same. */
  readonly commands: readonly string[];
  /** Said on stderr: why there is little or nothing to see. */
  readonly notes: readonly string[];
  /** Too little could be read: the exit code is 3. */
  readonly unknown?: boolean;
}

/** Version of the JSON documents: raised when a key changes its meaning or goes. */
export const SCHEMA = 1;

/** Gives a report out as the flags say, and sets the exit code. */
export async function give(
  context: InspectContext,
  flags: CommonFlags,
  report: Report,
): Promise<void> {
  const { stdout, stderr } = context.process;
  if (flags.showCommands) stderr.write(report.commands.map((line) => `$ ${line}\n`).join(""));
  stdout.write(await text(context, flags, report));
  stderr.write(report.notes.map((note) => `${note}\n`).join(""));
  const style = { colour: false, ...width(context) };
  if (isTable(flags) && flags.noHeaders) stderr.write(renderFindings(report.findings, style));
  context.process.exitCode = report.findings.length > 0
    ? Exit.finding
    : report.unknown
    ? Exit.unknown
    : Exit.fine;
}

function isTable({ output }: CommonFlags): boolean {
  return output === "table" || output === "wide";
}

function width({ width }: InspectContext): { readonly width?: number } {
  return width === undefined ? {} : { width };
}

async function text(context: InspectContext, flags: CommonFlags, report: Report): Promise<string> {
  switch (flags.output) {
    case "json":
      return `${JSON.stringify(documentOf(report), null, 2)}\n`;
    case "yaml": {
      const { dump } = await import("js-yaml");
      return dump(documentOf(report), { lineWidth: -1, noRefs: true });
    }
    case "name":
      return report.names.map((name) => `${name}\n`).join("");
    case "table":
    case "wide": {
      const options = {
        colour: flags.color === "auto" ? context.colour : flags.color === "always",
        ...width(context),
        headers: !flags.noHeaders,
        wide: flags.output === "wide",
      };
      const problems = flags.noHeaders ? "" : renderFindings(report.findings, options);
      return [report.table(options), problems].filter((part) => part !== "").join("\n");
    }
  }
}

function documentOf({ kind, document, findings }: Report): Record<string, unknown> {
  return { schema: SCHEMA, kind, ...document, findings: findings.map(findingJson) };
}
