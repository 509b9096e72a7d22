/**
 * Versions of the CNI protocol, and which command needs which.
 *
 * @module
 */

import { ErrorCode } from "../engine/errors.ts";
import type { Command } from "./environment.ts";
import { CniError } from "./errors.ts";

/** Every version of the protocol that was published, oldest first. */
export const VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

/** A published version of the protocol. */
export type Version = (typeof VERSIONS)[number];

/** What the VERSION command answers as its own version. */
export const NEWEST: Version = "1.1.0";

/** What a configuration without a version means. */
export const OLDEST: Version = "0.1.0";

/** The shapes of a result; within one, versions differ only in `cniVersion`. */
export type ResultFormat = "0.1" | "0.3" | "1.0";

/** The shape of a result in this version. */
export function formatOf(version: Version): ResultFormat {
  if (version.startsWith("1.")) return "1.0";
  return version === "0.1.0" || version === "0.2.0" ? "0.1" : "0.3";
}

/** True when this is, letter for letter, a published version. */
export function isVersion(text: string): text is Version {
  return VERSIONS.some((version) => version === text);
}

/** Up to three integers; those that are missing are 0. */
export type VersionNumbers = readonly [major: number, minor: number, micro: number];

/**
 * The numbers in a version: up to three integers with dots between.
 *
 * @throws {SyntaxError} when the text is anything else.
 */
export function parseVersion(text: string): VersionNumbers {
  const parts = text.split(".");
  if (parts.length > 3 || !parts.every((part) => /^[+-]?\d{1,15}$/.test(part))) {
    throw new SyntaxError(`invalid CNI version ${JSON.stringify(text)}`);
  }
  const [major = 0, minor = 0, micro = 0] = parts.map(Number);
  return [major, minor, micro];
}

/** True when the first version is the second, or a later one. */
export function atLeast(a: VersionNumbers, b: VersionNumbers): boolean {
  const i = a.findIndex((number, i) => number !== b[i]);
  return i < 0 || (a[i] ?? 0) > (b[i] ?? 0);
}

/** The first version that has the command; ADD and DEL were always there. */
const SINCE: Readonly<Partial<Record<Command, Version>>> = {
  CHECK: "0.4.0",
  GC: "1.1.0",
  STATUS: "1.1.0",
};

/**
 * Decides whether a plugin may serve the command for a configuration of this version.
 *
 * @param text the configuration's `cniVersion`.
 * @throws {CniError} code 1 when the versions do not go together, 6 when the text is no version.
 */
export function gateVersion(
  command: Command,
  text: string,
  supported: readonly Version[],
): Version {
  const since = SINCE[command];
  if (since !== undefined) {
    const version = readVersion(text);
    if (!atLeast(version, parseVersion(since))) {
      throw incompatible(`config version does not allow ${command}`, text, supported);
    }
    if (!supported.some((one) => atLeast(parseVersion(one), version))) {
      throw incompatible(`plugin version does not allow ${command}`, text, supported);
    }
  }
  const version = supported.find((one) => one === text);
  if (version === undefined) throw incompatible("incompatible CNI versions", text, supported);
  return version;
}

function readVersion(text: string): VersionNumbers {
  try {
    return parseVersion(text);
  } catch (cause) {
    throw new CniError(ErrorCode.decode, "cannot decode the configuration's version", text, cause);
  }
}

function incompatible(message: string, text: string, supported: readonly Version[]): CniError {
  return new CniError(
    ErrorCode.incompatibleVersion,
    message,
    `config is ${JSON.stringify(text)}, plugin supports ${JSON.stringify(supported)}`,
  );
}
