/**
 * Programs that run until they are stopped: daemons, etcd, the processes that hold a namespace.
 *
 * They are not children of ours but of the lab's first process, so that a lab may stay up when the
 * program that built it has nothing more to do, and a test may leave one to the next.
 *
 * @module
 */

import { must, quote, signal, until } from "./command.ts";

/** Where a service keeps its files, and what it runs with. */
export interface ServiceOptions {
  /** Path without ending of the log and the notes about the process; one per start. */
  readonly base: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** How a service ended. */
export interface Ended {
  /** Exit status; 128 plus the signal's number when a signal ended it. */
  readonly code: number;
  /** From the signal to the end. */
  readonly milliseconds: number;
}

// Two shells: the outer one returns at once, the inner one stays to see how the program ends.
const START = `
setsid sh -c '
  base=$1
  shift
  : >"$base.log"
  "$@" </dev/null >>"$base.log" 2>&1 &
  echo $! >"$base.new" && mv "$base.new" "$base.pid"
  wait $!
  echo $? >"$base.new" && mv "$base.new" "$base.status"
' sh "$@" </dev/null >/dev/null 2>&1 &
`;

/** Stands in every message that quotes a log. */
export const END_OF_LOG = "the end of its log";

/** A running program. It ends with the lab, or with {@link Service.stop}. */
export class Service implements AsyncDisposable {
  readonly command: readonly string[];
  readonly pid: number;
  readonly #base: string;

  private constructor(command: readonly string[], pid: number, base: string) {
    this.command = command;
    this.pid = pid;
    this.#base = base;
  }

  /** Starts a program; it need not be ready for anything when this returns. */
  static async start(command: readonly string[], options: ServiceOptions): Promise<Service> {
    const { base, env = {} } = options;
    await must(["sh", "-c", START, "sh", base, ...command], {
      env: { NO_COLOR: "1", ...env },
    });
    const pid = await until(`${quote(command)} is started`, () => readNumber(`${base}.pid`), {
      every: 2,
    });
    return new Service(command, pid, base);
  }

  /** Where its stdout and stderr go. */
  get log(): string {
    return `${this.#base}.log`;
  }

  /** Exit status; undefined while it runs. */
  get code(): number | undefined {
    return readNumber(`${this.#base}.status`);
  }

  /** The last lines of the log, for an error message. */
  tail(lines = 25): string {
    const all = Deno.readTextFileSync(this.log).trimEnd().split("\n");
    const state = this.code === undefined ? "runs" : `ended with exit status ${this.code}`;
    return [`${quote(this.command)} ${state}; ${END_OF_LOG}:`, ...all.slice(-lines)].join(
      "\n",
    );
  }

  /** Waits for the program to end of itself. */
  async ended(seconds = 20): Promise<number> {
    return await until(`${quote(this.command)} ends`, () => this.code, {
      seconds,
      every: 5,
      explain: () => this.tail(),
    });
  }

  /** Sends a signal and waits for the end; one that has ended already is fine. */
  async stop(name: Deno.Signal = "SIGTERM", seconds = 20): Promise<Ended> {
    const began = performance.now();
    if (this.code === undefined) signal(this.pid, name);
    return { code: await this.ended(seconds), milliseconds: performance.now() - began };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
  }
}

function readNumber(path: string): number | undefined {
  try {
    return Number(Deno.readTextFileSync(path));
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return undefined;
    throw e;
  }
}
