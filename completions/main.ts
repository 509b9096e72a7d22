/**
 * `twill completions SHELL`, and what the script that it prints asks at each TAB.
 *
 * @module
 */

import type { InspectContext } from "../inspect/context.ts";
import { type Names, propose } from "./propose.ts";
import { isShell, scriptOf, SHELLS } from "./scripts.ts";

const USAGE = `Usage: twill completions ${SHELLS.join("|")}

Prints a script that teaches the shell the commands and flags of twill, and the names of this node's
pods and of the cluster's nodes as they are at that moment.

Examples:
  source <(twill completions bash)                                     # this shell only
  twill completions bash > /etc/bash_completion.d/twill                # every bash
  twill completions fish > ~/.config/fish/completions/twill.fish       # every fish
`;

/** Runs it, and sets the exit code. */
export async function main(args: readonly string[] = Deno.args.slice(1)): Promise<void> {
  const [word, ...words] = args;
  if (word === "--words") return await print(words);
  if (word === "--help" || word === "-h") return write(Deno.stdout, USAGE);
  if (isShell(word) && words.length === 0) return write(Deno.stdout, scriptOf(word));
  const why = word === undefined ? "which shell?" : `no shell ${JSON.stringify(args.join(" "))}`;
  write(Deno.stderr, `twill completions: ${why}; want ${SHELLS.join(", ")}\n`);
  Deno.exitCode = 2;
}

/** One proposal a line; behind a tab stands what it means. */
async function print([_program, ...words]: readonly string[]): Promise<void> {
  const { ROOT } = await import("./tree.ts");
  const found = await propose(ROOT, words, liveNames);
  write(Deno.stdout, found.map(({ word, brief }) => `${word}\t${brief}\n`).join(""));
}

/** What `-o name` of the commands that list them says; nothing where they cannot tell. */
async function liveNames(names: Names): Promise<readonly string[]> {
  const [{ runInspect }, { realContext }, { LOADED }] = await Promise.all([
    import("../inspect/app.ts"),
    import("../inspect/real_context.ts"),
    import("../inspect/loaded.ts"),
  ]);
  let text = "";
  const context: InspectContext = {
    ...realContext(LOADED),
    process: { stdout: { write: (part) => void (text += part) }, stderr: { write: () => {} } },
  };
  await runInspect([names === "pods" ? "pods" : "leases", "-o", "name"], context);
  return text.split("\n").filter((line) => line !== "");
}

function write(stream: typeof Deno.stdout | typeof Deno.stderr, text: string): void {
  stream.writeSync(new TextEncoder().encode(text));
}
