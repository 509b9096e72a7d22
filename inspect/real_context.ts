/**
 * The streams, files, kernel and terminal of this process, as commands are given them.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import type { Capability, InspectContext } from "./context.ts";
import { write } from "./write.ts";

/** What of the world needs much code, and is loaded when it is asked for. */
export type Loaded = Pick<
  InspectContext,
  "open" | "traceTools" | "checkTools" | "policyTools" | "podTools" | "ruleTools" | "changes"
>;

/** This process. */
export function realContext(loaded: Loaded): InspectContext {
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
    readFile: (path) => Deno.readTextFileSync(path),
    list: (path) => Array.from(Deno.readDirSync(path), ({ name }) => name).sort(),
    save,
    ask,
    has,
    interrupted,
    ...loaded,
    now: Date.now,
    unicode: /utf-?8/i.test(locale()),
    colour,
    ...(width === undefined ? {} : { width }),
  };
}

/** The locale of characters: the first of these variables that says anything counts, POSIX §8.2. */
function locale(): string {
  return Deno.env.get("LC_ALL") || Deno.env.get("LC_CTYPE") || Deno.env.get("LANG") || "";
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

function save(path: string, bytes: Uint8Array): void {
  try {
    if (path !== "-") return Deno.writeFileSync(path, bytes, { createNew: true, mode: 0o600 });
    for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
  } catch (cause) {
    throw new OpError("write", path, {
      code: ErrorCode.io,
      kernel: messageOf(cause),
      advice: "Name another file, which is not there yet: -w FILE",
      cause,
    });
  }
}

/** How long the daemon may take to answer, ms. */
const PATIENCE = 2_000;

/** One request in HTTP/1.0: the answer ends where the connection ends. */
async function ask(socket: string, path: string): Promise<string | undefined> {
  try {
    using connection = await Deno.connect({ transport: "unix", path: socket });
    const timer = setTimeout(() => connection.close(), PATIENCE);
    try {
      await connection.write(new TextEncoder().encode(`GET ${path} HTTP/1.0\r\nhost: x\r\n\r\n`));
      const answer = await new Response(connection.readable).text();
      const [head = "", ...body] = answer.split("\r\n\r\n");
      return /^HTTP\/1\.[01] 200 /.test(head) ? body.join("\r\n\r\n") : undefined;
    } finally {
      clearTimeout(timer);
    }
  } catch {
    // No daemon, not ours to ask, or gone meanwhile: the kernel and the files still tell.
    return undefined;
  }
}

/** Bit numbers, linux/capability.h. */
const CAPABILITY = {
  CAP_NET_ADMIN: 12n,
  CAP_NET_RAW: 13n,
  CAP_SYS_ADMIN: 21n,
} as const satisfies Record<Capability, bigint>;

/** Whether this process has a right. */
export function has(capability: Capability): boolean {
  const status = Deno.readTextFileSync("/proc/self/status");
  const [, mask = "0"] = /^CapEff:\t([0-9a-f]+)$/m.exec(status) ?? [];
  return (BigInt(`0x${mask}`) >> CAPABILITY[capability] & 1n) === 1n;
}

let ending: AbortController | undefined;

function interrupted(): AbortSignal {
  if (ending !== undefined) return ending.signal;
  const control = ending = new AbortController();
  const stop = (): void => control.abort();
  for (const name of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(name, stop);
  // Listening alone keeps no process alive.
  return control.signal;
}
