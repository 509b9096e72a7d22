/**
 * iptables by its programs: one `iptables-save` to see a table, one `iptables-restore` to change
 * it, whole or not at all. Both variants of the programs (legacy and nf_tables) do; whichever the
 * system calls `iptables` is used, as by everybody else on the node.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import type { Family } from "../engine/ip.ts";
import { type IptablesRule, IptablesTable } from "../engine/rules/iptables.ts";

/** The programs of each family. */
export const PROGRAMS = { 4: "iptables", 6: "ip6tables" } as const satisfies Record<Family, string>;

/** Where the programs are when `PATH` does not say: that of a runtime's service may be short. */
const USUAL = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** How often a change that rests on what we read is tried again, since others change rules too. */
const TRIES = 10;

interface Ran {
  readonly success: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

const located = new Map<string, string>();

/** The path of a program. @throws {OpError} code 102, naming the package, when there is none */
export function locate(program: string): string {
  const known = located.get(program);
  if (known !== undefined) return known;
  const dirs = [...(Deno.env.get("PATH") ?? "").split(":").filter((dir) => dir !== ""), ...USUAL];
  const path = dirs.map((dir) => `${dir}/${program}`).find(isFile);
  if (path === undefined) {
    throw unusable("run", program, `failed to locate iptables: no program ${program}`, {
      advice: "Install the package iptables, or choose the nftables back end",
    });
  }
  located.set(program, path);
  return path;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** Runs a program in the calling thread's network namespace: it is started before this returns. */
async function run(program: string, args: readonly string[], input?: string): Promise<Ran> {
  const path = locate(program);
  const child = start(path, args, input === undefined ? "null" : "piped");
  const [output] = await Promise.all([
    child.output(),
    input === undefined ? 0 : feed(child, input),
  ]);
  const [stdout = "", stderr = ""] = [output.stdout, output.stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  return { success: output.success, stdout, stderr };
}

function start(
  path: string,
  args: readonly string[],
  stdin: "null" | "piped",
): Deno.ChildProcess {
  const env = { LC_ALL: "C" };
  const piped = "piped";
  try {
    return new Deno.Command(path, { args: [...args], env, stdin, stdout: piped, stderr: piped })
      .spawn();
  } catch (cause) {
    throw unusable("run", path, messageOf(cause), { cause });
  }
}

/** Writes stdin; a program that found a mistake has ended before it read all. */
async function feed(child: Deno.ChildProcess, input: string): Promise<void> {
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** True for an error that says: iptables is missing, or does not work on this kernel. */
export function isUnusable(error: unknown): boolean {
  return error instanceof OpError && error.code === ErrorCode.program;
}

function unusable(
  deed: string,
  object: string,
  kernel: string,
  details: { readonly advice?: string; readonly cause?: unknown } = {},
): OpError {
  return new OpError(deed, object, { code: ErrorCode.program, kernel, ...details });
}

/** The tables that we look into. */
export type TableName = "filter" | "nat";

/** A table as it is. @throws {OpError} for which {@link isUnusable} holds */
export async function readTable(family: Family, name: TableName): Promise<IptablesTable> {
  const program = `${PROGRAMS[family]}-save`;
  const deed = `read table ${name} with`;
  const { success, stdout, stderr } = await run(program, ["-t", name]);
  if (!success) throw unusable(deed, program, stderr.trim());
  // The nf_tables variant leaves a table out that holds what iptables cannot express.
  const foreign = /^# Table `(\w+)' is incompatible.*$/m.exec(stdout);
  if (foreign?.[1] === name) throw unusable(deed, program, foreign[0].slice(2));
  return new IptablesTable(name, stdout);
}

/** {@link readTable} of the table nat. */
export function readNat(family: Family): Promise<IptablesTable> {
  return readTable(family, "nat");
}

/**
 * Changes a table: reads it, and applies what `edit` makes of it in one transaction. What somebody
 * else changed in between makes it fail; then it is read again.
 *
 * @param edit returns input for `iptables-restore --noflush`; empty for nothing to do.
 * @param first the table as it was read before, to read it once less.
 * @throws {OpError} when iptables is not usable, or refuses the input again and again.
 */
export async function editTable(
  family: Family,
  name: TableName,
  edit: (table: IptablesTable) => string | Promise<string>,
  first?: IptablesTable,
): Promise<void> {
  const program = `${PROGRAMS[family]}-restore`;
  let refused: { readonly input: string; readonly words: string } | undefined;
  let table = first;
  for (let tries = 0;; tries++) {
    const input = await edit(table ?? await readTable(family, name));
    if (input === "") return;
    if (refused !== undefined && (input === refused.input || tries >= TRIES)) {
      throw new OpError("apply", `rules with ${program}`, {
        code: ErrorCode.kernel,
        kernel: refused.words,
      });
    }
    const { success, stderr } = await run(program, ["--noflush", "--wait"], input);
    if (success) return;
    refused = { input, words: refusalText(stderr, input) };
    table = undefined;
  }
}

/** {@link editTable} of the table nat. */
export function editNat(
  family: Family,
  edit: (table: IptablesTable) => string | Promise<string>,
  first?: IptablesTable,
): Promise<void> {
  return editTable(family, "nat", edit, first);
}

/** The program's words, with the line that it complains about. */
function refusalText(stderr: string, input: string): string {
  const number = /line:? (\d+)/.exec(stderr)?.[1];
  const line = number === undefined ? undefined : input.split("\n")[Number(number) - 1];
  const [words = ""] = stderr.trim().split(/\n(?:Error occurred|Try `)/);
  return line === undefined ? words : `${words}: ${line}`;
}

/** Asks iptables itself whether the table nat has a rule: for words that may print differently. */
export async function hasRule(family: Family, rule: IptablesRule): Promise<boolean> {
  const args = ["--wait", "-t", "nat", "-C", rule.chain, ...rule.words];
  return (await run(PROGRAMS[family], args)).success;
}

/**
 * True when legacy tables of this namespace hold such a table, which then only iptables can show.
 * The file exists once the kernel's module is loaded, and names the tables in use.
 */
export function usesLegacyTable(family: Family, name: TableName): boolean {
  const kind = family === 4 ? "ip" : "ip6";
  try {
    const names = Deno.readTextFileSync(`/proc/thread-self/net/${kind}_tables_names`);
    return names.split("\n").includes(name);
  } catch {
    return false;
  }
}

/** {@link usesLegacyTable} for the table nat. */
export function usesLegacyNat(family: Family): boolean {
  return usesLegacyTable(family, "nat");
}
