/**
 * The variables of a request (CNI specification, "Parameters").
 *
 * @module
 */

import { ErrorCode } from "../engine/errors.ts";
import { CniError } from "./errors.ts";

/** The commands of the protocol. */
export const COMMANDS = ["ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"] as const;

/** One of {@link COMMANDS}. */
export type Command = (typeof COMMANDS)[number];

/** The `CNI_*` variables; empty text where one is unset. */
export interface Environment {
  /** `CNI_COMMAND`; any text, see {@link isCommand}. Empty: nobody asked for anything. */
  readonly command: string;
  readonly containerId: string;
  /** Path of the pod's network namespace. */
  readonly netns: string;
  /** Name of the interface in the pod, 1 to 15 bytes. */
  readonly ifname: string;
  /** `CNI_ARGS` as it is; see args.ts. */
  readonly args: string;
  /** Directories with plugins, joined by `:`. */
  readonly path: string;
  /** The runtime insists that the pod's namespace may be our own. */
  readonly allowOwnNetns: boolean;
}

/** Reads one variable; undefined when it is not set. */
export type GetVariable = (name: string) => string | undefined;

interface Variable {
  readonly name: string;
  /** The commands that cannot do without. */
  readonly needed: readonly Command[];
  /** What is wrong with a value, when the command needs the variable. */
  readonly fault?: (value: string) => string | undefined;
}

const ATTACHMENT = ["ADD", "CHECK", "DEL"] as const satisfies readonly Command[];

/** In the order in which they are examined and named. */
const VARIABLES = {
  command: { name: "CNI_COMMAND", needed: COMMANDS },
  containerId: { name: "CNI_CONTAINERID", needed: ATTACHMENT, fault: containerIdFault },
  netns: { name: "CNI_NETNS", needed: ["ADD", "CHECK"] },
  ifname: { name: "CNI_IFNAME", needed: ATTACHMENT, fault: ifnameFault },
  args: { name: "CNI_ARGS", needed: [] },
  path: { name: "CNI_PATH", needed: ["ADD", "CHECK", "DEL", "GC", "STATUS"] },
  override: { name: "CNI_NETNS_OVERRIDE", needed: [] },
} as const satisfies Record<string, Variable>;

/** True for a word of the protocol, in capitals. */
export function isCommand(text: string): text is Command {
  return COMMANDS.some((command) => command === text);
}

/** True when the text may name a container or a network. */
export function isIdentifier(text: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(text);
}

/**
 * Reads and checks the variables. Those that the command does not need are not checked.
 *
 * @throws {CniError} code 4: a value is malformed, or the ones named are missing.
 */
export function readEnvironment(get: GetVariable): Environment {
  const read = ({ name }: Variable): string => {
    try {
      return get(name) ?? "";
    } catch (cause) {
      throw new CniError(ErrorCode.badEnvironment, `${name} is no valid UTF-8`, undefined, cause);
    }
  };
  const command = read(VARIABLES.command);
  const missing: string[] = [];
  const checked = (variable: Variable): string => {
    const value = read(variable);
    if (!variable.needed.some((one) => one === command)) return value;
    if (value === "") missing.push(variable.name);
    const fault = value === "" ? undefined : variable.fault?.(value);
    if (fault !== undefined) throw new CniError(ErrorCode.badEnvironment, fault, value);
    return value;
  };
  const environment = {
    command,
    containerId: checked(VARIABLES.containerId),
    netns: checked(VARIABLES.netns),
    ifname: checked(VARIABLES.ifname),
    args: checked(VARIABLES.args),
    path: checked(VARIABLES.path),
    allowOwnNetns: /^(?:1|true)$/i.test(checked(VARIABLES.override)),
  };
  if (missing.length > 0) {
    throw new CniError(
      ErrorCode.badEnvironment,
      `required env variables [${missing.join(",")}] missing`,
    );
  }
  return environment;
}

function containerIdFault(value: string): string | undefined {
  return isIdentifier(value) ? undefined : "invalid characters in CNI_CONTAINERID";
}

function ifnameFault(value: string): string | undefined {
  if (new TextEncoder().encode(value).length > 15) {
    return "CNI_IFNAME is too long: an interface name has at most 15 bytes";
  }
  if (value === "." || value === "..") return "CNI_IFNAME must not be . or ..";
  return /[/:\p{White_Space}]/u.test(value)
    ? "CNI_IFNAME contains a slash, a colon or white space"
    : undefined;
}
