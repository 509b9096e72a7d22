/**
 * Command lines that are not plain, by the command-line library: help, mistakes, rarer forms. How
 * the library's outcomes become ours.
 *
 * @module
 */

import {
  type Application,
  ArgumentScannerError,
  buildApplication,
  buildCommand,
  buildRouteMap,
  type Command,
  ExitCode,
  formatMessageForArgumentScannerError,
  type RouteMap,
  run,
  text_en,
} from "@stricli/core";
import { messageOf } from "../engine/errors.ts";
import type { Group, Load } from "./app.ts";
import { explain } from "./run_plain.ts";
import { kebab } from "./command.ts";
import { Exit, type InspectContext } from "./context.ts";

/** Runs one command. @returns the exit code: see {@link Exit} */
export async function runByLibrary(
  commands: Readonly<Record<string, Load | Group>>,
  args: readonly string[],
  context: InspectContext,
): Promise<number> {
  await run(application(await routesOf(commands)), args, context);
  return exitCode(Number(context.process.exitCode ?? Exit.unknown));
}

type Routes = Readonly<Record<string, Command<InspectContext> | RouteMap<InspectContext>>>;

async function routesOf(commands: Readonly<Record<string, Load | Group>>): Promise<Routes> {
  const routes = Object.entries(commands).map(async ([name, entry]) => {
    if (typeof entry !== "function") {
      const { brief } = entry;
      return [
        name,
        buildRouteMap({ routes: await routesOf(entry.commands), docs: { brief } }),
      ] as const;
    }
    // Its types were checked where it was declared.
    const command = await entry() as unknown as Parameters<typeof buildCommand>[0];
    return [name, buildCommand(command) as Command<InspectContext>] as const;
  });
  return Object.fromEntries(await Promise.all(routes));
}

function application(
  routes: Routes,
): Application<InspectContext> {
  const root = buildRouteMap({
    routes,
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

/** The library's codes are negative; a command's own are not. */
function exitCode(code: number): number {
  if (code === ExitCode.UnknownCommand || code === ExitCode.InvalidArgument) return Exit.usage;
  return code < 0 ? Exit.unknown : code;
}
