/**
 * `twill inspect rules`: the work.
 *
 * @module
 */

import type { InspectContext } from "../context.ts";
import type { Finding } from "../finding.ts";
import { gather } from "../gather.ts";
import type { Overlay } from "../overlay.ts";
import { present, type Report } from "../report.ts";
import { need } from "../rights.ts";
import { findHazards, ruleRows } from "./judge.ts";
import { placeOf } from "./model.ts";
import { samples } from "./packets.ts";
import { parseIptables } from "./parse_iptables.ts";
import { parseNft } from "./parse_nft.ts";
import { rulesJson, rulesTable } from "./render.ts";
import type { RulesFlags } from "./rules.ts";

/** Gathers, judges, gives out. @throws {OpError} when rules or the kernel cannot be read */
export async function run(this: InspectContext, flags: RulesFlags): Promise<void> {
  need(this, "read packet rules", "CAP_NET_ADMIN");
  await present(this, flags, [flags.subnetFile], () => report(this, flags));
}

async function report(context: InspectContext, flags: RulesFlags): Promise<Report> {
  const overlay = await gather(context, { subnetFile: flags.subnetFile, addresses: true });
  const { nft, legacy } = (await context.ruleTools()).read();
  const chains = [
    ...parseNft(nft),
    ...parseIptables(legacy.ip ?? "", "ip"),
    ...parseIptables(legacy.ip6 ?? "", "ip6"),
  ];
  const packets = samples(overlay);
  const hazards = findHazards(chains, packets);
  const rows = ruleRows(chains, packets, hazards, flags.all);
  return {
    kind: "rules",
    document: rulesJson(rows),
    names: [...new Set(rows.map(({ chain }) => placeOf(chain)))],
    table: (options) => rulesTable(rows, options),
    findings: hazards.map(({ finding }) => concrete(finding, overlay)),
    sources: {
      items: legacy.ip === undefined && legacy.ip6 === undefined ? "nft" : ["nft", "iptables"],
      "items.effect": "computed",
      "items.meaning": "computed",
    },
    commands: [
      "nft -s list ruleset",
      ...(legacy.ip === undefined ? [] : ["iptables-legacy-save"]),
      ...(legacy.ip6 === undefined ? [] : ["ip6tables-legacy-save"]),
    ],
    notes: packets.length > 0 ? [] : [
      `Without ${flags.subnetFile} nobody knows which packets are pods': only --all lists rules`,
    ],
    unknown: packets.length === 0 && !flags.all,
  };
}

/** The command with this node's network and port. */
function concrete({ command, ...finding }: Finding, { networks, vteps }: Overlay): Finding {
  if (command === undefined) return finding;
  const port = vteps.find(({ foreign }) => !foreign)?.port;
  return {
    ...finding,
    command: command.replaceAll("NETWORK", networks[0] ?? "NETWORK")
      .replaceAll("PORT", port === undefined ? "PORT" : String(port)),
  };
}
