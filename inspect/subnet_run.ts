/**
 * `twill inspect subnet`: the work.
 *
 * @module
 */

import type { InspectContext } from "./context.ts";
import { configNames } from "./check/judge_plugins.ts";
import { gather } from "./gather.ts";
import { judgeBeyond, type NetworkFile } from "./judge_subnet_beyond.ts";
import { know, knowledgeCommands, knowledgePaths } from "./knowledge.ts";
import { judgeSubnet } from "./judge_subnet.ts";
import type { Overlay } from "./overlay.ts";
import type { SubnetFlags } from "./subnet.ts";
import { subnetJson, subnetTable } from "./render_subnet.ts";
import { present, type Report } from "./report.ts";

/** Gathers, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: SubnetFlags): Promise<void> {
  await present(this, flags, [...knowledgePaths(flags), flags.confDir], () => report(this, flags));
}

async function report(context: InspectContext, flags: SubnetFlags): Promise<Report> {
  const overlay = await gather(context, { subnetFile: flags.subnetFile, addresses: true });
  const known = await know(context, flags);
  const parts = [
    judgeSubnet(overlay),
    judgeBeyond(overlay, known, networkFiles(context, flags.confDir)),
  ];
  const findings = parts.flatMap((part) => part.findings);
  const wrong = new Set(findings.map(({ subject }) => subject));
  const rows = parts.flatMap((part) => part.rows).map((row) =>
    row.source === "file" && wrong.has(row.name) ? { ...row, status: "wrong" as const } : row
  );
  const { file } = overlay;
  return {
    kind: "subnet",
    document: subnetJson(overlay, rows),
    names: overlay.subnets,
    table: (options) => subnetTable(rows, options),
    findings,
    sources: {
      file: "subnet.env",
      items: [
        "subnet.env",
        "netlink",
        ...(known.leases === undefined ? [] : [known.leases.from]),
        "plugin configuration",
      ],
      "items.status": "computed",
    },
    commands: [
      ...commandsOf(overlay),
      ...knowledgeCommands(flags, known),
      `ls ${flags.confDir}`,
    ],
    notes: file.kind === "unreadable"
      ? [`Cannot tell about the subnet: cannot read ${file.path}: ${file.reason}`]
      : [],
    unknown: file.kind === "unreadable",
  };
}

/** In the runtime's order; those that cannot be read tell nothing. */
function networkFiles({ list, readFile }: InspectContext, dir: string): NetworkFile[] {
  try {
    return configNames(list(dir)).map((name) => ({
      path: `${dir}/${name}`,
      text: readFile(`${dir}/${name}`),
    }));
  } catch (e) {
    if (e instanceof Deno.errors.NotFound || e instanceof Deno.errors.PermissionDenied) return [];
    throw e;
  }
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
