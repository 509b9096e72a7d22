/**
 * For DEL, and for the way back after an error: what fails there is logged, and the rest is done
 * all the same.
 *
 * @module
 */

import { messageOf } from "../engine/errors.ts";
import type { Request } from "./plugin.ts";

function logged(request: Request, error: unknown): void {
  request.log(`twill: ${messageOf(error)}; ${request.command} goes on without it`);
}

/** Does what may fail. */
export function quietly(request: Request, work: () => void): void {
  try {
    work();
  } catch (error) {
    logged(request, error);
  }
}

/** {@link quietly} for work that is waited for. */
export async function quietlyAsync(request: Request, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    logged(request, error);
  }
}
