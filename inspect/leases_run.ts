/**
 * `twill inspect leases`: the work.
 *
 * @module
 */

import { addressOf } from "../engine/ip.ts";
import type { InspectContext } from "./context.ts";
import { gather } from "./gather.ts";
import {
  know,
  type Knowledge,
  knowledgeCommands,
  knowledgePaths,
  readLeaseFile,
} from "./knowledge.ts";
import { type JudgedLease, judgeLeases } from "./judge_leases.ts";
import type { LeasesFlags } from "./leases.ts";
import type { Overlay } from "./overlay.ts";
import { leaseNames, leasesJson, leasesTable } from "./render_leases.ts";
import { present, type Report } from "./report.ts";
import { compareWanted } from "./wanted.ts";

/** Gathers, compares, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: LeasesFlags): Promise<void> {
  const { leaseFile } = flags;
  const paths = [...knowledgePaths(flags), ...(leaseFile === undefined ? [] : [leaseFile])];
  await present(this, flags, paths, () => report(this, flags));
}

async function report(context: InspectContext, flags: LeasesFlags): Promise<Report> {
  const overlay = await gather(context, {
    subnetFile: flags.subnetFile,
    peers: true,
    addresses: true,
  });
  const knowledge = await knowledgeOf(context, flags, overlay);
  const { leases, daemon } = knowledge;
  const wanted = leases && compareWanted(overlay, leases, daemon?.uplink?.name);
  const items: readonly JudgedLease[] = judgeLeases(knowledge, wanted, context.now());
  const from = leases?.from;
  return {
    kind: "leases",
    document: leasesJson(knowledge, items),
    names: leaseNames(items),
    table: (options) => leasesTable(items, options, context.now()),
    findings: items.flatMap(({ findings }) => findings),
    sources: from === undefined ? {} : {
      config: from,
      store: daemon === undefined ? [] : "status socket",
      items: from,
      "items.differences": "netlink",
      "items.status": "computed",
    },
    commands: flags.leaseFile === undefined
      ? knowledgeCommands(flags, knowledge)
      : [`cat ${flags.leaseFile}`],
    notes: [
      ...knowledge.notes,
      ...(leases === undefined
        ? [
          "Cannot tell about leases: the daemon does not answer (asking it needs root), and it " +
          `left no snapshot in ${flags.stateDir}`,
        ]
        : []),
      ...(from === "snapshot"
        ? [`The daemon does not answer: these are of ${new Date(leases!.at).toISOString()}`]
        : []),
      ...(typeof wanted === "string" ? [`Not compared with the kernel: ${wanted}`] : []),
    ],
    unknown: leases === undefined,
  };
}

async function knowledgeOf(
  context: InspectContext,
  flags: LeasesFlags,
  { facts }: Overlay,
): Promise<Knowledge> {
  if (flags.leaseFile === undefined) return await know(context, flags);
  const addresses = facts.flatMap((fact) => fact.kind === "address" ? [addressOf(fact.inet)] : []);
  const leases = await readLeaseFile(context, flags.leaseFile, addresses);
  return leases === undefined
    ? { notes: [`No node of ${flags.leaseFile} has an address of this node`] }
    : { leases, notes: [] };
}
