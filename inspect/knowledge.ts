/**
 * What is known beyond this node's kernel: the daemon's word, else the last good snapshot, else the
 * lease file that the caller names. The only place where inspect looks at stores.
 *
 * @module
 */

import { messageOf } from "../engine/errors.ts";
import { findOwnLease } from "../engine/lease_file.ts";
import type { Ip } from "../engine/ip.ts";
import { type Memory, parseMemory } from "../engine/memory.ts";
import { type NodeStatus, parseNodeStatus } from "../engine/node_status.ts";
import type { InspectContext } from "./context.ts";
import type { PlaceFlags } from "./flags.ts";
import { snapshotPath, statusSocket } from "./places.ts";
import type { Source } from "./report.ts";

/** Configuration and leases, and who said so. */
export interface Knowledge {
  /** What the daemon answered; absent when it does not run, or may not be asked. */
  readonly daemon?: NodeStatus;
  readonly leases?: Memory & { readonly from: Source };
  /** Why there is less than there could be, for stderr. */
  readonly notes: readonly string[];
}

/** Asks the daemon; without it, reads what it left. */
export async function know(context: InspectContext, flags: PlaceFlags): Promise<Knowledge> {
  const notes: string[] = [];
  const daemon = await askDaemon(context, flags, notes);
  const leases = daemon?.leases === undefined
    ? readSnapshot(context, flags, notes)
    : { ...daemon.leases, from: "status socket" as const };
  return {
    ...(daemon === undefined ? {} : { daemon }),
    ...(leases === undefined ? {} : { leases }),
    notes,
  };
}

async function askDaemon(
  context: InspectContext,
  flags: PlaceFlags,
  notes: string[],
): Promise<NodeStatus | undefined> {
  const socket = statusSocket(flags);
  const text = await context.ask(socket, "/status");
  if (text === undefined) return undefined;
  try {
    return parseNodeStatus(text);
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    notes.push(`Cannot use what ${socket} answers: ${e.message}`);
    return undefined;
  }
}

function readSnapshot(
  context: InspectContext,
  flags: PlaceFlags,
  notes: string[],
): Knowledge["leases"] {
  const path = snapshotPath(flags);
  try {
    return { ...parseMemory(context.readFile(path)), from: "snapshot" };
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) notes.push(`Cannot use ${path}: ${messageOf(e)}`);
    return undefined;
  }
}

/**
 * A lease file in place of what the daemon says.
 *
 * @param addresses this node's own: by one of them it is found in the file.
 * @throws {OpError} when the file cannot be used.
 */
export async function readLeaseFile(
  context: InspectContext,
  path: string,
  addresses: readonly Ip[],
): Promise<NonNullable<Knowledge["leases"]> | undefined> {
  const { parseLeaseFile } = await import("../daemon/store/file.ts");
  const file = parseLeaseFile(context.readFile(path), path);
  const own = findOwnLease(file, { addresses });
  if (own === undefined) return undefined;
  return { at: context.now(), conf: file.conf, own, leases: file.leases, from: "lease file" };
}

/** Commands that show the same. */
export function knowledgeCommands(flags: PlaceFlags, { leases }: Knowledge): string[] {
  switch (leases?.from) {
    case "status socket":
      return [`curl -s --unix-socket ${statusSocket(flags)} http://twill/status`];
    case "snapshot":
      return [`cat ${snapshotPath(flags)}`];
    default:
      return [];
  }
}

/** The files and sockets to watch. */
export function knowledgePaths(flags: PlaceFlags): string[] {
  return [flags.subnetFile, snapshotPath(flags)];
}
