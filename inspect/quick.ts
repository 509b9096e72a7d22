/**
 * `twill inspect routes` in as little time as can be. The build makes one file of this module and of
 * all that it imports (`tools/build`), which loads sooner than fifty. That file has its own copy of
 * each module, so it shares nothing with the rest of the program: it does a command from its first
 * word to its exit code, or leaves it alone.
 *
 * @module
 */

import { endsSoon } from "../ffi/library.ts";
import { LinkTable } from "../ffi/link_table.ts";
import { NetlinkSocket } from "../ffi/netlink/socket.ts";
import { readTables } from "../ffi/reader.ts";
import type { Reader } from "./context.ts";
import { readPlainLine } from "./plain_line.ts";
import { realContext } from "./real_context.ts";
import { routes, type RoutesFlags } from "./routes.ts";
import { run } from "./routes_run.ts";
import { runPlain } from "./run_plain.ts";

/** @returns the exit code; undefined, and nothing done, where the line is not plain. */
export async function quickRoutes(words: readonly string[]): Promise<number | undefined> {
  endsSoon();
  // `routes` needs the tables of rtnetlink, and nothing of what the other commands load.
  const context = realContext({
    // deno-lint-ignore require-await -- the others load code for it
    open: async () => openTables(),
    traceTools: absent,
    checkTools: absent,
    policyTools: absent,
    podTools: absent,
    ruleTools: absent,
    changes: absent,
  });
  const line = await readPlainLine(routes, words, context);
  if (line === undefined || (line.flags as unknown as RoutesFlags).watch) return undefined;
  // deno-lint-ignore require-await -- a command's work is loaded, but for this one
  return await runPlain({ ...routes, loader: async () => run as never }, line, context);
}

function absent(): never {
  throw new TypeError("the quick way of routes has no such tools");
}

function openTables(): Reader {
  const socket = new NetlinkSocket();
  const links = new LinkTable(socket);
  return {
    read: (scope) => readTables(links, "host", scope),
    lookUp: absent,
    [Symbol.dispose]: () => socket[Symbol.dispose](),
  };
}
