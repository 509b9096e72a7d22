/**
 * `twill inspect subnet`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import type { WatchFlags } from "./flags.ts";
import { gather } from "./gather.ts";
import { judgeSubnet } from "./judge_subnet.ts";
import type { Overlay } from "./overlay.ts";
import { subnetJson, subnetTable } from "./render_subnet.ts";
import { present, type Report } from "./report.ts";

/** Gathers, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: WatchFlags): Promise<void> {
  await present(this, flags, [flags.subnetFile], () => report(this, flags));
}

async function report(context: InspectContext, flags: WatchFlags): Promise<Report> {
  const overlay = await gather(context, { subnetFile: flags.subnetFile, addresses: true });
  const { rows, findings } = judgeSubnet(overlay);
  const { file } = overlay;
  return {
    kind: "subnet",
    document: subnetJson(overlay, rows),
    names: overlay.subnets,
    table: (options) => subnetTable(rows, options),
    findings,
    sources: { file: "subnet.env", items: ["subnet.env", "netlink"], "items.status": "computed" },
    commands: commandsOf(overlay),
    notes: file.kind === "unreadable"
      ? [`Cannot tell about the subnet: cannot read ${file.path}: ${file.reason}`]
      : [],
    unknown: file.kind === "unreadable",
  };
}

function commandsOf({ file, vteps, bridge }: Overlay): string[] {
  const underlays = new Set(vteps.flatMap(({ underlay }) => underlay ?? []));
  return [
    `cat ${file.path}`,
    ...vteps.flatMap(({ name }) => [`ip -d link show ${name}`, `ip address show dev ${name}`]),
    ...[...underlays].map((name) => `ip link show ${name}`),
    ...(bridge === undefined
      ? []
      : [`ip address show dev ${bridge.name}`, `ip link show master ${bridge.name}`]),
  ];
}
