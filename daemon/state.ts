/**
 * What the agent knows about itself: what it waits for, what the last pass left undone, and what
 * it has counted. The probes, the metrics and the log are made of this.
 *
 * @module
 */

import { messageOf, OpError } from "../engine/errors.ts";
import type { Self } from "../engine/backend/backend.ts";
import type { Fact } from "../engine/fact.ts";
import type { NetConf } from "../engine/net_conf.ts";
import type { NodeStatus, PassStatus } from "../engine/node_status.ts";
import type { Change } from "../engine/plan.ts";
import type { Attendant } from "./attendant.ts";
import { Calm } from "./calm.ts";
import type { Report } from "./converge.ts";
import type { Health } from "./health.ts";
import type { Log } from "./log.ts";
import { Revision } from "./revision.ts";
import type { Snapshot, StoreStatus } from "./store/store.ts";

/** Upper bounds of the latency histogram, seconds. */
export const LATENCY_BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5] as const;

/** What was counted since the start. */
export interface Counts {
  /** Passes, by whether they read the kernel. */
  readonly passes: { whole: number; changed: number };
  /** Facts put right that nobody but us should have touched, by kind. */
  readonly drift: Map<Fact["kind"], number>;
  /** Passes at or below each of {@link LATENCY_BOUNDS}, then all of them. */
  readonly latency: { readonly buckets: number[]; sum: number; count: number };
}

/** One pass, for the books. */
export interface Pass {
  readonly report: Report;
  /** Why it ran, in words. */
  readonly cause: string;
  /** `start`: nothing was known. `changed`: leases changed. `look`: the kernel may have drifted. */
  readonly kind: "start" | "changed" | "look";
  /** How long it took, ms. */
  readonly took: number;
}

/** What can fail and is tried again: the choice of the interface, a pass. */
export type Work = "interface" | "pass";

/** The books of one agent. */
export class NodeState {
  readonly #log: Log;
  readonly #onReady: () => void;
  #waitingFor: string | undefined = "the network configuration";
  /** What goes wrong now, by the work that it stops. */
  readonly #problems = new Map<Work, string>();
  #report: Report | undefined;
  #pass: PassStatus | undefined;
  /** What the node works on, as far as it got. */
  #conf: NetConf | undefined;
  #self: Self | undefined;
  #snapshot: Snapshot | undefined;
  /** Raised by every change of what {@link NodeState.status} tells. */
  readonly revision = new Revision();
  /** Tells what does not work beside the loop. */
  attendant: Pick<Attendant, "troubles" | "packets"> | undefined;
  /** How fast repairs are answered, and how often they are logged. */
  readonly calm = new Calm();
  /** Pods that still live in a subnet that is no longer this node's. */
  oldPods: readonly string[] = [];
  /** What was logged of each peer that is not programmed, so that it is logged once. */
  readonly #told = new Map<string, string>();
  readonly counts: Counts = {
    passes: { whole: 0, changed: 0 },
    drift: new Map(),
    latency: { buckets: LATENCY_BOUNDS.map(() => 0), sum: 0, count: 0 },
  };

  /** @param onReady called once, when the start is over. */
  constructor(log: Log, onReady: () => void) {
    this.#log = log;
    this.#onReady = onReady;
  }

  /** The start now waits for this; undefined: it is over, the node is ready. */
  set waitingFor(what: string | undefined) {
    const ready = what === undefined && this.#waitingFor !== undefined;
    this.#waitingFor = what;
    this.revision.raise();
    if (!ready) return;
    this.#log.info("flannel is ready");
    this.#onReady();
  }

  /** The newest pass. */
  get report(): Report | undefined {
    return this.#report;
  }

