/**
 * `twill inspect peers`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import type { Finding } from "./finding.ts";
import type { WatchFlags } from "./flags.ts";
import { gather } from "./gather.ts";
import { joinPeers } from "./join_peers.ts";
import { judgeDevices } from "./judge_devices.ts";
import { judgePeers } from "./judge_peers.ts";
import { judgeWanted, type KnownPeer, withoutLeases } from "./judge_wanted.ts";
import { know, type Knowledge, knowledgeCommands, knowledgePaths } from "./knowledge.ts";
import { notesOf, routeCommands } from "./notes.ts";
import type { Overlay } from "./overlay.ts";
import { peerNames, peersJson, peersTable } from "./render_peers.ts";
import { present, type Report } from "./report.ts";
import { tunnelCommands } from "../engine/tunnel.ts";
import { compareWanted } from "./wanted.ts";

/** Gathers, joins, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: WatchFlags): Promise<void> {
  await present(this, flags, knowledgePaths(flags), () => report(this, flags));
}

async function report(context: InspectContext, flags: WatchFlags): Promise<Report> {
  const knowledge = await know(context, flags);
  const overlay = await gather(context, {
    subnetFile: flags.subnetFile,
    peers: true,
    addresses: knowledge.leases !== undefined,
  });
  const devices = judgeDevices(overlay);
  const judged = judgePeers(overlay, joinPeers(overlay), devices);
  const { peers, notes: compared } = compare(overlay, judged, knowledge, devices);
  const { notes, unknown } = notesOf(overlay, peers.length, "peers");
  const from = knowledge.leases?.from;
  return {
    kind: "peers",
    document: peersJson(overlay, peers),
    names: peerNames(peers),
    table: (options) => peersTable(peers, options, context.now()),
    // A device's finding stands at each of its peers, and is said once.
    findings: [...new Set([...devices, ...peers.flatMap(({ findings }) => findings)])],
    sources: {
      networks: "subnet.env",
      items: "netlink",
      "items.ok": "computed",
      ...(from === undefined ? {} : { "items.node": from, "items.wanted": from }),
    },
    commands: [
      ...routeCommands(overlay),
      ...overlay.vteps.flatMap(({ name, family }) => [
        `ip -${family} neighbour show dev ${name} nud permanent`,
        `bridge fdb show dev ${name}`,
      ]),
      ...tunnelCommands(overlay.tunnels),
      ...knowledgeCommands(flags, knowledge),
    ],
    notes: [...knowledge.notes, ...compared, ...notes],
    unknown,
  };
}

/** Wanted against actual, where somebody knows what is wanted. */
function compare(
  overlay: Overlay,
  judged: ReturnType<typeof judgePeers>,
  { daemon, leases }: Knowledge,
  devices: readonly Finding[],
): { readonly peers: readonly KnownPeer[]; readonly notes: readonly string[] } {
  if (leases === undefined) return { peers: withoutLeases(judged), notes: [] };
  const wanted = compareWanted(overlay, leases, daemon?.uplink?.name);
  if (typeof wanted === "string") {
    return { peers: withoutLeases(judged), notes: [`Not compared with the leases: ${wanted}`] };
  }
  return { peers: judgeWanted(judged, wanted, leases.from, devices), notes: [] };
}
