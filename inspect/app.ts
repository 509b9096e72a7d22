/**
 * The commands of `twill inspect`, and how one is run: by the short way where its line is plain, by
 * the command-line library otherwise.
 *
 * @module
 */

import type { InspectCommand } from "./command.ts";
import type { InspectContext } from "./context.ts";
import { readPlainLine } from "./plain_line.ts";
import { runPlain } from "./run_plain.ts";

/** A command is loaded when it is asked for. */
export type Load = () => Promise<InspectCommand>;

/** Commands that stand behind one more word. */
export interface Group {
  readonly brief: string;
  readonly commands: Readonly<Record<string, Load>>;
}

/** Every command by its name, in the order of the help. */
export const COMMANDS: Readonly<Record<string, Load | Group>> = {
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
  policy: {
    brief: "NetworkPolicy: which hold for a pod, who may reach whom, mistakes, what is dropped",
    commands: {
      show: () => import("./policy/commands.ts").then((m) => m.show),
      can: () => import("./policy/commands.ts").then((m) => m.can),
      matrix: () => import("./policy/commands.ts").then((m) => m.matrix),
      lint: () => import("./policy/commands.ts").then((m) => m.lint),
      log: () => import("./policy/commands.ts").then((m) => m.log),
    },
  },
};

/** Runs one command. @returns the exit code: see {@link Exit} */
export async function runInspect(
  args: readonly string[],
  context: InspectContext,
): Promise<number> {
  const { load, words } = find(args);
  const command = await load?.();
  const line = command && await readPlainLine(command, words, context);
  if (command === undefined || line === undefined) {
    const { runByLibrary } = await import("./by_library.ts");
    return await runByLibrary(COMMANDS, args, context);
  }
  return await runPlain(command, line, context);
}

/** The command that the first words name, and the words behind its name. */
function find(
  args: readonly string[],
): { readonly load?: Load; readonly words: readonly string[] } {
  let at: Readonly<Record<string, Load | Group>> = COMMANDS;
  for (const [i, name] of args.entries()) {
    const found = Object.hasOwn(at, name) ? at[name] : undefined;
    if (typeof found === "function") return { load: found, words: args.slice(i + 1) };
    if (found === undefined) break;
    at = found.commands;
  }
  return { words: args };
}