  /** A failure that is tried again: shown by the probes until {@link NodeState.solved}, logged once. */
  trouble(work: Work, problem: unknown): void {
    const words = messageOf(problem);
    const advice = problem instanceof OpError ? problem.advice : undefined;
    if (this.#problems.get(work) === words) return;
    this.#log.error(words, { advice });
    this.#problems.set(work, words);
    this.revision.raise();
  }

  /** This work succeeds again. */
  solved(work: Work): void {
    if (this.#problems.delete(work)) this.revision.raise();
  }

  /** The network configuration is known. */
  set conf(conf: NetConf) {
    this.#conf = conf;
    this.revision.raise();
  }

  /** What the next pass works on. */
  works(self: Self, snapshot: Snapshot): void {
    if (this.#self === self && this.#snapshot === snapshot) return;
    this.#self = self;
    this.#snapshot = snapshot;
    this.revision.raise();
  }

  /** Books a pass, and logs what is new in it. */
  passed({ report, cause, kind, took }: Pass): void {
    this.#report = report;
    this.#book(report, cause, took);
    const { passes, drift, latency } = this.counts;
    passes[kind === "changed" ? "changed" : "whole"]++;
    latency.sum += took / 1000;
    latency.count++;
    LATENCY_BOUNDS.forEach((bound, i) => {
      if (took / 1000 <= bound) latency.buckets[i] = (latency.buckets[i] ?? 0) + 1;
    });
    if (kind === "look") {
      for (const { fact } of report.changes) drift.set(fact.kind, (drift.get(fact.kind) ?? 0) + 1);
    }
    const { peers, programmed, changes } = report;
    const drifted = kind === "look" && changes.length > 0;
    const unsaid = this.calm.looked(performance.now(), drifted);
    if (changes.length > 0 && (!drifted || unsaid !== undefined)) {
      const words = drifted ? "Drift repaired" : "Kernel brought up to date";
      this.#log.info(words, {
        cause,
        changes: kindsOf(changes),
        peers,
        programmed,
        ms: Math.round(took),
        unsaid: unsaid || undefined,
      });
    }
    this.#tellPeers(report);
  }

  #book(
    { refused, bad, own, peers, programmed, changes }: Report,
    cause: string,
    took: number,
  ): void {
    const before = this.#pass;
    this.#pass = {
      at: Date.now(),
      cause,
      took,
      changes: changes.length,
      peers,
      programmed,
      refused,
      unusable: bad,
      own,
    };
    const said = ({ at: _, took: __, cause: ___, ...rest }: PassStatus): string =>
      JSON.stringify(rest);
    if (before === undefined || said(before) !== said(this.#pass)) this.revision.raise();
  }

  #tellPeers({ refused, bad, own }: Report): void {
    const present = new Map([...refused, ...bad, ...own].map(({ who, reason }) => [who, reason]));
    for (const who of this.#told.keys()) {
      if (present.has(who)) continue;
      this.#told.delete(who);
      this.#log.info("Programmed at last", { who });
    }
    for (const [who, reason] of present) {
      if (this.#told.get(who) === reason) continue;
      this.#told.set(who, reason);
      this.#log.warn("Not programmed", { who, reason });
    }
  }

  /** What the status socket tells now, but for what others know. */
  status(
    name: string,
    store: StoreStatus,
  ): Pick<NodeStatus, "revision" | "reasons" | "remarks" | "store" | "uplink" | "leases" | "pass"> {
    const { reasons, remarks } = this.health(name, store);
    const [conf, self, snapshot] = [this.#conf, this.#self, this.#snapshot];
    return {
      revision: this.revision.number,
      reasons,
      remarks,
      store: {
        name,
        connected: store.connected,
        ...(store.problem === undefined ? {} : { problem: store.problem }),
        ...(store.remembered === undefined ? {} : { remembered: store.remembered }),
        bad: (snapshot?.bad ?? []).map(({ key, reason }) => ({ who: key, reason })),
      },
      ...(self && { uplink: { name: self.underlay.name, mtu: self.underlay.mtu } }),
      ...(conf && self && snapshot && {
        leases: {
          at: Date.now(),
          conf,
          own: self.lease,
          ...(store.leaseEnds === undefined ? {} : { ends: store.leaseEnds }),
          leases: snapshot.leases,
        },
      }),
      ...(this.#pass && { pass: this.#pass }),
    };
  }

  /** What the probes tell now. */
  health(store: string, { problem, bad, remembered }: StoreStatus): Health {
    const report = this.#report;
    const beside = this.attendant?.troubles?.() ?? { reasons: [], remarks: [] };
    const remarks = [
      ...(problem === undefined ? [] : [`store ${store}: ${problem}`]),
      ...(this.oldPods.length === 0 ? [] : [
        `restart these pods, their subnet is no longer this node's: ${this.oldPods.join(", ")}`,
      ]),
      ...(bad > 0 ? [`${bad} bad records in the store are left out`] : []),
      ...[...report?.refused ?? [], ...report?.bad ?? []].map(({ who, reason }) =>
        `peer ${who} is not reached: ${reason}`
      ),
      ...beside.remarks,
    ];
    const reasons = [
      ...(remembered === undefined ? [] : [
        `store ${store} does not answer; the data plane follows the snapshot of ${
          new Date(remembered).toISOString()
        }`,
      ]),
      ...(this.#waitingFor === undefined ? [] : [`waiting for ${this.#waitingFor}`]),
      ...this.#problems.values(),
      ...beside.reasons,
      ...(report?.own ?? []).map(({ who, reason }) => `${who}: ${reason}`),
    ];
    return { reasons, remarks };
  }
}

/** How many changes of each kind, in words: `2 route, 1 delete fdb`. */
function kindsOf(changes: readonly Change[]): string {
  const counts = new Map<string, number>();
  for (const { op, fact } of changes) {
    const kind = op === "delete" ? `delete ${fact.kind}` : fact.kind;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, count]) => `${count} ${kind}`).join(", ");
}
