/**
 * `twill inspect status`: the work.
 *
 * @module
 */

import { tunnelCommands } from "../../engine/tunnel.ts";
import { readRules } from "../check/gather.ts";
import type { InspectContext } from "../context.ts";
import type { WatchFlags } from "../flags.ts";
import { gather } from "../gather.ts";
import { know, knowledgeCommands, knowledgePaths } from "../knowledge.ts";
import { routeCommands } from "../notes.ts";
import { present, type Report } from "../report.ts";
import { statusRows } from "./judge.ts";
import { statusJson, statusTable } from "./render.ts";

/** Gathers, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: WatchFlags): Promise<void> {
  await present(this, flags, knowledgePaths(flags), () => report(this, flags));
}

async function report(context: InspectContext, flags: WatchFlags): Promise<Report> {
  const known = await know(context, flags);
  const overlay = await gather(context, {
    subnetFile: flags.subnetFile,
    peers: true,
    addresses: true,
  });
  using kernel = await context.open();
  const view = { overlay, known, rules: readRules(kernel), now: context.now() };
  const rows = statusRows(view);
  const from = known.leases?.from;
  return {
    kind: "status",
    document: statusJson(view, rows),
    names: rows.filter(({ status }) => status === "wrong").map(({ name }) => name),
    table: (options) => statusTable(rows, options),
    findings: rows.flatMap(({ findings }) => findings),
    sources: {
      subnets: "subnet.env",
      mtu: ["subnet.env", "netlink"],
      devices: "netlink",
      rules: ["nft", "iptables"],
      ...(known.daemon === undefined ? {} : { daemon: "status socket" }),
      ...(from === undefined ? {} : { node: from, config: from, lease: from }),
      "items.status": "computed",
    },
    commands: [
      `cat ${overlay.file.path}`,
      "ip -d link show",
      "ip address show",
      ...routeCommands(overlay),
      ...overlay.vteps.flatMap(({ name }) => [
        `ip neighbour show dev ${name}`,
        `bridge fdb show dev ${name}`,
      ]),
      ...tunnelCommands(overlay.tunnels),
      "nft list ruleset",
      ...knowledgeCommands(flags, known),
    ],
    notes: known.notes,
    unknown: overlay.file.kind === "unreadable",
  };
}
