/**
 * NetworkPolicy on this node: from the API to the kernel.
 *
 * What stands in the kernel stays there until everything is known, and when the API, or we, go away.
 * A change of the cluster is one transaction; a pod that the plugin adds waits for the one that
 * covers it.
 *
 * @module
 */

import { messageOf, OpError } from "../../engine/errors.ts";
import type { Ip } from "../../engine/ip.ts";
import { PolicyCompiler } from "../../engine/policy/compile.ts";
import { keyOf } from "../../engine/policy/model.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import type { PolicyState, PolicyStatus } from "../../engine/policy/status.ts";
import { MAP_NAMES, noPolicies, type PolicyTable } from "../../engine/policy/table.ts";
import type { Poller } from "../../ffi/poll.ts";
import type { KubeClient } from "../kube/client.ts";
import type { WatchTimes } from "../kube/list_watch.ts";
import type { Log } from "../log.ts";
import { Ending, Timers } from "../scope.ts";
import { Backoff, breathing, Pulse, Turns } from "../wait.ts";
import { bridgeProblem } from "./bridge_netfilter.ts";
import { ClusterFeeds } from "./cluster.ts";
import { Enforcer } from "./enforcer.ts";
import { NamespacesFile } from "./namespaces_file.ts";
import { type Newcomer, Newcomers } from "./newcomers.ts";
import { PolicyCounts } from "./counts.ts";

/** What a {@link PolicyAgent} needs. */
export interface PolicyAgentOptions {
  readonly client: Pick<KubeClient, "open">;
  /** This node's name in the API. */
  readonly node: string;
  /** Family and name of the table. */
  readonly table: string;
  /** Echo requests pass whatever the policies say. */
  readonly ping: boolean;
  /** Where the namespaces with policies are written down. */
  readonly namespacesFile: string;
  readonly poller: Poller;
  readonly log: Log;
  /** Called once for each new reason why policies are not enforced. */
  readonly alarm: (reason: string) => void;
  /** Called when what {@link PolicyAgent.status} tells has changed. */
  readonly changed: () => void;
  /** For tests. */
  readonly times?: Partial<WatchTimes>;
}

/** How long a new pod waits until it is known, ms. */
const ADD_PATIENCE = 2_000;
/** Between two looks at the table when nobody has told of a change, ms. */
const TICK = 30_000;
/** Between two repairs of what somebody else keeps changing, ms. */
const RESTRAINT = 1_000;
/** Until a table that the kernel refuses is tried again, ms. */
const RETRY = { first: 500, cap: 30_000 } as const;

/** See the module. */
export class PolicyAgent {
  readonly #options: PolicyAgentOptions;
  readonly #log: Log;
  readonly #feeds: ClusterFeeds;
  readonly #compiler: PolicyCompiler;
  readonly #newcomers = new Newcomers();
  readonly #namespaces: NamespacesFile;
  readonly #timers = new Timers();
  readonly #retry = new Backoff(RETRY.first, RETRY.cap);
  readonly #synced = new Pulse();
  readonly #passes = new Turns(() => this.#pass());
  readonly counts = new PolicyCounts();
  #enforcer: Enforcer | undefined;
  #ending: Ending | undefined;
  #table: PolicyTable = noPolicies();
  #started = false;
  /** Why the kernel does not hold what it should. */
  #refusal: string | undefined;
  #alarmed = new Set<string>();
  #repaired = -Infinity;
  /** When the kernel last took what is wanted, `Date.now()`. */
  #taken: number | undefined;
  /** When the oldest news came that is not in the kernel yet. */
  #since: number | undefined;

  constructor(options: PolicyAgentOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#feeds = new ClusterFeeds(options.client, options.log, options.times);
    this.#compiler = new PolicyCompiler(options.node);
    this.#namespaces = new NamespacesFile(options.namespacesFile);
  }

