/**
 * Findings: what is wrong, what it breaks, what to do about it. The judges make them, one renderer
 * shows them.
 *
 * @module
 */

import { paint, type Style, wrap } from "./style.ts";

/** One thing that is not as it should be. */
export interface Finding {
  /** A fixed word for programs: `no-fdb`. Never renamed. */
  readonly id: string;
  /** What it is about: a subnet, a device, a file. */
  readonly subject: string;
  /** The same in two or three words, for a table's cell. */
  readonly short: string;
  /** What is wrong, one sentence. */
  readonly what: string;
  /** What does not work because of it. */
  readonly breaks: string;
  /** What to do. */
  readonly fix: string;
  /** The shell command that does it; a word in capitals stands for what we cannot know. */
  readonly command?: string;
}

/** Said where a command repairs by hand what our daemon keeps in order. */
export const DAEMON = "twill's daemon puts this right by itself while it runs; by hand:";

/** A finding as JSON: the same for all commands. */
export function findingJson(finding: Finding): Record<string, string | null> {
  const { id, subject, what, breaks, fix, command = null } = finding;
  return { id, subject, what, breaks, fix, command };
}

/** The findings as text, each a small block; empty without any. */
export function renderFindings(findings: readonly Finding[], style: Style): string {
  if (findings.length === 0) return "";
  const blocks = findings.map(({ subject, what, breaks, fix, command }) =>
    [
      ...dyed(subject, wrap(`${subject}: ${what}`, style, 0, 2), style),
      ...wrap(`breaks: ${breaks}`, style, 2, 10),
      ...wrap(`to do:  ${fix}`, style, 2, 10),
      // Never wrapped: it is there to be copied.
      ...(command === undefined ? [] : [`          $ ${command}`]),
    ].join("\n")
  );
  const head = findings.length === 1 ? "1 problem" : `${findings.length} problems`;
  return `${paint(style, "bold", head)}\n\n${blocks.join("\n\n")}\n`;
}

function dyed(subject: string, [first = "", ...rest]: string[], style: Style): string[] {
  if (!first.startsWith(subject)) return [first, ...rest];
  return [paint(style, "red", subject) + first.slice(subject.length), ...rest];
}
