/**
 * Whole tables of iptables, synchronously: what the applier of plans needs. It runs in the calling
 * thread's network namespace; nothing is spawned but when a plan says so.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import type { Family } from "../engine/ip.ts";
import { locate, PROGRAMS } from "./iptables.ts";
import { MemoryFile } from "./memory_file.ts";

/** What `iptables-save -t TABLE` prints. @throws {OpError} when iptables is missing or fails */
export function saveTable(family: Family, table: string): string {
  return run(`${PROGRAMS[family]}-save`, ["-t", table]);
}

/** What the legacy variant of `iptables-save` prints of all tables. @throws {OpError} */
export function saveLegacy(family: Family): string {
  return run(`${PROGRAMS[family]}-legacy-save`, []);
}

/** Applies input for `iptables-restore --noflush`, whole or not at all. @throws {OpError} */
export function restoreTable(family: Family, input: string): void {
  using file = new MemoryFile("twill-iptables", new TextEncoder().encode(input));
  // Not `--wait` last: it would take the path for a number of seconds.
  run(`${PROGRAMS[family]}-restore`, ["--wait", "--noflush", file.path]);
}

/** True when this node has the programs of iptables. */
export function hasIptables(family: Family): boolean {
  try {
    locate(`${PROGRAMS[family]}-save`);
    return true;
  } catch (e) {
    if (e instanceof OpError) return false;
    throw e;
  }
}

function run(program: string, args: readonly string[]): string {
  const path = locate(program);
  let output: Deno.CommandOutput;
  try {
    output = new Deno.Command(path, { args: [...args], env: { LC_ALL: "C" } }).outputSync();
  } catch (cause) {
    throw new OpError("run", path, { code: ErrorCode.program, kernel: messageOf(cause), cause });
  }
  const [stdout, stderr] = [output.stdout, output.stderr].map((b) => new TextDecoder().decode(b));
  if (output.success) return stdout ?? "";
  throw new OpError("apply", `rules with ${program}`, {
    code: ErrorCode.kernel,
    kernel: (stderr ?? "").trim(),
  });
}
