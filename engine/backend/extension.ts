/**
 * The extension backend: the operator's own commands connect the nodes. The node gets a subnet, and
 * tells the commands which peers come and go. Pure: which commands, with what around them, in which
 * order; running them is the daemon's.
 *
 * @module
 */

import { Fields, type Json, stringifyJson } from "../json.ts";
import { type Lease, leaseKey } from "../lease.ts";
import { type NetConf } from "../net_conf.ts";
import type { Backend, BackendFacts, BadPeer, Self } from "./backend.ts";

/** The members of the `Backend` section that name a command. */
export const COMMANDS = [
  "PreStartupCommand",
  "PostStartupCommand",
  "SubnetAddCommand",
  "SubnetRemoveCommand",
  "ShutdownCommand",
] as const;
/** One of them. */
export type CommandName = typeof COMMANDS[number];

/** The environment that a command gets beside the daemon's own. */
export type CommandEnv = Readonly<Record<string, string>>;

/** A command as it is written: words as they are, or a text that is split and filled in. */
export type CommandLine = readonly string[] | string;

/** What the section says. */
export type ExtensionOptions = Readonly<Partial<Record<CommandName, CommandLine>>>;

/**
 * Reads the section. A command is a list of words (the program first), or one text in flannel's way.
 *
 * @throws {SyntaxError} naming the member that is neither.
 */
export function extensionOptions(conf: NetConf): ExtensionOptions {
  const fields = new Fields(conf.backend.raw, "Backend");
  const entries = COMMANDS.flatMap((name) => {
    const isList = Array.isArray(fields.raw(name));
    const line = isList ? fields.strings(name) : fields.string(name);
    if (line === undefined || line.length === 0) return [];
    if (isList && line[0] === "") {
      throw new SyntaxError(`Backend.${name}[0]: want a program's name`);
    }
    return [[name, line] as const];
  });
  return Object.fromEntries(entries);
}

/**
 * The words of a command. A list is taken as it is. A text is split at white space, then `$NAME` and
 * `${NAME}` are replaced in each word; there is no shell and no quoting, as in flannel.
 */
export function wordsOf(line: CommandLine, env: CommandEnv): readonly string[] {
  if (typeof line !== "string") return line;
  return line.split(/\s+/).filter((word) => word !== "").map((word) =>
    word.replace(
      /\$(?:\{(\w+)\}|(\w+))/g,
      (_, braced?: string, bare?: string) => env[braced ?? bare ?? ""] ?? "",
    )
  );
}

/** What `PostStartupCommand` and `ShutdownCommand` are told of this node. */
export function ownEnv(conf: NetConf, { lease }: Self): CommandEnv {
  return { NETWORK: conf.families[4].network ?? "", ...peerEnv(lease) };
}

/** What `SubnetAddCommand` and `SubnetRemoveCommand` are told of a peer. */
export function peerEnv({ subnet, subnet6, publicIp, publicIp6 }: Lease): CommandEnv {
  return {
    SUBNET: subnet ?? "",
    PUBLIC_IP: publicIp ?? "",
    IPV6SUBNET: subnet6 ?? "",
    PUBLIC_IPV6: publicIp6 ?? "",
  };
}

/** What those read from stdin: what the peer's `PreStartupCommand` printed, and a line's end. */
export function peerInput({ backendData }: Lease): string {
  const data: Json = backendData ?? "";
  return `${typeof data === "string" ? data : stringifyJson(data)}\n`;
}

/** One command to run for one peer. */
export interface Step {
  readonly command: "SubnetAddCommand" | "SubnetRemoveCommand";
  readonly peer: Lease;
}

/**
 * From the peers for which the add command has worked to those that there are: first all that goes,
 * and what has changed as it was; then what comes.
 */
export function steps(done: readonly Lease[], peers: readonly Lease[]): Step[] {
  const [have, want] = [new Set(done.map(told)), new Set(peers.map(told))];
  return [
    ...done.filter((peer) => !want.has(told(peer)))
      .map((peer): Step => ({ command: "SubnetRemoveCommand", peer })),
    ...peers.filter((peer) => !have.has(told(peer)))
      .map((peer): Step => ({ command: "SubnetAddCommand", peer })),
  ];
}

/** All that a command is told about a peer. */
function told(peer: Lease): string {
  return JSON.stringify([leaseKey(peer), peerEnv(peer), peerInput(peer)]);
}

/** The peers of this backend among these. */
export function extensionPeers(peers: readonly Lease[]): Lease[] {
  return peers.filter(({ backendType }) => backendType === "extension");
}

/** The extension backend for a network. @throws see {@link extensionOptions} */
export function extension(conf: NetConf): Backend {
  extensionOptions(conf);
  return {
    type: "extension",
    leaseType: "extension",
    podMtu: (underlay) => Math.min(underlay.mtu, 65_535),
    devices: () => ({}),
    admit: () => {},
    macsOf: () => ({}),
    publish: () => ({}),
    facts: (_, peers) => facts(peers),
    scope: () => ({}),
    ours: () => () => false,
  };
}

function facts(peers: readonly Lease[]): BackendFacts {
  const good = extensionPeers(peers);
  const bad = peers.filter((lease) => !good.includes(lease)).map((lease): BadPeer => ({
    lease,
    reason: `its backend is ${JSON.stringify(lease.backendType)}, ours is extension`,
  }));
  return { own: [], peers: good.map((lease) => ({ lease, facts: [] })), bad };
}
