/**
 * `/metrics`: the agent's books in Prometheus' text format 0.0.4. Pure.
 *
 * @module
 */

import { type Counts, LATENCY_BOUNDS } from "./state.ts";
import type { Report } from "./converge.ts";
import { family, histogram } from "./metrics_text.ts";
import type { StoreStatus } from "./store/store.ts";

/** What is shown. */
export interface Books {
  readonly ready: boolean;
  readonly counts: Counts;
  readonly report: Report | undefined;
  readonly store: StoreStatus;
  /** What the relay of backend udp did with packets; undefined with other backends. */
  readonly packets: Readonly<Record<string, number>> | undefined;
  /** `Date.now()`. */
  readonly now: number;
  readonly version: string;
  readonly commit: string;
}

/** The whole page. */
export function metricsText(books: Books): string {
  const { counts, report, store, packets, now } = books;
  const kinds = [...counts.drift].toSorted();
  return [
    ...family("twill_build_info", "gauge", "What runs here", [
      [{ version: books.version, commit: books.commit }, 1],
    ]),
    ...family("twill_ready", "gauge", "1 when the node is ready for pods", [
      [{}, books.ready ? 1 : 0],
    ]),
    ...family("twill_peers", "gauge", "Peers in the store, and those that the kernel reaches", [
      [{ state: "wanted" }, report?.peers ?? 0],
      [{ state: "programmed" }, report?.programmed ?? 0],
      [{ state: "refused" }, report?.refused.length ?? 0],
      [{ state: "unusable" }, report?.bad.length ?? 0],
    ]),
    ...family("twill_passes_total", "counter", "Passes of the converge loop", [
      [{ kind: "whole" }, counts.passes.whole],
      [{ kind: "changed" }, counts.passes.changed],
    ]),
    ...family(
      "twill_drift_repaired_total",
      "counter",
      "Facts that others changed and we put right",
      kinds.map(([kind, n]) => [{ kind }, n]),
    ),
    ...histogram("twill_apply_seconds", "How long a pass took", LATENCY_BOUNDS, counts.latency),
    ...family("twill_store_connected", "gauge", "1 when the store answers", [
      [{}, store.connected ? 1 : 0],
    ]),
    ...family("twill_store_bad_records", "gauge", "Records in the store that are no leases", [
      [{}, store.bad],
    ]),
    ...family("twill_store_gaps_total", "counter", "How often the leases were read anew", [
      [{}, store.gaps],
    ]),
    ...(packets === undefined ? [] : family(
      "twill_udp_packets_total",
      "counter",
      "Packets of the relay of backend udp, by what became of them",
      Object.entries(packets).map(([fate, n]) => [{ fate }, n]),
    )),
    ...(store.leaseEnds === undefined ? [] : family(
      "twill_lease_expiry_seconds",
      "gauge",
      "Seconds until this node's lease ends",
      [[{}, Math.round((store.leaseEnds - now) / 1000)]],
    )),
    "",
  ].join("\n");
}
