/**
 * What a command found, and how it is given out: one place decides streams, forms and exit codes.
 *
 * @module
 */

import { Exit, type InspectContext } from "./context.ts";
import { type Finding, findingJson, renderFindings } from "./finding.ts";
import type { CommonFlags, WatchFlags } from "./flags.ts";
import type { TableOptions } from "./style.ts";

/** Where a value came from. */
export type Source =
  | "netlink"
  | "subnet.env"
  | "status socket"
  | "snapshot"
  | "lease file"
  | "host-local reservations"
  | "runtime cache"
  | "plugin configuration"
  | "nft"
  | "iptables"
  | "sysctl"
  | "computed";

/** The answer of one command. */
export interface Report {
  /** The command's name; `kind` of the document. */
  readonly kind: string;
  /** What json and yaml give out behind `schema` and `kind`; `sources` and `findings` are added. */
  readonly document: Readonly<Record<string, unknown>>;
  /** What `-o name` gives out. */
  readonly names: readonly string[];
  /** The table for people; empty when there is nothing to list. */
  readonly table: (options: TableOptions) => string;
  readonly findings: readonly Finding[];
  /** Key of the document, with dots → where its values came from; several, the first wins. */
  readonly sources: Readonly<Record<string, Source | readonly Source[]>>;
  /** Shell commands that show the same. */
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
  if (flags.showCommands) context.process.stderr.write(commandLines(report));
  write(context, report, await render(context, flags, report, false));
}

/**
 * Gives a report out; with `--watch` again whenever the world changes and the report with it, until
 * interrupted. JSON is then one document a line.
 *
 * @param paths files that the report is made from, beside the kernel.
 */
export async function present(
  context: InspectContext,
  flags: WatchFlags,
  paths: readonly string[],
  make: () => Promise<Report>,
): Promise<void> {
  if (!flags.watch) return await give(context, flags, await make());
  const { stderr } = context.process;
  const began = context.now();
  let last: string | undefined;
  let count = 0;
  for await (const _ of context.changes(context.interrupted(), paths)) {
    const report = await make();
    const { out, err } = await render(context, flags, report, true);
    if (out + err === last) continue;
    if (last !== undefined) count++;
    else if (flags.showCommands) stderr.write(commandLines(report));
    if (last !== undefined && isTable(flags)) {
      stderr.write(`\n--- ${new Date(context.now()).toISOString()}\n`);
    }
    last = out + err;
    write(context, report, { out, err });
  }
  const seconds = Math.round((context.now() - began) / 1000);
  stderr.write(`${count === 1 ? "1 change" : `${count} changes`} in ${seconds} s\n`);
}

interface Text {
  readonly out: string;
  readonly err: string;
}

function commandLines({ commands }: Report): string {
  return commands.map((line) => `$ ${line}\n`).join("");
}

/** Gives out, in a form that only one command has; all else that the report says is for stderr. */
export function giveForm(
  context: InspectContext,
  showCommands: boolean,
  report: Report,
  form: string,
): void {
  const problems = renderFindings(report.findings, { colour: false, ...width(context) });
  const lines = showCommands ? commandLines(report) : "";
  const err = [lines, ...report.notes.map((note) => `${note}\n`), problems].join("");
  write(context, report, { out: form, err });
}

function write({ process }: InspectContext, report: Report, { out, err }: Text): void {
  process.stdout.write(out);
  process.stderr.write(err);
  process.exitCode = report.findings.length > 0
    ? Exit.finding
    : report.unknown
    ? Exit.unknown
    : Exit.fine;
}

async function render(
  context: InspectContext,
  flags: CommonFlags,
  report: Report,
  stream: boolean,
): Promise<Text> {
  const style = { colour: false, ...width(context) };
  return {
    out: await text(context, flags, report, stream),
    err: [
      ...report.notes.map((note) => `${note}\n`),
      ...(flags.output === "wide" && !flags.noHeaders ? [sourcesLine(report)] : []),
      ...(isTable(flags) && flags.noHeaders ? [renderFindings(report.findings, style)] : []),
    ].join(""),
  };
}

/** `from: netlink, subnet.env`. */
function sourcesLine({ sources }: Report): string {
  const all = new Set(Object.values(sources).flat());
  return all.size === 0 ? "" : `from: ${[...all].join(", ")}\n`;
}

function isTable({ output }: CommonFlags): boolean {
  return output === "table" || output === "wide";
}

function width({ width }: InspectContext): { readonly width?: number } {
  return width === undefined ? {} : { width };
}

async function text(
  context: InspectContext,
  flags: CommonFlags,
  report: Report,
  stream: boolean,
): Promise<string> {
  switch (flags.output) {
    case "json":
      return `${JSON.stringify(documentOf(report), null, stream ? undefined : 2)}\n`;
    case "yaml": {
      const { dump } = await import("js-yaml");
      const document = dump(documentOf(report), { lineWidth: -1, noRefs: true });
      return stream ? `---\n${document}` : document;
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

function documentOf({ kind, document, sources, findings }: Report): Record<string, unknown> {
  const lists = Object.entries(sources).map(([key, from]) => [key, [from].flat()]);
  return {
    schema: SCHEMA,
    kind,
    ...document,
    sources: Object.fromEntries(lists),
    findings: findings.map(findingJson),
  };
}

/** One line of a stream in JSON Lines: the same head as a document, then its own keys. */
export function jsonLine(kind: string, value: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ schema: SCHEMA, kind, ...value })}\n`;
}