  /**
   * Runs until the signal is aborted; the kernel then keeps what it has.
   *
   * @throws {OpError} when the kernel cannot be heard.
   */
  async run(signal: AbortSignal): Promise<void> {
    using timers = this.#timers;
    const { table, ping, poller } = this.#options;
    const touched = (): void => this.#repairSoon();
    using ending = new Ending(signal);
    this.#ending = ending;
    using enforcer = new Enforcer({ table, ping, poller, log: this.#log, touched });
    this.#enforcer = enforcer;
    timers.every(TICK, () => {
      enforcer.look();
      this.#sound();
    });
    try {
      await this.#feeds.run(ending.signal, () => this.#heard(), () => this.#sound());
      if (!signal.aborted) throw ending.signal.reason;
    } finally {
      this.#enforcer = undefined;
      // It may work on another thread with what is about to be freed.
      await this.#passes.idle();
    }
  }

  /** What the status document tells. */
  status(): PolicyStatus {
    const { rules, elements } = this.#enforcer?.counts() ?? { rules: 0, elements: 0 };
    const reasons = this.#reasons();
    const state: PolicyState = reasons.length > 0
      ? "degraded"
      : this.#taken === undefined
      ? "starting"
      : "on";
    return {
      state,
      reasons,
      policies: this.#compiler.policies,
      isolated: this.#compiler.isolated,
      rules,
      elements,
      held: [...this.#newcomers.held],
      faults: this.#compiler.faults().map((policy) => ({
        policy: keyOf(policy),
        reason: policy.fault ?? "",
      })),
    };
  }

