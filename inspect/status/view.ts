/**
 * All that `status` knows of a node before it judges.
 *
 * @module
 */

import type { Known } from "../check/view.ts";
import type { Fact } from "../../engine/fact.ts";
import type { Finding } from "../finding.ts";
import type { Knowledge } from "../knowledge.ts";
import type { Overlay } from "../overlay.ts";

/** See the module. */
export interface StatusView {
  readonly overlay: Overlay;
  readonly known: Knowledge;
  /** Rule tables and chains of ours and of flannel. */
  readonly rules: Known<readonly Fact[]>;
  /** `Date.now()`. */
  readonly now: number;
}

/** One line of the screen. */
export interface StatusRow {
  /** A fixed word for programs: `store`. Never renamed. */
  readonly name: string;
  /** `info`: nothing that could be wrong. */
  readonly status: "ok" | "wrong" | "unknown" | "info";
  /** What it is, in words. */
  readonly detail: string;
  readonly findings: readonly Finding[];
}

/** A line that is wrong when there are findings. */
export function row(name: string, detail: string, findings: readonly Finding[] = []): StatusRow {
  return { name, status: findings.length > 0 ? "wrong" : "ok", detail, findings };
}

/** A line that only tells. */
export function info(name: string, detail: string): StatusRow {
  return { name, status: "info", detail, findings: [] };
}

/** A line about what could not be looked at. */
export function unknown(name: string, detail: string): StatusRow {
  return { name, status: "unknown", detail, findings: [] };
}
