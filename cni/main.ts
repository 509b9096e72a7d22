/**
 * The plugin as a one-shot process: environment and stdin in, one JSON document out.
 *
 * @module
 */

import { messageOf } from "../engine/errors.ts";
import { endsSoon } from "../ffi/library.ts";
import { holdUnknown } from "./admit.ts";
import type { PluginName } from "./names.ts";
import type { Operation } from "./operation.ts";
import { answer } from "./skeleton.ts";
import { readWhole, writeWhole } from "./stdio.ts";

/** Serves the one request of this process as the plugin `type`, and sets the exit status. */
export async function main(type: PluginName): Promise<void> {
  const log = (line: string): void => {
    try {
      writeWhole(Deno.stderr, `${line}\n`);
    } catch {
      // Nobody reads our log: that is no reason to fail a request.
    }
  };
  endsSoon();
  using operation = await resumed();
  const { status, stdout } = await answer({
    type,
    env: (name) => Deno.env.get(name),
    stdin: () => readWhole(Deno.stdin),
    log,
    mayBlock: true,
    admit: holdUnknown,
    ...(operation && { operation }),
  });
  Deno.exitCode = status;
  try {
    writeWhole(Deno.stdout, stdout);
  } catch (error) {
    log(`twill: cannot write the answer: ${messageOf(error)}`);
    Deno.exitCode = 1;
  }
  operation?.done();
}

/** The daemon went away while it served this very call (see client/protocol.md). */
async function resumed(): Promise<Operation | undefined> {
  const call = Deno.env.get("TWILL_RESUME");
  if (!call) return undefined;
  // What we start in turn does not take over anything.
  Deno.env.delete("TWILL_RESUME");
  return new (await import("./operation.ts")).Operation(call);
}
