/**
 * The steps of `tools/test`: static checks, then every kind of test, each in its own process.
 *
 * All steps run, also after one that failed. Results come from Deno's JUnit reports, and a process
 * that ends badly without naming a failed test counts as one failed test itself: a crash cannot
 * look like success.
 *
 * @module
 */

import { sum, type Tally, tally } from "./junit.ts";

/** One process of the gate. */
export interface Step {
  readonly name: string;
  /** Program and arguments. */
  readonly command: readonly string[];
  /** Where the JUnit report will be; a step without one is a single test. */
  readonly report?: string;
}

/** A step that is left out, and why. */
export interface Skipped {
  readonly name: string;
  readonly why: string;
  /** Whether tests exist that do not run: never in CI. */
  readonly hole: boolean;
}

/** What the gate is asked to do. */
export interface GateOptions {
  /** Only test files whose path contains one of these; empty for all. */
  readonly filters: readonly string[];
  readonly root: boolean;
  /** Whether the programs of the Kubernetes lab are built. */
  readonly k8s: boolean;
  /** Folder for the reports. */
  readonly reports: string;
}

/** No step takes longer than this, in seconds; a hanging test must end up as a failed one. */
const LIMIT = Deno.env.get("TWILL_FULL") === "1" ? 10_800 : 900;

const SOURCES = ["engine", "ffi", "cni", "daemon", "inspect", "install"];

/** Which kind of test a file is, by its folder. */
export function kindOf(path: string): "unit" | "kernel" | "lab" | "k8s" {
  if (path.startsWith("tests/kernel/")) return "kernel";
  if (path.startsWith("tests/lab/k8s/")) return "k8s";
  if (path.startsWith("tests/lab/")) return "lab";
  return "unit";
}

/**
 * Pure: the steps for these files.
 *
 * @param tests paths of all test files, relative to the root
 * @param docs files that may hold documentation examples, relative to the root
 */
export function plan(
  tests: readonly string[],
  docs: readonly string[],
  options: GateOptions,
): { readonly steps: readonly Step[]; readonly skipped: readonly Skipped[] } {
  const steps: Step[] = [];
  const skipped: Skipped[] = [];
  const all = options.filters.length === 0;
  if (all) {
    steps.push(
      { name: "fmt", command: ["deno", "fmt", "--check"] },
      { name: "lint", command: ["deno", "lint", "--quiet"] },
      { name: "check", command: ["deno", "check", "--quiet", "--frozen"] },
    );
  }
  const wanted = (path: string): boolean =>
    all || options.filters.some((filter) => path.includes(filter));
  const add = (name: string, before: string[], flags: string[], files: readonly string[]): void => {
    if (files.length === 0) {
      // With a filter, an empty kind is what was asked for; without one it is worth a line.
      if (all) skipped.push({ name, why: "no such tests yet", hole: false });
      return;
    }
    const report = `${options.reports}/${name}.xml`;
    // The check step has seen the types of everything already, but for documentation examples.
    const check = all && name !== "doc" ? ["--no-check"] : [];
    const command = ["deno", "test", "--quiet", "-A", "--frozen", "--reporter=dot", ...check];
    steps.push({
      name,
      report,
      command: [...before, ...command, `--junit-path=${report}`, ...flags, ...files],
    });
  };
  const of = (kind: string): string[] =>
    tests.filter((path) => kindOf(path) === kind && wanted(path));
  add("unit", [], ["--parallel"], of("unit"));
  const config = [`--config=${options.reports}/deno.json`, "--lock=deno.lock"];
  add("doc", [], ["--doc", "--permit-no-files", ...config], docs.filter(wanted));
  for (const kind of ["kernel", "lab", "k8s"] as const) {
    const files = of(kind);
    if (files.length > 0 && !options.root) {
      skipped.push({ name: kind, why: "needs root; sudo tools/test runs it", hole: true });
    } else if (files.length > 0 && kind === "k8s" && !options.k8s) {
      const why = "Kubernetes is not built; sudo tools/lab k8s --build does it once, in 10 minutes";
      skipped.push({ name: kind, why, hole: true });
    } else {
      add(kind, [kind === "k8s" ? "tests/lab/k8s/alone" : "tools/isolate"], [], files);
    }
  }
  return { steps, skipped };
}

/** Files below `folder` that `keep` accepts, sorted; hidden folders and dist are left out. */
function walk(folder: string, keep: (path: string) => boolean): string[] {
  const found: string[] = [];
  let entries: Deno.DirEntry[];
  try {
    entries = [...Deno.readDirSync(folder)];
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return [];
    throw e;
  }
  for (const entry of entries) {
    const path = folder === "." ? entry.name : `${folder}/${entry.name}`;
    if (entry.name.startsWith(".") || entry.name === "node_modules" || path === "dist") continue;
    if (entry.isDirectory) found.push(...walk(path, keep));
    else if (keep(path)) found.push(path);
  }
  return found.sort();
}

