/**
 * `twill inspect`, `twill --help`, and the answer to any word that is no command.
 *
 * @module
 */

import { endsSoon } from "../ffi/library.ts";
import { Exit } from "./context.ts";

/** Runs what the arguments of this process ask for, and sets its exit code. */
export async function main(): Promise<void> {
  const [word, ...rest] = Deno.args;
  switch (word) {
    case "inspect": {
      endsSoon();
      const [{ runInspect }, { realContext }] = await Promise.all([
        import("./app.ts"),
        import("./real_context.ts"),
      ]);
      Deno.exitCode = await runInspect(rest, realContext());
      break;
    }
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

/** Writes all of a text. A reader that has gone, as `head` does, is no error. */
export function write(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  } catch (e) {
    if (!(e instanceof Deno.errors.BrokenPipe)) throw e;
  }
}
