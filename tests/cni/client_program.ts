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

/** See the module. Gone when disposed. */
export class ClientProgram implements Disposable {
  readonly dir: string = Deno.makeTempDirSync({ prefix: "twill-client-" });
  /** Where it looks for the daemon. */
  readonly socket = `${this.dir}/cni.sock`;

  constructor() {
    const { success } = new Deno.Command("tools/build_client", {
      args: [
        `${this.dir}/flannel`,
        `-DSOCKET_PATH="${this.socket}"`,
        '-DBUILD_ID="test"',
        "-DACCEPT_SECONDS=1",
        "-DANSWER_SECONDS=1",
      ],
      stderr: "inherit",
    }).outputSync();
    if (!success) throw new Error("the client cannot be built");
    Deno.writeTextFileSync(`${this.dir}/twill`, STAND_IN, { mode: 0o755 });
  }

  /** Runs it. @param stdin absent: stdin is empty */
  async run(
    stdin: string | Uint8Array<ArrayBuffer> = "",
    env: Readonly<Record<string, string>> = {},
  ): Promise<Run> {
    const began = performance.now();
    const child = new Deno.Command(`${this.dir}/flannel`, {
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
