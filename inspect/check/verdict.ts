/**
 * What one judge of `check` says: the things it looked at, and what is wrong with them.
 *
 * @module
 */

import type { Finding } from "../finding.ts";

/** One thing that was looked at. */
export interface CheckRow {
  /** A fixed word for programs: `ip-forward`. Never renamed. */
  readonly name: string;
  /** `unknown`: it could not be looked at; `detail` says why. */
  readonly status: "ok" | "wrong" | "unknown";
  /** What was found, in words. */
  readonly detail: string;
}

/** What a judge found. */
export interface Verdict {
  readonly rows: readonly CheckRow[];
  readonly findings: readonly Finding[];
}

/** Looked at, and fine. */
export function passed(name: string, detail: string): Verdict {
  return { rows: [{ name, status: "ok", detail }], findings: [] };
}

/** Could not be looked at. */
export function unknown(name: string, why: string): Verdict {
  return { rows: [{ name, status: "unknown", detail: why }], findings: [] };
}

/** Fine without findings, and wrong with them: then the row says the first of them. */
export function judged(name: string, detail: string, findings: readonly Finding[]): Verdict {
  const [first, ...more] = findings;
  if (first === undefined) return passed(name, detail);
  const others = more.length === 0 ? "" : `, and ${more.length} more`;
  const row = { name, status: "wrong", detail: `${first.short}${others}` } as const;
  return { rows: [row], findings };
}

/** Several as one. */
export function together(...verdicts: readonly Verdict[]): Verdict {
  return {
    rows: verdicts.flatMap(({ rows }) => rows),
    findings: verdicts.flatMap(({ findings }) => findings),
  };
}
