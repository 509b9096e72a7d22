/**
 * All commands of twill with their flags, as completion wants them: read from their declarations.
 *
 * @module
 */

import type { Group, Load } from "../inspect/app.ts";
import type { FlagShape, InspectCommand } from "../inspect/command.ts";
import { COMMAND_BRIEFS } from "../inspect/overview.ts";
import type { Command, Flag } from "./propose.ts";
import { SHELLS } from "./scripts.ts";

/** `twill`. */
export const ROOT: Command = {
  name: "twill",
  brief: "",
  commands: () => Promise.resolve(COMMAND_BRIEFS.map(topLevel)),
  flags: () => Promise.resolve([{ word: "--version", brief: "Print the version" }]),
};

function topLevel([name, brief]: readonly [string, string]): Command {
  switch (name) {
    case "inspect":
      return { name, brief, commands: inspectCommands };
    case "daemon":
      return { name, brief, flags: daemonFlags };
    case "completions":
      return { name, brief, argument: () => Promise.resolve(SHELLS) };
    case "install":
    case "uninstall":
    case "manifest":
      return { name, brief, flags: () => installFlags(name) };
    default:
      return { name, brief };
  }
}

async function inspectCommands(): Promise<Command[]> {
  const { COMMANDS } = await import("../inspect/app.ts");
  return await commandsOf(COMMANDS);
}

async function commandsOf(
  entries: Readonly<Record<string, Load | Group>>,
): Promise<Command[]> {
  return await Promise.all(
    Object.entries(entries).map(async ([name, entry]): Promise<Command> => {
      if (typeof entry !== "function") {
        return { name, brief: entry.brief, commands: () => commandsOf(entry.commands) };
      }
      const command = await entry();
      return {
        name,
        brief: command.docs.brief,
        flags: () => Promise.resolve(flagsOf(command.parameters)),
        argument: () => argumentOf(command),
      };
    }),
  );
}

async function argumentOf(
  { names }: InspectCommand,
): Promise<readonly string[] | "pods" | "peers" | undefined> {
  if (names === "pods" || names === "peers") return names;
  if (names !== "commands") return undefined;
  const [{ COMMANDS }, { TOPICS }] = await Promise.all([
    import("../inspect/app.ts"),
    import("../inspect/explain/topics.ts"),
  ]);
  return [...new Set([...Object.keys(TOPICS), ...Object.keys(COMMANDS)])];
}

/** Flags whose values are names, in whatever command. */
const NAMED: Readonly<Record<string, "pods" | "peers">> = { pod: "pods", peer: "peers" };

function flagsOf({ flags = {}, aliases = {} }: InspectCommand["parameters"]): Flag[] {
  const kebab = (name: string): string => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
  const shorts = new Map(Object.entries(aliases).map(([short, name]) => [name, `-${short}`]));
  return Object.entries(flags).map(([name, flag]) => {
    const [short, value] = [shorts.get(name), valueOf(name, flag)];
    return {
      word: `--${kebab(name)}`,
      brief: flag.brief,
      ...(short === undefined ? {} : { short }),
      ...(value === undefined ? {} : { value }),
    };
  });
}

function valueOf(name: string, flag: FlagShape): Flag["value"] {
  if (flag.kind === "enum") return flag.values;
  return flag.kind === "parsed" ? NAMED[name] ?? "any" : undefined;
}

async function daemonFlags(): Promise<Flag[]> {
  const { FLAGS } = await import("../daemon/flags.ts");
  return Object.entries(FLAGS).map(([name, { kind, help }]) => ({
    word: `--${name}`,
    brief: help,
    ...(kind === "bool" ? {} : { value: "any" as const }),
  }));
}

async function installFlags(name: "install" | "uninstall" | "manifest"): Promise<Flag[]> {
  const loaded = {
    install: () => import("../install/install.ts").then((m) => m.install),
    uninstall: () => import("../install/uninstall.ts").then((m) => m.uninstall),
    manifest: () => import("../install/manifest.ts").then((m) => m.manifest),
  };
  const { parameters } = await loaded[name]();
  return flagsOf(parameters as unknown as InspectCommand["parameters"]);
}
