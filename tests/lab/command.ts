/**
 * Runs programs to their end, and waits for states. Nothing here knows about networks.
 *
 * @module
 */

/** What a program left when it ended. */
export interface Output {
  /** Exit status; 128 plus the signal's number when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a program is run. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Nothing of our own environment is handed on. */
  readonly clearEnv?: boolean;
  /** Absent: stdin is empty. */
  readonly stdin?: string;
  /** A program that runs longer is killed, and the call fails. Default 60. */
  readonly seconds?: number;
}

/** A program failed that must not; the message has all that it printed. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly command: readonly string[];
  readonly output: Output;

  constructor(command: readonly string[], output: Output) {
    const { code, stdout, stderr } = output;
    const printed = [stderr.trimEnd(), stdout.trimEnd()].filter((text) => text !== "");
    super([`Cannot run ${quote(command)}: exit status ${code}`, ...printed].join("\n"));
    this.command = command;
    this.output = output;
  }
}

/** A command as one would type it in a shell. */
export function quote(command: readonly string[]): string {
  return command
    .map((word) => /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)
    .join(" ");
}

/**
 * Runs a program to its end; any exit status is a result.
 *
 * @throws Error when there is no such program, or it does not end in time
 */
export async function run(
  command: readonly [string, ...string[]],
  options: RunOptions = {},
): Promise<Output> {
  const { env = {}, clearEnv = false, stdin, seconds = 60 } = options;
  const [program, ...args] = command;
  const child = new Deno.Command(program, {
    args,
    env,
    clearEnv,
    stdin: stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    signal(child.pid, "SIGKILL");
  }, seconds * 1000);
  try {
    const [{ code, stdout, stderr }] = await Promise.all([
      child.output(),
      stdin === undefined ? undefined : feed(child, stdin),
    ]);
    const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    const output = { code, stdout: decode(stdout), stderr: decode(stderr) };
    if (!late) return output;
    const printed = `${output.stderr}${output.stdout}`.trimEnd();
    throw new Error(`Cannot run ${quote(command)}: not done after ${seconds} s\n${printed}`);
  } finally {
    clearTimeout(timer);
  }
}

/** Writes stdin. A program need not read it all. */
async function feed(child: Deno.ChildProcess, text: string): Promise<void> {
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (e) {
    if (!(e instanceof Deno.errors.BrokenPipe)) throw e;
  }
}

/**
 * Runs a program that must succeed.
 *
 * @returns its stdout
 * @throws {CommandError} when it fails
 */
export async function must(
  command: readonly [string, ...string[]],
  options: RunOptions = {},
): Promise<string> {
  const output = await run(command, options);
  if (output.code !== 0) throw new CommandError(command, output);
  return output.stdout;
}

/** Sends a signal; a process that has ended already is fine. */
export function signal(pid: number, name: Deno.Signal): void {
  try {
    Deno.kill(pid, name);
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
  }
}

/** What is waited for cannot come any more; ends {@link until} at once. */
export class Hopeless extends Error {
  override readonly name = "Hopeless";
}

/** How long, and how, a state is waited for. */
export interface UntilOptions {
  /** Default 20: far more than a machine under load needs. */
  readonly seconds?: number;
  /** Milliseconds between two looks; default 20. */
  readonly every?: number;
  /** What to add to the error: whatever explains why it did not happen. */
  readonly explain?: () => string;
}

/**
 * Waits for a state: looks again until the probe gives something else than undefined or false. An error of the
 * probe means "not yet", but for {@link Hopeless}.
 *
 * @param what the state, for the error: "the daemon is ready"
 * @throws Error when it does not come; the last error of the probe is its cause
 */
export async function until<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  { seconds = 20, every = 20, explain }: UntilOptions = {},
): Promise<T> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    let cause: unknown;
    try {
      const got = await probe();
      if (got !== undefined && got !== false) return got;
    } catch (e) {
      cause = e;
    }
    if (performance.now() > end || cause instanceof Hopeless) {
      const why = [cause instanceof Error ? cause.message : "", explain?.() ?? ""];
      const waited = cause instanceof Hopeless ? "Will not happen" : `Not so after ${seconds} s`;
      const text = [`${waited}: ${what}`, ...why.filter((w) => w !== "")];
      throw new Error(text.join("\n"), { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}
