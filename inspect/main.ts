/**
 * `twill inspect`, `twill --help`, and the answer to any word that is no command.
 *
 * @module
 */

import { endsSoon } from "../ffi/library.ts";
import { Exit } from "./context.ts";
import { write } from "./write.ts";

/** Answers the arguments of this process where they name no part of twill, and sets its exit code. */
export async function main(): Promise<void> {
  const [word] = Deno.args;
  switch (word) {
    case undefined:
    case "help":
    case "-h":
    case "--help":
      write(Deno.stdout, (await import("./overview.ts")).overview());
      break;
    default:
      write(Deno.stderr, (await import("./overview.ts")).unknownCommand(word));
      Deno.exitCode = Exit.usage;
  }
}

/** Runs the command of `twill inspect` that the arguments of this process ask for. @returns its exit code */
export async function inspect(): Promise<number> {
  endsSoon();
  const [{ runInspect }, { realContext }, { LOADED }] = await Promise.all([
    import("./app.ts"),
    import("./real_context.ts"),
    import("./loaded.ts"),
  ]);
  return await runInspect(Deno.args.slice(1), realContext(LOADED));
}