/** Whether a file has an example that `deno test --doc` would run: without one it says nothing. */
function hasExample(path: string): boolean {
  return /```(?:ts|typescript|js)\b(?! ignore)/.test(Deno.readTextFileSync(path));
}

/** @param notes file for what tests want shown although they pass (see `tests/lab/notes.ts`). */
async function run(step: Step, notes: string): Promise<Tally> {
  const began = performance.now();
  // stdin is closed: a test that asks a question would otherwise wait for ever.
  const { code, stdout, stderr } = await new Deno.Command("timeout", {
    args: ["--kill-after=10", String(LIMIT), ...step.command],
    stdin: "null",
    env: { NO_COLOR: "1", RUST_BACKTRACE: "0", TWILL_NOTES: notes },
  }).output();
  let counts: Tally = code === 0 ? { passed: 1, failed: [], ignored: [] } : none;
  if (step.report !== undefined) counts = readReport(step.report);
  if (code !== 0 && counts.failed.length === 0) {
    const late = performance.now() - began >= LIMIT * 1000;
    const why = late ? `stopped after ${LIMIT} s` : `exit code ${code}`;
    counts = {
      ...counts,
      failed: [step.report === undefined ? step.name : `${step.name}: ${why}`],
    };
  }
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const ignored = counts.ignored.length > 0 ? `, ${counts.ignored.length} ignored` : "";
  print(
    `${counts.failed.length === 0 ? "ok  " : "FAIL"} ${step.name.padEnd(7)} ` +
      `${counts.passed} passed, ${counts.failed.length} failed${ignored} (${seconds} s)`,
  );
  for (const line of takeLines(notes)) print(`     ${line}`);
  if (code !== 0) {
    print(withoutDots(stdout) + withoutDots(stderr));
    print(`     run again: ${again(step, counts)}`);
  }
  return counts;
}

/** The lines of a file, which is then gone; none when there is no such file. */
function takeLines(path: string): string[] {
  try {
    const text = Deno.readTextFileSync(path);
    Deno.removeSync(path);
    return text.trimEnd().split("\n");
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return [];
    throw e;
  }
}

const none: Tally = { passed: 0, failed: [], ignored: [] };

function readReport(path: string): Tally {
  try {
    return tally(Deno.readTextFileSync(path));
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return none;
    throw e;
  }
}

/** What a step printed, without the lines of one mark per test: the report has those. */
function withoutDots(output: Uint8Array): string {
  return new TextDecoder().decode(output).replace(/^[.,!]\n/gm, "");
}

/** How a person repeats a step that failed: the files that did, where they are known. */
function again(step: Step, { failed }: Tally): string {
  if (step.report === undefined) return step.command.join(" ");
  // "tests/a_test.ts: name"; of an example "engine/a.ts$12-20.ts: name".
  const files = failed.map((name) => /^[\w./]+\.ts/.exec(name)?.[0] ?? step.name);
  return ["tools/test", ...new Set(files)].join(" ");
}

/**
 * Writes the configuration for documentation examples: ours, but for unused names. Deno imports
 * all exports of a file into each of its examples, and few examples use all of them.
 */
function writeDocConfig(folder: string): void {
  const config = JSON.parse(Deno.readTextFileSync("deno.json"));
  delete config.compilerOptions.noUnusedLocals;
  Deno.writeTextFileSync(`${folder}/deno.json`, JSON.stringify(config));
}

function print(line: string): void {
  // deno-lint-ignore no-console -- printing is what this program is for
  console.log(line);
}

async function main(filters: readonly string[]): Promise<void> {
  const root = Deno.uid() === 0;
  const reports = Deno.makeTempDirSync({ prefix: "twill-test-" });
  try {
    const tests = walk("tests", (path) => path.endsWith("_test.ts"));
    const docs = SOURCES.flatMap((folder) => walk(folder, (path) => path.endsWith(".ts")))
      .concat(walk(".", (path) => path === "README.md" || path === "version.ts"))
      .filter(hasExample);
    const built = new Deno.Command("tests/lab/k8s/build", { args: ["--check"] }).outputSync();
    const k8s = built.success;
    const { steps, skipped } = plan(tests, docs, { filters, root, k8s, reports });
    writeDocConfig(reports);
    const results: Tally[] = [];
    if (Deno.env.get("TWILL_BUILD") === "failed") results.push({ ...none, failed: ["build"] });
    for (const step of steps) results.push(await run(step, `${reports}/notes`));
    if (steps.length + skipped.length === 0) {
      print(`no test file has "${filters.join('" or "')}" in its path`);
    }
    for (const { name, why } of skipped) print(`--   ${name.padEnd(7)} not run: ${why}`);

    let { passed, failed, ignored } = sum(results);
    const ci = Deno.env.get("CI") === "true";
    if (ci) failed = [...failed, ...skipped.filter(({ hole }) => hole).map(({ name }) => name)];
    // As root, and where CI says so, everything can run: a test that does not is a hole.
    if (ignored.length > 0 && (root || ci)) {
      failed = [...failed, ...ignored.map((name) => `${name} (ignored, but must run here)`)];
      ignored = [];
    }
    for (const name of failed) print(`failed: ${name}`);
    for (const name of ignored) print(`ignored: ${name}`);
    print(`${passed} passed, ${failed.length} failed`);
    Deno.exitCode = failed.length > 0 || passed === 0 ? 1 : 0;
  } finally {
    Deno.removeSync(reports, { recursive: true });
  }
}

if (import.meta.main) await main(Deno.args);
