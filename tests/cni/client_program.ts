/**
 * The plugins' client, built to look for its daemon in a folder of the test, with a stand-in for
 * the full program beside it that tells how it was started.
 *
 * @module
 */

/** What a run of the client gave. */
export interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds. */
  readonly took: number;
}

/** Tells arguments, environment and stdin: `argv0|TWILL_RESUME is set|length of stdin|its start`. */
const STAND_IN = `#!/bin/sh
input=$(cat)
printf 'fallback|%s|%s|%s|%s' "$CLIENT_NAME" "\${TWILL_RESUME:+resume}" "\${#input}" \\
  "$(printf %s "$input" | head -c 20)"
echo from the stand-in >&2
exit 7
`;

/** How the client is built and started for a machine. */
const MACHINES = {
  x86_64: { compiler: "gcc", start: (file: string): string[] => [file] },
  aarch64: {
    compiler: "aarch64-linux-gnu-gcc",
    start: (file: string): string[] => ["qemu-aarch64-static", "-0", file, file],
  },
} as const;

/** A machine that the client is built for. */
export type Machine = keyof typeof MACHINES;

let machine: Machine = "x86_64";

/** All clients of this test file are for another machine than this one. */
export function forMachine(name: Machine): void {
  machine = name;
}

let built: string | undefined;

/** Builds the client once; returns the folder of that, in which only `run` may be used. */
function build(): string {
  if (built !== undefined) return built;
  const base = Deno.makeTempDirSync({ prefix: "twill-client-" });
  addEventListener("unload", () => Deno.removeSync(base, { recursive: true }));
  Deno.writeTextFileSync(`${base}/twill`, STAND_IN, { mode: 0o755 });
  const { success } = new Deno.Command("tools/build_client", {
    args: [
      `${base}/client`,
      `-DSOCKET_PATH="${base}/run/cni.sock"`,
      '-DBUILD_ID="test"',
      "-DACCEPT_SECONDS=1",
      "-DANSWER_SECONDS=1",
    ],
    env: { CC: MACHINES[machine].compiler },
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error("the client cannot be built");
  return built = base;
}

/** See the module. One at a time; gone when disposed. */
export class ClientProgram implements Disposable {
  readonly dir: string = `${build()}/run`;
  /** Where it looks for the daemon. */
  readonly socket = `${this.dir}/cni.sock`;

  constructor() {
    Deno.mkdirSync(this.dir);
    // Links: a file just written is "busy" as long as a process that another test starts at this very
    // moment has our descriptor of it.
    Deno.linkSync(`${build()}/client`, `${this.dir}/flannel`);
    Deno.linkSync(`${build()}/twill`, `${this.dir}/twill`);
  }

  /** Runs it. @param stdin absent: stdin is empty */
  async run(
    stdin: string | Uint8Array<ArrayBuffer> = "",
    env: Readonly<Record<string, string>> = {},
  ): Promise<Run> {
    const began = performance.now();
    const [program = "", ...args] = MACHINES[machine].start(`${this.dir}/flannel`);
    const child = new Deno.Command(program, {
      args,
      clearEnv: true,
      env: { PATH: "/usr/bin:/bin", CNI_COMMAND: "ADD", CLIENT_NAME: "flannel", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const feed = async (): Promise<void> => {
      const writer = child.stdin.getWriter();
      try {
        await writer.write(typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin);
        await writer.close();
      } catch {
        // It did not read all of it: some commands do not.
      }
    };
    const [{ code, stdout, stderr }] = await Promise.all([child.output(), feed()]);
    const text = new TextDecoder();
    const took = performance.now() - began;
    return { status: code, stdout: text.decode(stdout), stderr: text.decode(stderr), took };
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}
