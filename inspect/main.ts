/**
 * `twill inspect`, `twill --help`, and the answer to any word that is no command.
 *
 * @module
 */

import { Exit, type InspectContext } from "./context.ts";

/** Runs what the arguments of this process ask for, and sets its exit code. */
export async function main(): Promise<void> {
  const [word, ...rest] = Deno.args;
  switch (word) {
    case "inspect": {
      const { runInspect } = await import("./app.ts");
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

/** The streams, files, kernel and terminal of this process. */
function realContext(): InspectContext {
  const terminal = Deno.stdout.isTerminal();
  const colour = terminal && !Deno.env.get("NO_COLOR") && Deno.env.get("TERM") !== "dumb";
  const width = terminal ? columns() : undefined;
  // Deep enough for colours as the library sees it, or no colours at all.
  const getColorDepth = (): number => colour ? 8 : 1;
  return {
    process: {
      stdout: { write: (text) => write(Deno.stdout, text), getColorDepth },
      stderr: {
        write: (text) => write(Deno.stderr, text),
        getColorDepth: () => Deno.stderr.isTerminal() ? getColorDepth() : 1,
      },
    },
    open: async () => (await import("../ffi/kernel.ts")).Kernel.open(),
    readFile: (path) => Deno.readTextFileSync(path),
    colour,
    ...(width === undefined ? {} : { width }),
  };
}

function columns(): number | undefined {
  const told = Number(Deno.env.get("COLUMNS"));
  if (Number.isInteger(told) && told > 0) return told;
  try {
    return Deno.consoleSize().columns || undefined;
  } catch {
    return undefined;
  }
}

/** Writes all of a text. A reader that has gone, as `head` does, is no error. */
function write(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  } catch (e) {
    if (!(e instanceof Deno.errors.BrokenPipe)) throw e;
  }
}
