/**
 * The commands of `twill inspect`, and how one is run: by the short way where its line is plain, by
 * the command-line library otherwise.
 *
 * @module
 */

import { messageOf, OpError } from "../engine/errors.ts";
import type { InspectCommand } from "./command.ts";
import { Exit, type InspectContext } from "./context.ts";
import { readPlainLine } from "./plain_line.ts";

/** Every command by its name, in the order of the help; loaded when it is asked for. */
export const COMMANDS: Readonly<Record<string, () => Promise<InspectCommand>>> = {
  status: () => import("./status/status.ts").then((m) => m.status),
  subnet: () => import("./subnet.ts").then((m) => m.subnet),
  routes: () => import("./routes.ts").then((m) => m.routes),
  peers: () => import("./peers.ts").then((m) => m.peers),
  pods: () => import("./pods/pods.ts").then((m) => m.pods),
  rules: () => import("./rules/rules.ts").then((m) => m.rules),
  leases: () => import("./leases.ts").then((m) => m.leases),
  capture: () => import("./capture/command.ts").then((m) => m.capture),
  trace: () => import("./trace/trace.ts").then((m) => m.trace),
  check: () => import("./check/check.ts").then((m) => m.check),
  explain: () => import("./explain/explain.ts").then((m) => m.explain),
  diagram: () => import("./diagram/diagram.ts").then((m) => m.diagram),
  bundle: () => import("./bundle/bundle.ts").then((m) => m.bundle),
};

/** Runs one command. @returns the exit code: see {@link Exit} */
export async function runInspect(
  args: readonly string[],
  context: InspectContext,
): Promise<number> {
  const [name = "", ...words] = args;
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  const command = await load?.();
  const line = command && await readPlainLine(command, words, context);
  if (command === undefined || line === undefined) {
    const { runByLibrary } = await import("./by_library.ts");
    return await runByLibrary(COMMANDS, args, context);
  }
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
