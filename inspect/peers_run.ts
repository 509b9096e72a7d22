/**
 * `twill inspect peers`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import type { CommonFlags } from "./flags.ts";
import { gather } from "./gather.ts";
import { joinPeers } from "./join_peers.ts";
import { judgePeers } from "./judge_peers.ts";
import { notesOf, routeCommands } from "./notes.ts";
import { peerNames, peersJson, peersTable } from "./render_peers.ts";
import { give } from "./report.ts";

/** Gathers, joins, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: CommonFlags): Promise<void> {
  const overlay = await gather(this, { subnetFile: flags.subnetFile, peers: true });
  const peers = judgePeers(overlay, joinPeers(overlay));
  const { notes, unknown } = notesOf(overlay, peers.length, "peers");
  await give(this, flags, {
    kind: "peers",
    document: peersJson(overlay, peers),
    names: peerNames(peers),
    table: (options) => peersTable(peers, options),
    findings: peers.flatMap(({ findings }) => findings),
    commands: [
      ...routeCommands(overlay),
      ...overlay.vteps.flatMap(({ name, family }) => [
        `ip -${family} neighbour show dev ${name} nud permanent`,
        `bridge fdb show dev ${name}`,
      ]),
    ],
    notes,
    unknown,
  });
}
