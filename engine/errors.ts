/**
 * The one error class of the product: what was tried, on what, what the kernel said, what to do.
 *
 * @module
 */

/** Error codes that leave the program. 1 to 99 belong to the CNI specification, 999 to its users. */
export const ErrorCode = {
  /** The configuration's `cniVersion` is not one the plugin speaks. */
  incompatibleVersion: 1,
  /** A field of the configuration is not supported. */
  unsupportedField: 2,
  /** The container is unknown to the runtime: no clean-up is needed. */
  unknownContainer: 3,
  /** A `CNI_*` variable is missing, malformed, or names an unknown command. */
  badEnvironment: 4,
  /** Reading or writing failed. */
  io: 5,
  /** Text could not be decoded: JSON on stdin, a version. */
  decode: 6,
  /** The network configuration is not valid. */
  badConfig: 7,
  /** `CNI_NETNS` is the plugin's own network namespace. */
  ownNamespace: 8,
  /** The same call may work later. */
  tryAgain: 11,
  /** STATUS: an ADD cannot be served now. */
  notAvailable: 50,
  /** The kernel refused a request. */
  kernel: 100,
  /** A store (etcd, a file, the API server) failed or refused. */
  store: 101,
  /** A program that we need, or its library, is missing or failed. */
  program: 102,
  /** A store answered that we may not do this. */
  denied: 103,
  /** Every ordinary failure of a plugin; the number that the reference plugins use. */
  plugin: 999,
} as const;

/** One of the numbers of {@link ErrorCode}. */
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** What an {@link OpError} knows beside the deed and its object. */
export interface OpErrorDetails {
  /** Class of the failure; branch on this, never on the text. */
  readonly code: number;
  /** The kernel's error number (positive, `errno(3)`), when there is one. */
  readonly errno?: number | undefined;
  /** The kernel's or the other program's own words. */
  readonly kernel?: string | undefined;
  /** What the operator can do next. */
  readonly advice?: string | undefined;
  /** The error underneath. */
  readonly cause?: unknown;
}

/**
 * A failure that an operator can act on. Its message reads
 * `Cannot <deed> <object>: <kernel's words>`; the advice is kept apart, so that each surface
 * (CNI `details`, log line, terminal) can place it.
 *
 * ```ts
 * import { ErrorCode, OpError } from "./errors.ts";
 *
 * const e = new OpError("add route", "10.1.5.0/24 dev flannel.1", {
 *   code: ErrorCode.kernel,
 *   errno: 22,
 *   kernel: "Nexthop has invalid gateway",
 * });
 * if (e.message !== "Cannot add route 10.1.5.0/24 dev flannel.1: Nexthop has invalid gateway") {
 *   throw e;
 * }
 * ```
 */
export class OpError extends Error {
  override readonly name = "OpError";
  /** What was tried, in the imperative: `add route`. */
  readonly deed: string;
  /** What it was tried on. */
  readonly object: string;
  readonly code: number;
  readonly errno: number | undefined;
  readonly kernel: string | undefined;
  readonly advice: string | undefined;

  constructor(deed: string, object: string, details: OpErrorDetails) {
    const words = details.kernel ??
      (details.cause === undefined ? "" : plainWords(messageOf(details.cause)));
    super(
      `Cannot ${deed} ${object}${words === "" ? "" : `: ${words}`}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.deed = deed;
    this.object = object;
    this.code = details.code;
    this.errno = details.errno;
    this.kernel = details.kernel;
    this.advice = details.advice;
  }
}

/** An operating system's words without the number and the call that a runtime adds to them. */
function plainWords(message: string): string {
  return message.replace(/ \(os error \d+\)(: \w+ '[^']*')?$/, "");
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
