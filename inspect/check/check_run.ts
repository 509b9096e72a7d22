/**
 * `twill inspect check`: the work.
 *
 * @module
 */

import { tunnelCommands } from "../../engine/tunnel.ts";
import type { InspectContext } from "../context.ts";
import { knowledgeCommands, knowledgePaths } from "../knowledge.ts";
import { judgeSubnet } from "../judge_subnet.ts";
import { present, type Report } from "../report.ts";
import { need } from "../rights.ts";
import { paintedTable } from "./render.ts";
import type { CheckFlags } from "./flags.ts";
import { gatherNode } from "./gather.ts";
import { judgeKernel, SYSCTLS } from "./judge_kernel.ts";
import { judgeLeases } from "./judge_leases.ts";
import { judgeDaemon } from "./judge_daemon.ts";
import { judgeProbes } from "./judge_probe.ts";
import { probePeers } from "./probe.ts";
import { judgePlugins } from "./judge_plugins.ts";
import { judgeRules, TABLES } from "./judge_rules.ts";
import { judged, together, type Verdict } from "./verdict.ts";
import type { NodeView } from "./view.ts";

/** Gathers, judges, gives out. @throws {OpError} when the kernel cannot be read */
export async function run(this: InspectContext, flags: CheckFlags): Promise<void> {
  if (flags.probe) need(this, "send echo requests", "CAP_NET_RAW");
  const files = [...knowledgePaths(flags), flags.confDir, flags.networksDir];
  await present(this, flags, files, () => report(this, flags));
}

async function report(context: InspectContext, flags: CheckFlags): Promise<Report> {
  const view = await gatherNode(context, flags);
  const tried = flags.probe && view.installed
    ? judgeProbes(await probePeers(view.overlay, await context.checkTools(), flags.healthPort))
    : together();
  const { rows, findings } = together(judgeNode(view), tried);
  return {
    kind: "check",
    document: { installed: view.installed, items: rows },
    names: rows.map(({ name }) => name),
    table: (options) => paintedTable(rows, options),
    findings: unique(findings),
    sources: {
      installed: "computed",
      items: [
        "netlink",
        "subnet.env",
        "snapshot",
        "sysctl",
        "nft",
        "iptables",
        "plugin configuration",
        "host-local reservations",
      ],
      "items.status": "computed",
    },
    commands: [...commandsOf(view), ...knowledgeCommands(flags, view.known)],
    notes: view.installed ? view.known.notes : [
      "Nothing of a pod network of flannel or twill is here: this is a check before the install",
    ],
    unknown: rows.some(({ status }) => status === "unknown"),
  };
}

/** All judges. */
export function judgeNode(view: NodeView): Verdict {
  return together(
    judgeKernel(view),
    judgeDaemon(view),
    subnet(view),
    judgeLeases(view),
    judgeRules(view),
    judgePlugins(view),
  );
}

/** What `twill inspect subnet` says in detail. */
function subnet({ overlay, installed }: NodeView): Verdict {
  if (!installed) return together();
  const { findings } = judgeSubnet(overlay);
  const { file } = overlay;
  return judged("subnet", `${file.path}, devices and MTU agree with each other`, findings);
}

/** One thing may be found by two judges. */
function unique(findings: Verdict["findings"]): Verdict["findings"] {
  const seen = new Set<string>();
  return findings.filter(({ id, subject }) => {
    const key = `${id} ${subject}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}

function commandsOf({ overlay, confDir, networksDir }: NodeView): string[] {
  const devices = overlay.vteps.map(({ name }) => name);
  return [
    `cat ${overlay.file.path}`,
    ...SYSCTLS.map((key) => `sysctl ${key.replaceAll("/", ".")}`),
    "ip -d link show",
    "ip address show",
    "ip route show",
    ...devices.flatMap((name) => [`ip neighbour show dev ${name}`, `bridge fdb show dev ${name}`]),
    ...tunnelCommands(overlay.tunnels),
    ...TABLES.map((table) => `nft list table ${table}`),
    `ls ${confDir}`,
    `ls ${networksDir}`,
  ];
}
