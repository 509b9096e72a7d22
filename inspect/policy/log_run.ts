/**
 * `twill inspect policy log`: the work.
 *
 * @module
 */

import type { DroppedPacket } from "../../engine/policy/dropped.ts";
import { type FoundTable, policiesOf, readFound } from "../../engine/policy/found.ts";
import { UNKNOWN_CHAIN } from "../../engine/policy/compile.ts";
import { keyOf } from "../../engine/policy/model.ts";
import { Exit, type InspectContext } from "../context.ts";
import { gatherPods } from "../pods/gather.ts";
import { joinPods, nameOfPod } from "../pods/join.ts";
import { give, jsonLine } from "../report.ts";
import { need } from "../rights.ts";
import { table } from "../style.ts";
import type { LogFlags } from "./commands.ts";
import { look, type PolicyView } from "./look.ts";

/** Counts, or follows. @throws {OpError} when the kernel cannot be made to tell */
export async function run(this: InspectContext, flags: LogFlags): Promise<void> {
  need(this, "look at dropped packets", "CAP_NET_ADMIN");
  const view = await look(this, flags);
  if (flags.follow) return await follow(this, flags, view);
  const { found } = view;
  const tools = await this.policyTools();
  const rows = typeof found === "object" ? countsOf(found, tools.counts(view.table)) : [];
  await give(this, flags, {
    kind: "policy log",
    document: { items: rows },
    names: rows.map(({ direction, policies }) => `${direction} ${policies.join(" ")}`),
    table: (options) =>
      table(rows, [
        { head: "PACKETS", cell: ({ packets }) => String(packets) },
        { head: "DIRECTION", cell: ({ direction }) => direction },
        { head: "ISOLATED-BY", cell: ({ policies }) => policies.join(" ") || HELD },
      ], options),
    findings: [],
    sources: { items: "nft" },
    commands: [`nft list counters table ${view.table}`],
    notes: view.notes,
    unknown: typeof found !== "object",
  });
}

/** Said in place of policies. */
const HELD = "(its pod is not known yet)";

interface Count {
  readonly chain: string;
  readonly direction: string;
  readonly policies: readonly string[];
  readonly packets: number;
}

function countsOf(found: FoundTable, drops: ReadonlyMap<string, number>): Count[] {
  return [...drops].map(([chain, packets]) => ({ ...decider(found, chain), chain, packets }))
    .sort((a, b) => b.packets - a.packets);
}

/** Whose chain it is. */
function decider(found: FoundTable, chain: string): Pick<Count, "direction" | "policies"> {
  const direction = chain === UNKNOWN_CHAIN
    ? "both"
    : chain.startsWith("out-")
    ? "egress"
    : "ingress";
  return { direction, policies: policiesOf(found, chain) };
}

async function follow(
  context: InspectContext,
  flags: LogFlags,
  view: PolicyView,
): Promise<void> {
  const { stdout, stderr } = context.process;
  for (const note of view.notes) stderr.write(`${note}\n`);
  if (typeof view.found !== "object") {
    context.process.exitCode = Exit.unknown;
    return;
  }
  const tools = await context.policyTools();
  const control = new AbortController();
  const signal = AbortSignal.any([context.interrupted(), control.signal]);
  let names = await namesOf(context, flags, view);
  let { found } = view;
  let packets = 0;
  for await (const dropped of tools.drops(view.table, signal)) {
    if (!found.chains.has(dropped.chain)) found = readFound(tools.table(view.table)) ?? found;
    if (!names.has(dropped.src) && !names.has(dropped.dst)) {
      names = await namesOf(context, flags, await look(context, flags));
    }
    const { direction, policies } = decider(found, dropped.chain);
    const told = { dropped, direction, policies, names, at: context.now() };
    stdout.write(flags.output === "json" ? jsonOf(told) : lineOf(told));
    if (++packets === flags.count) control.abort();
  }
  stderr.write(`${packets === 1 ? "1 packet" : `${packets} packets`} dropped\n`);
  context.process.exitCode = Exit.fine;
}

/** Address → what it is called. */
async function namesOf(
  context: InspectContext,
  flags: LogFlags,
  { snapshot }: PolicyView,
): Promise<Map<string, string>> {
  if (snapshot === undefined) {
    const pods = joinPods(await gatherPods(context, flags), []);
    return new Map(pods.flatMap((pod) => pod.ips.map((ip) => [ip, nameOfPod(pod)] as const)));
  }
  return new Map(
    snapshot.cluster.pods.flatMap((pod) =>
      pod.ips.map((ip) => [ip, pod.hostNetwork ? `node ${pod.node}` : keyOf(pod)] as const)
    ),
  );
}

interface Told extends Pick<Count, "direction" | "policies"> {
  readonly dropped: DroppedPacket;
  readonly names: ReadonlyMap<string, string>;
  readonly at: number;
}

function lineOf({ dropped, direction, policies, names, at }: Told): string {
  const { src, dst, sport, dport, protocol } = dropped;
  const end = (ip: string, port: number | undefined): string => {
    const name = names.get(ip);
    const address = port === undefined
      ? ip
      : ip.includes(":")
      ? `[${ip}]:${port}`
      : `${ip}:${port}`;
    return name === undefined ? address : `${name} (${address})`;
  };
  const time = new Date(at).toISOString().slice(11, 23);
  return `${time} ${end(src, sport)} -> ${end(dst, dport)} ${protocol} DROPPED ${direction}: ${
    policies.length === 0 ? HELD : `${policies.join(", ")}: no rule matches`
  }\n`;
}

function jsonOf({ dropped, direction, policies, names, at }: Told): string {
  const { chain, src, dst, protocol, sport = null, dport = null } = dropped;
  return jsonLine("policy drop", {
    time: new Date(at).toISOString(),
    direction,
    policies,
    chain,
    source: { address: src, port: sport, name: names.get(src) ?? null },
    destination: { address: dst, port: dport, name: names.get(dst) ?? null },
    protocol,
  });
}
