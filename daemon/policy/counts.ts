/**
 * What the policy agent counts, in Prometheus' text format 0.0.4.
 *
 * @module
 */

import type { PolicyStatus } from "../../engine/policy/status.ts";
import type { PolicyTable } from "../../engine/policy/table.ts";
import { family, histogram } from "../metrics_text.ts";
import { LATENCY_BOUNDS } from "../state.ts";
import type { Drops } from "./enforcer.ts";

/** So many chains are shown by themselves; the rest is one sum. */
const MOST = 50;

/** See the module. */
export class PolicyCounts {
  readonly #latency = { buckets: LATENCY_BOUNDS.map(() => 0), sum: 0, count: 0 };
  #repairs = 0;

  /** News was in the kernel so many seconds after it came. */
  synced(seconds: number): void {
    const latency = this.#latency;
    LATENCY_BOUNDS.forEach((bound, i) => seconds <= bound && latency.buckets[i]!++);
    latency.sum += seconds;
    latency.count++;
  }

  /** The table was written anew because of others. */
  repaired(): void {
    this.#repairs++;
  }

  /** The part of the page. */
  text(status: PolicyStatus, drops: Drops, { chains }: PolicyTable): string {
    const most = [...drops].filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
    const rest = most.slice(MOST).reduce((sum, [, n]) => sum + n, 0);
    const policiesOf = (chain: string): string =>
      (chains.get(chain)?.rules ?? []).flatMap(({ verdict }) =>
        verdict.kind === "jump" && verdict.chain.includes("/")
          ? [verdict.chain.slice(verdict.chain.indexOf("/") + 1)]
          : []
      ).join(" ") || chain;
    const direction = (chain: string): string =>
      chain.startsWith("in-") ? "ingress" : chain.startsWith("out-") ? "egress" : "both";
    return [
      ...family("twill_policy_state", "gauge", "1 for what NetworkPolicy enforcement does", [
        [{ state: status.state }, 1],
      ]),
      ...family("twill_policies", "gauge", "NetworkPolicies of the cluster", [
        [{ state: "good" }, status.policies - status.faults.length],
        [{ state: "faulty" }, status.faults.length],
      ]),
      ...family("twill_policy_isolated_pods", "gauge", "Pods of this node that are isolated", [
        [{}, status.isolated],
      ]),
      ...family("twill_policy_held_addresses", "gauge", "Addresses whose pods are not known yet", [
        [{}, status.held.length],
      ]),
      ...family("twill_policy_rules", "gauge", "Rules of policies in the kernel", [
        [{}, status.rules],
      ]),
      ...family("twill_policy_elements", "gauge", "Elements of their sets and maps", [
        [{}, status.elements],
      ]),
      ...family(
        "twill_policy_repairs_total",
        "counter",
        "How often the rules were written anew because of others",
        [[{}, this.#repairs]],
      ),
      ...histogram(
        "twill_policy_sync_seconds",
        "From the API's word to the kernel",
        LATENCY_BOUNDS,
        this.#latency,
      ),
      ...family(
        "twill_policy_dropped_packets_total",
        "counter",
        "Packets that no policy allowed, by the policies that isolate the pod",
        [
          ...most.slice(0, MOST).map(([chain, n]) =>
            [{ direction: direction(chain), policies: policiesOf(chain) }, n] as const
          ),
          ...(rest > 0 ? [[{ direction: "any", policies: "others" }, rest] as const] : []),
        ],
      ),
      "",
    ].join("\n");
  }
}
