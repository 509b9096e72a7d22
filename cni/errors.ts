/**
 * Errors on their way to a runtime.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../engine/errors.ts";
import { type JsonObject, jsonObject } from "../engine/json.ts";
import type { Version } from "./versions.ts";

/**
 * An error whose words are fixed: what a delegate answered, which is passed on as it is, and the
 * protocol's own errors, whose details a runtime may look at.
 */
export class CniError extends OpError {
  /** The `details` of the error object. */
  readonly details: string | undefined;

  /**
   * @param code 1 to 99 as in the CNI specification, 100 and more for plugins.
   * @param message the `msg` of the error object, verbatim.
   */
  constructor(code: number, message: string, details?: string, cause?: unknown) {
    super("serve", "the request", { code, kernel: message, cause });
    this.message = message;
    this.details = details;
  }

  /** The same error with words in front of its message. */
  prefixed(words: string): CniError {
    return new CniError(this.code, `${words}: ${this.message}`, this.details, this);
  }
}

/**
 * What was thrown, as an error that has a code. Text that could not be read inside a configuration
 * and everything unforeseen count as an ordinary failure of the plugin.
 */
export function toCniError(thrown: unknown): CniError {
  // What went wrong first counts; that taking it back failed too is told beside it.
  if (thrown instanceof SuppressedError) {
    const first = toCniError(thrown.suppressed);
    const then = `cleaning up failed too: ${messageOf(thrown.error)}`;
    const details = first.details === undefined ? then : `${first.details}; ${then}`;
    return new CniError(first.code, first.message, details, thrown);
  }
  if (thrown instanceof CniError) return thrown;
  if (thrown instanceof OpError) {
    return new CniError(thrown.code, thrown.message, thrown.advice, thrown);
  }
  return new CniError(
    ErrorCode.plugin,
    messageOf(thrown) || "the plugin failed without a word",
    undefined,
    thrown,
  );
}

/** The error object that goes to stdout (CNI specification, "Error"). */
export function errorObject(error: CniError, version: Version | undefined): JsonObject {
  return jsonObject({
    cniVersion: version,
    code: error.code,
    msg: error.message,
    details: error.details,
  });
}

/**
 * Runs a reader of configuration; what it cannot read becomes an error about the configuration.
 *
 * @param words what operators look for in the message: `failed to load netconf`.
 * @throws {OpError} code 7.
 */
export function readConfig<T>(words: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new OpError("use", "the network configuration", {
      code: ErrorCode.badConfig,
      kernel: `${words}: ${cause.message}`,
      cause,
    });
  }
}