  /** What is known of the cluster, for whoever asks why. */
  snapshot(): PolicySnapshot {
    const { node, table, ping } = this.#options;
    const { state, reasons } = this.status();
    return {
      node,
      table,
      ping,
      state,
      reasons,
      ...(this.#taken === undefined ? {} : { synced: this.#taken }),
      held: [...this.#newcomers.held],
      cluster: this.#compiler.cluster(),
    };
  }

  /** What the metrics page tells. */
  metrics(): string {
    return this.counts.text(this.status(), this.#enforcer?.drops() ?? new Map(), this.#table);
  }

  /**
   * Covers a pod that was just added. Returns when the kernel holds its policies; or, when they are
   * not known in time, nothing that is allowed for it. Never takes longer than two seconds and a
   * transaction.
   *
   * @throws {OpError} when the kernel refuses: then the pod must not start.
   */
  async admit(newcomer: Newcomer): Promise<void> {
    const key = keyOf(newcomer);
    this.#newcomers.place(newcomer);
    const late = AbortSignal.timeout(ADD_PATIENCE);
    for (;;) {
      const { count } = this.#synced;
      if (this.#started) {
        const pod = this.#compiler.pod(key);
        const isKnown = pod !== undefined && (newcomer.uid === "" || pod.uid === newcomer.uid);
        // Where no policy is, it does not matter who the pod is.
        if (!this.#compiler.hasPolicies(newcomer.namespace)) {
          return this.#isClean(newcomer) ? undefined : this.#cover();
        }
        if (isKnown) return this.#cover();
      } else if (this.#feeds.problems.some(({ denied }) => denied)) {
        // Nothing will come soon. Where there never were rights no namespace is written down.
        return this.#hold(newcomer);
      }
      try {
        await this.#synced.next(count, late);
      } catch {
        return this.#hold(newcomer);
      }
    }
  }

  /** The kernel has no policy for its addresses, from whoever had them before. */
  #isClean({ ips }: Newcomer): boolean {
    return !this.#passes.busy && this.#newcomers.held.size === 0 &&
      ips.every((ip) => MAP_NAMES.every((name) => !this.#table.maps[name].has(ip)));
  }

  /** Brings newcomers into the kernel. @throws {OpError} */
  #cover(): Promise<void> {
    return this.#passes.run();
  }

  async #hold(newcomer: Newcomer): Promise<void> {
    if (!this.#started && !this.#namespaces.has(newcomer.namespace)) return;
    this.#log.warn("Nothing is allowed for a new pod until its labels are known", {
      pod: keyOf(newcomer),
      addresses: newcomer.ips.join(","),
    });
    this.#newcomers.hold(newcomer.ips);
    this.#options.changed();
    if (this.#started) await this.#cover();
    else this.#enforcer?.hold(newcomer.ips);
  }

  /** News from the API. */
  #heard(): void {
    this.#since ??= performance.now();
    if (this.#feeds.synced) this.#passSoon();
  }

  /** A pass for nobody in particular. */
  #passSoon(): void {
    this.#ending?.goOn(
      this.#passes.run().catch((e) => {
        // It is told already, and tried again.
        if (!(e instanceof OpError)) throw e;
      }),
    );
  }

  /**
   * Brings all that is known into the kernel.
   *
   * @throws {OpError} when the kernel refuses.
   */
  async #pass(): Promise<void> {
    const enforcer = this.#enforcer;
    if (enforcer === undefined || !this.#feeds.synced) return;
    // From now on a newcomer is part of the next pass, whatever this one has seen of it.
    this.#started = true;
    await this.#compile();
    const isFirst = this.#taken === undefined;
    try {
      await this.#enforce(enforcer);
      if (isFirst) {
        this.#log.info("Enforcing NetworkPolicy", {
          policies: this.#compiler.policies,
          isolated: this.#compiler.isolated,
        });
      }
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      this.#refusal = messageOf(e).slice(0, 500);
      this.#timers.once("retry", this.#retry.next(), () => this.#passSoon());
      throw e;
    } finally {
      this.#namespaces.write(this.#compiler.namespacesWithPolicies(), this.#log);
      this.#synced.raise();
      this.#sound();
    }
  }

  async #compile(): Promise<void> {
    const { placed, held } = this.#newcomers;
    await breathing(this.#compiler.steps({ ...this.#feeds.take(), placed, held }));
    this.#newcomers.settle(this.#compiler, this.#options.node);
    const { placed: still, held: stillHeld } = this.#newcomers;
    this.#table = this.#compiler.update({ placed: still, held: stillHeld });
  }

  /**
   * Addresses that stand in the kernel and that we know nothing of are held: a plugin without us
   * may have put them there, or they are of pods that the API does not show yet.
   *
   * @throws {OpError}
   */
  async #enforce(enforcer: Enforcer): Promise<void> {
    const knows = (ip: Ip): boolean =>
      this.#compiler.podAt(ip) !== undefined || this.#newcomers.held.has(ip);
    // What the news up to here was about will be in force; what comes meanwhile is of the next pass.
    const since = this.#since;
    this.#since = undefined;
    try {
      for (;;) {
        const strangers = await enforcer.apply(this.#table, knows);
        if (strangers.length === 0) break;
        this.#newcomers.hold(strangers);
        await this.#compile();
      }
    } catch (e) {
      this.#since = since;
      throw e;
    }
    this.#refusal = undefined;
    this.#taken = Date.now();
    this.#retry.reset();
    if (since !== undefined) this.counts.synced((performance.now() - since) / 1000);
  }

  #repairSoon(): void {
    const now = performance.now();
    const wait = Math.max(0, this.#repaired + RESTRAINT - now);
    this.#repaired = now + wait;
    this.counts.repaired();
    this.#timers.once("repair", wait, () => this.#passSoon());
  }

  #reasons(): string[] {
    const bridge = bridgeProblem(this.#compiler.isolated > 0);
    return [
      ...this.#feeds.problems.map(({ words, advice }) =>
        advice === undefined ? words : `${words}. ${advice}`
      ),
      ...(this.#refusal === undefined ? [] : [this.#refusal]),
      ...(bridge === undefined ? [] : [bridge]),
    ];
  }

  /** Something may have become wrong, or right. */
  #sound(): void {
    const reasons = new Set(this.#reasons());
    for (const reason of reasons) {
      if (this.#alarmed.has(reason)) continue;
      this.#log.error("NetworkPolicy is not fully enforced", { reason });
      this.#options.alarm(reason);
    }
    this.#alarmed = reasons;
    this.#options.changed();
  }
}
