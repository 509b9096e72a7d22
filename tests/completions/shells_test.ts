/** The scripts, in the shells that they are for. */

import assert from "node:assert/strict";

const TWILL = new URL("../../dist/twill", import.meta.url).pathname;

function run(program: string, ...args: readonly string[]): string {
  // fish keeps books in its home.
  const home = Deno.makeTempDirSync({ prefix: "twill-shell-" });
  const env = {
    PATH: `${TWILL.replace(/\/twill$/, "")}:${Deno.env.get("PATH")}`,
    HOME: home,
  };
  const { stdout, stderr } = new Deno.Command(program, { args: [...args], env, clearEnv: true })
    .outputSync();
  Deno.removeSync(home, { recursive: true });
  const [out = "", err = ""] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.equal(err, "");
  return out;
}

/** A line up to the cursor; what each shell must propose. */
const LINES: Readonly<Record<string, readonly string[]>> = {
  "twill inspect sub": ["subnet"],
  "twill inspect peers --no-": ["--no-headers"],
  "twill inspect peers -o y": ["yaml"],
  "twill completions ": ["bash", "fish", "zsh"],
};

Deno.test("completions bash: what TAB proposes", () => {
  for (const [line, expected] of Object.entries(LINES)) {
    const words = line.split(" ").map((word) => `'${word}'`);
    const script = `source <(twill completions bash)
      COMP_WORDS=(${words.join(" ")}) COMP_CWORD=${words.length - 1}
      _twill && printf '%s\\n' "\${COMPREPLY[@]}"
      complete -p twill`;
    const [last, ...found] = run("bash", "-c", script).trim().split("\n").reverse();
    assert.deepEqual(found.sort(), expected, line);
    assert.match(last ?? "", /-F _twill twill$/);
  }
});

Deno.test("completions zsh: what TAB proposes", () => {
  for (const [line, expected] of Object.entries(LINES)) {
    const words = line.split(" ").map((word) => `'${word}'`);
    // The completion system itself needs a terminal: what it would be told is looked at.
    const script = `compdef() { : }
      _describe() { print -l -- \${(P)4} }
      _files() { print files }
      source <(twill completions zsh)
      words=(${words.join(" ")}) CURRENT=${words.length}
      _twill`;
    const found = run("zsh", "-f", "-c", script).trim().split("\n");
    assert.deepEqual(found.map((one) => one.split(":")[0]).sort(), expected, line);
  }
});

Deno.test("completions fish: what TAB proposes", () => {
  for (const [line, expected] of Object.entries(LINES)) {
    const script = `twill completions fish | source; complete -C '${line}'`;
    const found = run("fish", "--no-config", "-c", script).trim().split("\n");
    assert.deepEqual(found.map((one) => one.split("\t")[0]).sort(), expected, line);
  }
});

Deno.test("completions: another shell is refused", () => {
  const { code, stderr } = new Deno.Command(TWILL, { args: ["completions", "csh"] }).outputSync();
  assert.equal(code, 2);
  assert.match(new TextDecoder().decode(stderr), /no shell "csh"; want bash, zsh, fish\n$/);
});
