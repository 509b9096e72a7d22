/**
 * `twill inspect`, `twill --help`, and the answer to any word that is no command.
 *
 * @module
 */

import { endsSoon } from "../ffi/library.ts";
import { Exit } from "./context.ts";
import { write } from "./write.ts";

/** Runs what the arguments of this process ask for, and sets its exit code. */
export async function main(): Promise<void> {
  const [word, ...rest] = Deno.args;
  switch (word) {
    case "inspect":
      endsSoon();
      Deno.exitCode = await quickly(rest) ?? await inspect(rest);
      break;
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

/** The command that people type in place of `ip route` starts like it, where its line is plain. */
async function quickly([name, ...words]: readonly string[]): Promise<number | undefined> {
  return name === "routes" ? await (await import("./quick.ts")).quickRoutes(words) : undefined;
}

async function inspect(words: readonly string[]): Promise<number> {
  const [{ runInspect }, { realContext }, { LOADED }] = await Promise.all([
    import("./app.ts"),
    import("./real_context.ts"),
    import("./loaded.ts"),
  ]);
  return await runInspect(words, realContext(LOADED));
}
