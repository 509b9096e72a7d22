/**
 * The three commands as one application, and how its library's outcomes become ours.
 *
 * @module
 */

import {
  type Application,
  buildApplication,
  buildRouteMap,
  ExitCode,
  run,
  text_en,
} from "@stricli/core";
import { messageOf, OpError } from "../engine/errors.ts";
import { Exit, type InstallContext, UsageError } from "./context.ts";
import { install } from "./install.ts";
import { manifest } from "./manifest.ts";
import { uninstall } from "./uninstall.ts";

/**
 * Runs one command.
 *
 * @param args the first is `install`, `uninstall` or `manifest`; what stands behind `--` is in the context
 * @returns the exit code: see {@link Exit}
 */
export async function runInstall(
  args: readonly string[],
  context: InstallContext,
): Promise<number> {
  await run(application(), args, context);
  const code = Number(context.process.exitCode ?? Exit.failed);
  // The library's codes are negative; a command's own are not.
  if (code === ExitCode.UnknownCommand || code === ExitCode.InvalidArgument) return Exit.usage;
  return code < 0 ? Exit.failed : code;
}

function application(): Application<InstallContext> {
  const root = buildRouteMap({
    routes: { install, uninstall, manifest },
    docs: { brief: "Put twill on this node, or take it away" },
  });
  return buildApplication<InstallContext>(root, {
    name: "twill",
    scanner: { caseStyle: "allow-kebab-for-camel" },
    documentation: { caseStyle: "convert-camel-to-kebab", useAliasInUsageLine: false },
    determineExitCode: (thrown) => thrown instanceof UsageError ? Exit.usage : Exit.failed,
    localization: {
      text: {
        ...text_en,
        exceptionWhileParsingArguments: (thrown) => messageOf(thrown),
        exceptionWhileRunningCommand: explain,
        exceptionWhileLoadingCommandFunction: explain,
      },
    },
  });
}

/** Errors are for operators: what was tried, what to do; a stack only where it is our mistake. */
function explain(thrown: unknown): string {
  if (thrown instanceof OpError) {
    return [thrown.message, ...(thrown.advice === undefined ? [] : [thrown.advice])].join("\n");
  }
  if (thrown instanceof UsageError) return thrown.message;
  if (thrown instanceof SuppressedError) {
    return `${explain(thrown.suppressed)}\nTaking it back failed too: ${explain(thrown.error)}`;
  }
  const stack = thrown instanceof Error ? thrown.stack : undefined;
  return `twill: this is a bug: ${stack ?? messageOf(thrown)}`;
}
