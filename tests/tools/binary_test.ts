import assert from "node:assert/strict";

const TWILL = new URL("../../dist/twill", import.meta.url).pathname;

interface Call {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Every system call that makes, renames or removes a file, under strace. */
function traced({ args = [], env = {} }: Call): { stdout: string; calls: string[] } {
  const log = Deno.makeTempFileSync();
  try {
    // No HOME, no PATH: the least that a container runtime gives a plugin. Another folder than ours.
    const { stdout } = new Deno.Command("strace", {
      args: ["-f", "-qq", "-e", "trace=%file,ftruncate", "-o", log, TWILL, ...args],
      clearEnv: true,
      env,
      cwd: "/",
      stdin: "null",
    }).outputSync();
    const makes =
      /O_CREAT|O_TMPFILE|\b(?:creat|mkdir\w*|mknod\w*|symlink\w*|link|linkat|rename\w*|unlink\w*|rmdir)\(/;
    const calls = Deno.readTextFileSync(log).split("\n").filter((line) => makes.test(line));
    return { stdout: new TextDecoder().decode(stdout), calls };
  } finally {
    Deno.removeSync(log);
  }
}

Deno.test("binary: --version is one line with version, commit and Deno version", () => {
  const { stdout } = traced({ args: ["--version"] });
  assert.match(
    stdout,
    /^twill \d+\.\d+\.\d+ \(commit (?:[0-9a-f]{7,}(?:-dirty)?|unknown), deno \d+\.\d+\.\d+\)\n$/,
  );
});

for (
  const [name, call] of Object.entries<Call>({
    "--version": { args: ["--version"] },
    "CNI_COMMAND=VERSION": { env: { CNI_COMMAND: "VERSION" } },
  })
) {
  Deno.test(`binary: ${name} makes no file anywhere, not even in /tmp`, () => {
    assert.deepEqual(traced(call).calls, []);
  });
}
