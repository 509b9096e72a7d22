/**
 * Whether our rules stand as the daemon writes them: in our own table, in flannel's tables or in
 * flannel's chains. Pure.
 *
 * The daemon's choices (masquerade, forward rules, random ports) are not all written down, so what
 * is found is compared with the rules of every choice, and judged against the nearest.
 *
 * @module
 */

import { type ChainFact, type Fact, type RulesFact, slotOf } from "../../engine/fact.ts";
import { familyOf, networkOf } from "../../engine/ip.ts";
import {
  noFlannelChains,
  type OverlayNet,
  overlayRuleFacts,
  overlayTable,
  type RuleMode,
  ruleMode,
} from "../../engine/rules/overlay.ts";
import type { Finding } from "../finding.ts";
import { judged, together, unknown, type Verdict } from "./verdict.ts";
import type { NodeView } from "./view.ts";

const MODES: readonly RuleMode[] = ["twill", "flannel-nft", "iptables"];

/** The tables that may hold our rules. */
export const TABLES: readonly string[] = [
  overlayTable(""),
  "ip flannel-ipv4",
  "ip6 flannel-ipv6",
];

/** The chains that may hold them. */
export function ruleChains(): ChainFact[] {
  return noFlannelChains([4, 6]);
}

type Rules = RulesFact | ChainFact;

/** Judges them. */
export function judgeRules(
  view: Pick<NodeView, "overlay" | "known" | "rules" | "installed">,
): Verdict {
  const { overlay, known, rules } = view;
  const { file } = overlay;
  if (!view.installed || file.kind !== "read") return together();
  if (rules.kind !== "known") {
    return unknown("rules", rules.kind === "unknown" ? rules.why : "nothing was read");
  }
  const nets = overlay.subnets.flatMap((subnet): OverlayNet[] => {
    const network = overlay.networks.find((one) => familyOf(one) === familyOf(subnet));
    return network === undefined ? [] : [{ network, subnet: networkOf(subnet) }];
  });
  const { ipMasq } = file.env;
  const modes = known.leases === undefined ? MODES : [ruleMode(known.leases.conf.nftables)];
  const have = new Map(rules.value.map((fact) => [slotOf(fact), textOf(fact)]));
  const best = choices(ipMasq).flatMap((choice) =>
    modes.map((mode) => ({ mode, ...compare(wanted(nets, mode, choice), have) }))
  ).reduce((a, b) => b.missing.length + b.extra.length < a.missing.length + a.extra.length ? b : a);
  const { mode, missing, extra, places } = best;
  const findings: Finding[] = [];
  if (missing.length > 0) {
    findings.push({
      id: "rules-missing",
      subject: places.join(", "),
      short: "rules are missing",
      what: missing.length === best.total
        ? "there are none of the overlay's rules"
        : `${missing.length} of ${best.total} rules are missing: ${missing.join("; ")}`,
      breaks: ipMasq
        ? "pods may not reach anything outside: they leave with addresses that nobody outside " +
          "can answer, or are not forwarded at all"
        : "where the forward policy is DROP, no packet of a pod is forwarded",
      fix: mode === "twill"
        ? "twill's daemon writes them again by itself while it runs: see whether it does, and its log"
        : "where flanneld runs in nftables mode restart it; twill's daemon writes them again by itself",
      command: "systemctl restart twill",
    });
  }
  if (extra.length > 0) {
    findings.push({
      id: "rules-foreign",
      subject: places.join(", "),
      short: "rules of somebody else's",
      what: `between the overlay's rules stand others: ${extra.join("; ")}`,
      breaks: "packets of pods may be treated in a way that nobody expects",
      fix: "find out who made them; twill's daemon removes them by itself while it runs",
    });
  }
  return judged(
    "rules",
    best.total === 0
      ? "none are wanted, and there are none"
      : `${best.total} rules in ${places.join(", ")}, as the daemon writes them`,
    findings,
  );
}

interface Choice {
  readonly masquerade: boolean;
  readonly forward: boolean;
  readonly fullyRandom: boolean;
  readonly compat: boolean;
}

/** The usual choice first: of equals it wins. */
function choices(masquerade: boolean): Choice[] {
  const both = [true, false];
  return both.flatMap((forward) =>
    both.flatMap((fullyRandom) =>
      [false, true].map((compat) => ({ masquerade, forward, fullyRandom, compat }))
    )
  );
}

function wanted(nets: readonly OverlayNet[], mode: RuleMode, choice: Choice): Rules[] {
  return overlayRuleFacts(nets, { ...choice, mode, instance: "" }).filter((fact): fact is Rules =>
    (fact.kind === "rules" || fact.kind === "chain") && fact.text !== ""
  );
}

function textOf(fact: Fact): string {
  return fact.kind === "rules" || fact.kind === "chain" ? fact.text : "";
}

function compare(
  want: readonly Rules[],
  have: ReadonlyMap<string, string>,
): {
  readonly places: readonly string[];
  readonly total: number;
  readonly missing: readonly string[];
  readonly extra: readonly string[];
} {
  const missing: string[] = [];
  const extra: string[] = [];
  let total = 0;
  for (const fact of want) {
    const lines = linesOf(fact.text);
    const found = linesOf(have.get(slotOf(fact)) ?? "");
    total += lines.length;
    missing.push(...lines.filter((line) => !found.includes(line)));
    extra.push(...found.filter((line) => !lines.includes(line)));
  }
  const places = want.map((fact) =>
    fact.kind === "rules" ? `table ${fact.table}` : `chain ${fact.chain}`
  );
  return { places, total, missing, extra };
}

/** The rules of a text; the frame of tables and chains is told by the rules in it. */
function linesOf(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) =>
    line !== "" && !/^(?:table|chain|comment|-N) |^\}$|^type /.test(line)
  );
}
