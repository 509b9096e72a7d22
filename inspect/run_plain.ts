/**
 * Runs a command whose line has been read.
 *
 * @module
 */

import { messageOf, OpError } from "../engine/errors.ts";
import type { InspectCommand } from "./command.ts";
import { Exit, type InspectContext } from "./context.ts";
import type { PlainLine } from "./plain_line.ts";

/** Does the work, and tells in words where it fails. @returns the exit code: see {@link Exit} */
export async function runPlain(
  command: InspectCommand,
  line: PlainLine,
  context: InspectContext,
): Promise<number> {
  try {
    const work = await command.loader();
    await work.call(context, line.flags, ...line.rest);
    return Number(context.process.exitCode ?? Exit.unknown);
  } catch (e) {
    context.process.stderr.write(`${explain(e)}\n`);
    return Exit.unknown;
  }
}

/** Errors are for operators: what was tried, what to do; a stack only where it is our mistake. */
export function explain(thrown: unknown): string {
  if (thrown instanceof OpError) {
    return [thrown.message, ...(thrown.advice === undefined ? [] : [thrown.advice])].join("\n");
  }
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return `twill inspect: this is a bug: ${stack ?? messageOf(thrown)}`;
}
