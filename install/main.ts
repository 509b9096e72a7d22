/**
 * `twill install`, `twill uninstall` and `twill manifest`, for real.
 *
 * @module
 */

import type { InstallContext, NodeKernel, Process, Ran } from "./context.ts";

/** Runs what the arguments of this process ask for, and sets its exit code. */
export async function main(): Promise<void> {
  const split = Deno.args.indexOf("--");
  const [args, behind] = split < 0
    ? [Deno.args]
    : [Deno.args.slice(0, split), Deno.args.slice(split + 1)];
  const { runInstall } = await import("./app.ts");
  Deno.exitCode = await runInstall(args, await realContext(behind));
}

async function realContext(behind: readonly string[] | undefined): Promise<InstallContext> {
  const [{ versionLine }, { clientBytes }] = await Promise.all([
    import("../version.ts"),
    import("../cni/ours.ts"),
  ]);
  const client = clientBytes();
  return {
    process: {
      stdout: { write: (text) => write(Deno.stdout, text) },
      stderr: { write: (text) => write(Deno.stderr, text) },
    },
    uid: Deno.uid() ?? -1,
    ...(Deno.build.standalone ? { program: Deno.execPath() } : {}),
    ...(client === undefined ? {} : { client }),
    version: versionLine(),
    ...(behind === undefined ? {} : { behind }),
    ...(Deno.stdin.isTerminal() ? {} : { stdin: () => new Response(Deno.stdin.readable).text() }),
    open,
    processes,
    run,
    feed,
  };
}

async function open(): Promise<NodeKernel> {
  const [{ Kernel }, { Netfilter }, { nft }] = await Promise.all([
    import("../ffi/kernel.ts"),
    import("../ffi/netfilter.ts"),
    import("../ffi/nft.ts"),
  ]);
  const kernel = Kernel.open();
  return {
    read: (scope) => kernel.read(scope),
    apply: (changes) => kernel.apply(changes),
    nft: (commands, handles) => nft(commands, undefined, handles ? "handles" : undefined),
    clearMarks: (mask) => {
      using netfilter = new Netfilter();
      netfilter.clearMarks(mask);
    },
    [Symbol.dispose]: () => kernel[Symbol.dispose](),
  };
}

/** Processes of this network namespace, but for this one. */
function processes(): Process[] {
  const own = Deno.readLinkSync("/proc/self/ns/net");
  return [...Deno.readDirSync("/proc")].flatMap(({ name }) => {
    if (!/^\d+$/.test(name) || Number(name) === Deno.pid) return [];
    try {
      const dir = `/proc/${name}`;
      if (Deno.readLinkSync(`${dir}/ns/net`) !== own) return [];
      const words = Deno.readTextFileSync(`${dir}/cmdline`).split("\0").slice(0, -1);
      return [{ pid: Number(name), words, cgroup: Deno.readTextFileSync(`${dir}/cgroup`) }];
    } catch {
      // It has ended meanwhile, or is not for us to see.
      return [];
    }
  });
}

/** What both ways of running a program agree on. */
const OPTIONS = { stdout: "piped", stderr: "piped", env: { LC_ALL: "C" } } as const;

function run(program: string, args: readonly string[]): Ran | undefined {
  try {
    const command = new Deno.Command(program, { ...OPTIONS, args: [...args], stdin: "null" });
    return toRan(command.outputSync());
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return undefined;
    throw e;
  }
}

async function feed(
  program: string,
  args: readonly string[],
  stdin: string,
): Promise<Ran | undefined> {
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, { ...OPTIONS, args: [...args], stdin: "piped" }).spawn();
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return undefined;
    throw e;
  }
  const [output] = await Promise.all([child.output(), pour(child.stdin, stdin)]);
  return toRan(output);
}

/** Writes stdin. A program that found a mistake has ended before it read all. */
async function pour(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (e) {
    if (!(e instanceof Deno.errors.BrokenPipe)) throw e;
  }
}

function toRan({ code, stdout, stderr }: Deno.CommandOutput): Ran {
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
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
