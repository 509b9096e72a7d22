/**
 * What is known of policies on this node: the daemon's word, and what the kernel holds. Here are
 * also the meanings of words: pods and addresses.
 *
 * @module
 */

import { messageOf, OpError } from "../../engine/errors.ts";
import { familyOf, type Ip, parseIp } from "../../engine/ip.ts";
import { compile } from "../../engine/policy/compile.ts";
import { Judge } from "../../engine/policy/decide.ts";
import { type FoundTable, readFound } from "../../engine/policy/found.ts";
import { keyOf, type Pod } from "../../engine/policy/model.ts";
import { parsePolicySnapshot, type PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { type PolicyTable, policyTable } from "../../engine/policy/table.ts";
import { readNft } from "../../engine/trace/nft_read.ts";
import type { TraceTable } from "../../engine/trace/rules.ts";
import type { InspectContext } from "../context.ts";
import type { PlaceFlags } from "../flags.ts";
import { statusSocket } from "../places.ts";

/** All that is known. */
export interface PolicyView {
  /** What the daemon knows; absent when there is none, or it enforces nothing. */
  readonly snapshot?: PolicySnapshot;
  /** The table in the kernel; undefined: there is none; a text: why it cannot be read. */
  readonly found: FoundTable | undefined | string;
  /** The same for the evaluator of rules. */
  readonly tables: readonly TraceTable[];
  /** Family and name of the table. */
  readonly table: string;
  readonly notes: readonly string[];
  /** Shell commands that show the same. */
  readonly commands: readonly string[];
}

/** Asks the daemon; undefined when it does not answer, or not in words that we know. */
export async function askSnapshot(
  context: InspectContext,
  flags: PlaceFlags,
  notes: string[],
): Promise<PolicySnapshot | undefined> {
  const socket = statusSocket(flags);
  const text = await context.ask(socket, "/policy");
  if (text === undefined) return undefined;
  try {
    return parsePolicySnapshot(text);
  } catch (e) {
    if (!(e instanceof SyntaxError)) throw e;
    notes.push(`Cannot use what ${socket} answers: ${e.message}`);
    return undefined;
  }
}

/** Asks the daemon and the kernel. */
export async function look(context: InspectContext, flags: PlaceFlags): Promise<PolicyView> {
  const notes: string[] = [];
  const told = await askSnapshot(context, flags, notes);
  const knows = told !== undefined && told.synced !== undefined;
  const table = told?.table ?? policyTable(flags.instance ?? "");
  const tools = await context.policyTools();
  let [listing, found]: [string, FoundTable | undefined | string] = ["", undefined];
  try {
    listing = tools.table(table);
    found = readFound(listing);
  } catch (e) {
    if (!(e instanceof OpError)) throw e;
    found = messageOf(e);
  }
  const reasons = told?.reasons.join("; ") ?? "";
  if (told === undefined) {
    notes.push(
      `No daemon answers on ${statusSocket(flags)}: this is what the kernel's table alone tells; ` +
        "pods of other nodes, and why, are not known",
    );
  } else if (!knows) {
    notes.push(
      `The daemon enforces no policies (${told.state}${reasons === "" ? "" : `: ${reasons}`})`,
    );
  } else if (reasons !== "") notes.push(`NetworkPolicy is not fully enforced: ${reasons}`);
  if (typeof found === "string") notes.push(`The kernel's table cannot be read: ${found}`);
  else if (found === undefined) notes.push(`The kernel has no table ${table}: nothing is enforced`);
  return {
    ...(knows ? { snapshot: told } : {}),
    found,
    tables: typeof found === "string" ? [] : readNft(listing),
    table,
    notes,
    commands: [
      `nft list table ${table}`,
      ...(told === undefined
        ? []
        : [`curl -s --unix-socket ${statusSocket(flags)} http://twill/policy`]),
    ],
  };
}

/** The table that the daemon should have made. */
export function wantedTable({ cluster, node, held }: PolicySnapshot): PolicyTable {
  return compile(cluster, node, new Set(held));
}

/** One end of a connection. */
export interface PolicyEnd {
  readonly label: string;
  readonly ips: readonly Ip[];
  readonly pod?: Pod;
}

/** A word that means nothing here; the text says what would. */
export class UnknownName extends Error {
  override readonly name = "UnknownName";
}

/** A pod by `namespace/name`, by its name where only one has it, or by its address. */
export function findPod({ cluster: { pods } }: PolicySnapshot, word: string): Pod | undefined {
  const exact = pods.find((pod) => keyOf(pod) === word);
  if (exact !== undefined) return exact;
  const [first, ...others] = pods.filter(({ name }) => name === word);
  if (others.length > 0) {
    const names = [first!, ...others].map(keyOf).join(", ");
    throw new UnknownName(`${JSON.stringify(word)} is the name of several pods: ${names}`);
  }
  return first ??
    pods.find(({ ips, hostNetwork }) => !hostNetwork && ips.some((ip) => ip === word));
}

/** What a word means. @throws {UnknownName} */
export function resolveEnd(snapshot: PolicySnapshot, word: string): PolicyEnd {
  const pod = findPod(snapshot, word);
  const ip = asAddress(word);
  if (pod !== undefined) {
    if (pod.ips.length === 0) throw new UnknownName(`pod ${keyOf(pod)} has no address yet`);
    return { label: keyOf(pod), ips: ip === undefined ? pod.ips : [ip], pod };
  }
  if (ip !== undefined) return { label: ip, ips: [ip] };
  throw new UnknownName(
    `${JSON.stringify(word)} is no pod (namespace/name) and no address; Services and nodes are ` +
      "named by the addresses of their pods, or their own",
  );
}

/** A word as an address. */
export function asAddress(word: string): Ip | undefined {
  try {
    return parseIp(word);
  } catch {
    return undefined;
  }
}

/** The addresses of two ends that a packet can have, one pair for each family. */
export function pairs(from: PolicyEnd, to: PolicyEnd): [source: Ip, destination: Ip][] {
  return ([4, 6] as const).flatMap((family): [Ip, Ip][] => {
    const [a, b] = [from, to].map(({ ips }) => ips.find((ip) => familyOf(ip) === family));
    return a === undefined || b === undefined ? [] : [[a, b]];
  });
}

/** Decides for what the daemon knows. */
export function judgeOf({ cluster }: PolicySnapshot): Judge {
  return new Judge(cluster);
}
