/**
 * The commands of `twill inspect` as one application, and how its library's outcomes become ours.
 *
 * @module
 */

import {
  type Application,
  ArgumentScannerError,
  buildApplication,
  buildRouteMap,
  ExitCode,
  formatMessageForArgumentScannerError,
  run,
  text_en,
} from "@stricli/core";
import { messageOf, OpError } from "../engine/errors.ts";
import { Exit, type InspectContext } from "./context.ts";
import { peers } from "./peers.ts";
import { routes } from "./routes.ts";
import { subnet } from "./subnet.ts";

/** Runs one command. @returns the exit code: see {@link Exit} */
export async function runInspect(
  args: readonly string[],
  context: InspectContext,
): Promise<number> {
  await run(application(), args, context);
  return exitCode(Number(context.process.exitCode ?? Exit.unknown));
}

function application(): Application<InspectContext> {
  const root = buildRouteMap({
    routes: { subnet, routes, peers },
    docs: {
      brief: "Look at this node's pod network; change nothing",
      fullDescription: "Look at this node's pod network. Reads the kernel and files, changes " +
        "nothing, needs no daemon.",
    },
  });
  return buildApplication<InspectContext>(root, {
    name: "twill inspect",
    scanner: { caseStyle: "allow-kebab-for-camel" },
    documentation: { caseStyle: "convert-camel-to-kebab", onlyRequiredInUsageLine: true },
    determineExitCode: () => Exit.unknown,
    localization: {
      text: {
        ...text_en,
        noCommandRegisteredForInput: ({ input, corrections }) => {
          const meant = corrections.map((word) => word.replaceAll("`", ""));
          return [
            `twill inspect: no command ${JSON.stringify(input)}${didYouMean(meant)}`,
            "Run: twill inspect --help",
          ].join("\n");
        },
        exceptionWhileParsingArguments: badArguments,
        exceptionWhileRunningCommand: explain,
        exceptionWhileLoadingCommandFunction: explain,
      },
    },
  });
}

/** What is wrong with the arguments; the library would propose flags by their names in our code. */
function badArguments(thrown: unknown): string {
  if (!(thrown instanceof ArgumentScannerError)) return `twill inspect: ${messageOf(thrown)}`;
  const words = formatMessageForArgumentScannerError(thrown, {
    FlagNotFoundError: ({ input, corrections }) =>
      `no flag --${input}${didYouMean(corrections.map(kebab))}`,
  });
  return `twill inspect: ${words}`;
}

function didYouMean(words: readonly string[]): string {
  return words.length === 0 ? "" : `; did you mean ${words.join(" or ")}?`;
}

function kebab(name: string): string {
  return `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
}

/** Errors are for operators: what was tried, what to do; a stack only where it is our mistake. */
function explain(thrown: unknown): string {
  if (thrown instanceof OpError) {
    return [thrown.message, ...(thrown.advice === undefined ? [] : [thrown.advice])].join("\n");
  }
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return `twill inspect: this is a bug: ${stack ?? messageOf(thrown)}`;
}

/** The library's codes are negative; a command's own are not. */
function exitCode(code: number): number {
  if (code === ExitCode.UnknownCommand || code === ExitCode.InvalidArgument) return Exit.usage;
  return code < 0 ? Exit.unknown : code;
}
