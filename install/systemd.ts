/**
 * The few things that are asked of systemd.
 *
 * @module
 */

import { ErrorCode, OpError } from "../engine/errors.ts";
import type { InstallContext } from "./context.ts";
import { readNames } from "./read.ts";

/** Whether this node was booted with systemd, as sd_booted(3) tells it. */
export function systemdRuns(root: string): boolean {
  return root === "/" && readNames(root, "/run/systemd/system") !== undefined;
}

/** Runs `systemctl`. @throws {OpError} with its own words */
export function systemctl({ run }: InstallContext, ...args: readonly string[]): void {
  const ran = run("systemctl", args);
  if (ran?.code === 0) return;
  throw new OpError("run", ["systemctl", ...args].join(" "), {
    code: ErrorCode.program,
    kernel: ran === undefined ? "there is no such program" : (ran.stderr || ran.stdout).trim(),
    advice: "Look at: systemctl status twill.service; journalctl -u twill.service",
  });
}
