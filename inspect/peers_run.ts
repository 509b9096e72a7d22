/**
 * `twill inspect peers`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import type { WatchFlags } from "./flags.ts";
import { gather } from "./gather.ts";
import { joinPeers } from "./join_peers.ts";
import { judgeDevices } from "./judge_devices.ts";
import { judgePeers } from "./judge_peers.ts";
import { notesOf, routeCommands } from "./notes.ts";
import { peerNames, peersJson, peersTable } from "./render_peers.ts";
import { present, type Report } from "./report.ts";

/** Gathers, joins, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: WatchFlags): Promise<void> {
  await present(this, flags, [flags.subnetFile], () => report(this, flags));
}

async function report(context: InspectContext, flags: WatchFlags): Promise<Report> {
  const overlay = await gather(context, { subnetFile: flags.subnetFile, peers: true });
  const devices = judgeDevices(overlay);
  const peers = judgePeers(overlay, joinPeers(overlay), devices);
  const { notes, unknown } = notesOf(overlay, peers.length, "peers");
  return {
    kind: "peers",
    document: peersJson(overlay, peers),
    names: peerNames(peers),
    table: (options) => peersTable(peers, options),
    // A device's finding stands at each of its peers, and is said once.
    findings: [...new Set([...devices, ...peers.flatMap(({ findings }) => findings)])],
    sources: {
      networks: "subnet.env",
      items: "netlink",
      "items.ok": "computed",
    },
    commands: [
      ...routeCommands(overlay),
      ...overlay.vteps.flatMap(({ name, family }) => [
        `ip -${family} neighbour show dev ${name} nud permanent`,
        `bridge fdb show dev ${name}`,
      ]),
    ],
    notes,
    unknown,
  };
}
