/**
 * The node agent: from a store to a kernel that holds what the leases say, for ever.
 *
 * Start: configuration → backend → interface → lease. Then one loop: whatever says "look again"
 * (a new snapshot, a kernel event, the slow tick, a pass that left something undone) raises one
 * mark, and each pass uses the newest snapshot. There is no queue of events.
 *
 * What is missing is waited for and told (`/readyz`, the log), never a reason to exit; only what
 * the operator must change ends the start.
 *
 * @module
 */

import type { Backend, Self } from "../engine/backend/backend.ts";
import { makeBackend } from "../engine/backend/registry.ts";
import { OpError } from "../engine/errors.ts";
import { describe, type Fact } from "../engine/fact.ts";
import type { NetConf } from "../engine/net_conf.ts";
import { plan } from "../engine/plan.ts";
import {
  noFlannelChains,
  overlayRuleFacts,
  ruleMode,
  type RulePlace,
} from "../engine/rules/overlay.ts";
import type { SubnetEnv } from "../engine/subnet_env.ts";
import type { KernelEvent } from "../ffi/events.ts";
import { hasIptables } from "../ffi/iptables_sync.ts";
import { Kernel } from "../ffi/kernel.ts";
import { Overrun } from "../ffi/netlink/socket.ts";
import type { Poller } from "../ffi/poll.ts";
import { version as versionOf } from "../version.ts";
import { attend, type Attendant } from "./attendant.ts";
import { planBridge, podsOfOldSubnets, viewBridge } from "./bridge.ts";
import { lastResort, overlayNets, tableOf } from "./common_facts.ts";
import { Converger, peersOf, type Report, type Wish } from "./converge.ts";
import type { ConflistFile } from "./conflist_file.ts";
import type { Health } from "./health.ts";
import type { Chosen } from "./interface.ts";
import type { Log } from "./log.ts";
import { isOther, Membership, type MembershipOptions } from "./membership.ts";
import { metricsText } from "./metrics.ts";
import type { Revision } from "./revision.ts";
import { NodeState, type Pass } from "./state.ts";
import type { Snapshot, Store } from "./store/store.ts";
import { firstAddress, subnetEnvOf, SubnetFile } from "./subnet_file.ts";
import { Ending, Timers } from "./scope.ts";
import { Backoff, Mark, sleep } from "./wait.ts";
import { KernelWatch } from "./watch.ts";
import { openKeys, type SecretFiles, withPsk } from "./wireguard_keys.ts";

/** What the operator chose for this node. */
export interface NodeOptions extends MembershipOptions, Omit<RulePlace, "mode"> {
  readonly subnetFile: string;
  /** Where a backend that encrypts keeps its keys. */
  readonly secrets: SecretFiles;
  /** Written when the node is ready; absent: none. */
  readonly conflist?: ConflistFile;
  /** `--ip-blackhole-route` */
  readonly blackhole: boolean;
  /** The one wait of the daemon. */
  readonly poller: Poller;
}

/** Milliseconds between two passes when nothing says that one is needed. */
const TICK = 30_000;
/** Milliseconds until something undone is tried again: at first, and at most. */
const RETRY = { first: 500, cap: 30_000 } as const;

/** What the loop works on. */
interface Node {
  readonly kernel: Kernel;
  readonly backend: Backend;
  readonly conf: NetConf;
  readonly membership: Membership;
  readonly attendant: Attendant | undefined;
  chosen: Chosen;
  /** The underlay follows the interface, the lease follows the store's word. */
  self: Self;
}

/** The agent of one node. */
export class NodeAgent {
  readonly #store: Store;
  readonly #options: NodeOptions;
  readonly #log: Log;
  readonly #file: SubnetFile;
  readonly #state: NodeState;
  #wanted: readonly Fact[] = [];
  #othersRemoved = false;
  /** Asks for a pass; undefined before the loop. */
  #look: ((why: string) => void) | undefined;

  constructor(store: Store, options: NodeOptions, log: Log, onReady: () => void = () => {}) {
    this.#store = store;
    this.#options = options;
    this.#log = log;
    this.#file = new SubnetFile(options.subnetFile);
    this.#state = new NodeState(log, onReady);
  }

  /** What the probes tell now. */
  health(): Health {
    return this.#state.health(this.#store.name, this.#store.status());
  }

  /** What the status socket tells now, but for what only the program as a whole knows. */
  status(): ReturnType<NodeState["status"]> {
    return this.#state.status(this.#store.name, this.#store.status());
  }

  /** Raised by every change of {@link NodeAgent.status}. */
  get revision(): Revision {
    return this.#state.revision;
  }

  /** What the metrics page tells now. */
  metrics(): string {
    const { version, commit } = versionOf();
    return metricsText({
      ready: this.health().reasons.length === 0,
      counts: this.#state.counts,
      report: this.#state.report,
      store: this.#store.status(),
      packets: this.#state.attendant?.packets?.(),
      now: Date.now(),
      version,
      commit,
    });
  }

  /**
   * Runs until the signal is aborted; the data plane stays as it is then.
   *
   * @throws {OpError} for what the operator must change: configuration, backend.
   * @throws the signal's reason.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { secrets } = this.#options;
    const conf = withPsk(await this.#store.config(signal), secrets);
    const backend = makeBackend(conf);
    const keys = backend.encrypts ? await openKeys(secrets, this.#log) : undefined;
    this.#log.info("Found network config", { backend: backend.type });
    this.#state.conf = conf;
    using kernel = Kernel.open();
    kernel.enlarge();
    await using attendant = attend(conf, {
      poller: this.#options.poller,
      log: this.#log,
      changed: () => {
        this.#state.revision.raise();
        this.#look?.("commands ended");
      },
    });
    this.#state.attendant = attendant;
    this.#state.waitingFor = "the backend's own start";
    const published = await attendant?.begin?.(signal);
    this.#state.waitingFor = "what the store knows of this node";
    const membership = new Membership({
      kernel,
      backend,
      conf,
      store: this.#store,
      known: await this.#store.self(signal),
      ...(keys && { keys }),
      options: this.#options,
      published,
      log: this.#log,
    });
    this.#state.waitingFor = "an interface";
    const chosen = await this.#choose(membership, signal);
    this.#state.waitingFor = "a lease";
    const previous = this.#file.previous();
    for (const note of previous.notes) this.#log.warn(`Previous subnet file: ${note}`);
    const lease = await membership.join(chosen, previous, signal);
    this.#state.waitingFor = "the peers of the first snapshot to be programmed";
    const self = { underlay: chosen.underlay, lease, ...(keys && { keys }) };
    await this.#loop({ kernel, backend, conf, membership, attendant, chosen, self }, signal);
  }

  /**
   * Once, when our rules stand: those that flannel left in iptables, when they are not this
   * network's mode. The other way round there would be a moment without any.
   */
  #removeChains({ kernel, conf }: Node): void {
    if (this.#othersRemoved) return;
    this.#othersRemoved = true;
    if (this.#options.instance !== "" || ruleMode(conf.nftables) === "iptables") return;
    const chains = noFlannelChains(([4, 6] as const).filter(hasIptables));
    try {
      const { changes } = plan(chains, kernel.read({ chains }), () => true);
      for (const { change, error } of kernel.apply(changes)) {
        if (error !== undefined) this.#log.warn(error.message);
        else this.#log.info("Removed flannel's rules", { chain: describe(change.fact) });
      }
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      this.#log.warn("Cannot look for flannel's rules in iptables", { reason: e.message });
    }
  }

  /** The interface may come later than we do: waits for it. */
  async #choose(membership: Membership, signal: AbortSignal): Promise<Chosen> {
    const retry = new Backoff(RETRY.first, RETRY.cap);
    for (;;) {
      try {
        const chosen = membership.choose();
        membership.tell(chosen);
        this.#state.solved("interface");
        return chosen;
      } catch (e) {
        if (!(e instanceof OpError)) throw e;
        this.#state.trouble("interface", e);
      }
      await sleep(retry.next(), signal);
    }
  }

  async #loop(node: Node, outer: AbortSignal): Promise<void> {
    using ending = new Ending(outer);
    const { signal } = ending;
    const mark = new Mark();
    let newest: Snapshot | undefined;
    let seen: Snapshot | undefined;
    /** Why the kernel must be read; undefined while only leases can have changed. */
    let cause: string | undefined = "start";
    /** No interface fits: any that comes may be the one. */
    let lost = false;
    /** The interface may have changed. */
    let moved = false;
    const look = (why: string, event?: KernelEvent): void => {
      cause ??= why;
      moved ||= event === undefined || node.membership.follows(event.kind);
      mark.raise();
    };
    this.#look = look;
    const { poller } = this.#options;
    using watch = new KernelWatch(poller, node.kernel, () => ({
      anywhere: lost,
      devices: [...Object.values(node.backend.devices()), node.self.underlay.name],
      tables: this.#wanted.flatMap(tableOf),
    }), look);
    const converger = new Converger(node.kernel, node.backend);
    const retry = new Backoff(RETRY.first, RETRY.cap);
    using timers = new Timers();
    timers.every(TICK, () => look("slow tick"));
    ending.goOn((async () => {
      for await (const snapshot of this.#store.snapshots(signal)) {
        newest = snapshot;
        mark.raise();
      }
    })());

    for (;;) {
      await mark.wait(signal);
      if (newest === undefined) continue;
      // A burst of events is one change of the world.
      if (cause !== undefined) await sleep(this.#state.calm.settle(), signal);
      const why = cause;
      cause = undefined;
      if (moved && why !== "start") lost = !this.#reconsider(node, ending);
      moved = false;
      const snapshot = newest;
      const pass = (kind: Pass["kind"], because: string): boolean =>
        this.#pass(
          node,
          snapshot,
          kind,
          because,
          (wish) =>
            watch.during(() =>
              kind === "changed"
                ? converger.changed(wish, snapshot.leases)
                : converger.whole(wish, snapshot.leases)
            ),
        );
      // First what the leases say, so that what a look finds then is drift.
      const started = this.#state.report !== undefined;
      let done = true;
      if (started && snapshot !== seen) done = pass("changed", "leases changed");
      seen = snapshot;
      if (why !== undefined) done = pass(started ? "look" : "start", why);
      done &&= !lost;
      if (done) retry.reset();
      timers.once("retry", done ? undefined : retry.next(), () => look("retry"));
    }
  }

  /**
   * When the interface or its addresses changed: follows, and tells peers; the subnet is kept.
   * Returns false when no interface fits.
   */
  #reconsider(node: Node, ending: Ending): boolean {
    let chosen: Chosen;
    try {
      chosen = node.membership.choose();
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      // The data plane stays as it is: the interface may come back as it was.
      this.#state.trouble("interface", e);
      return false;
    }
    this.#state.solved("interface");
    if (!isOther(node.chosen, chosen)) return true;
    this.#log.warn("This node's interface or address has changed");
    node.membership.tell(chosen);
    node.chosen = chosen;
    node.self = { ...node.self, underlay: chosen.underlay };
    ending.replace("join", (signal) => node.membership.join(chosen, node.self.lease, signal));
    return true;
  }

  /** One pass. Returns false when something is left to be tried again soon. */
  #pass(
    node: Node,
    snapshot: Snapshot,
    kind: Pass["kind"],
    cause: string,
    run: (wish: Wish) => Report,
  ): boolean {
    const lease = snapshot.own ?? node.self.lease;
    if (lease !== node.self.lease) node.self = { ...node.self, lease };
    const { self, conf, backend } = node;
    this.#state.works(self, snapshot);
    const env = subnetEnvOf(conf, lease, backend.podMtu(self.underlay), this.#options.masquerade);
    const started = performance.now();
    try {
      const gone = this.#file.retract(env);
      if (gone.length > 0) {
        const words = "The subnet has changed; no pod starts until the new one is programmed";
        this.#log.warn(words, { before: gone.join(",") });
      }
      node.attendant?.follow(self, peersOf(self, snapshot.leases));
      const report = run({ self, common: this.#common(node) });
      if (kind !== "changed" || gone.length > 0) this.#tendBridge(node);
      this.#state.passed({ report, cause, kind, took: performance.now() - started });
      if (report.own.length === 0) this.#removeChains(node);
      // A remembered lease may have run out: pods that run go on, new ones wait.
      const sure = this.#store.status().remembered === undefined;
      const able = (node.attendant?.troubles?.().reasons ?? []).length === 0;
      if (report.own.length === 0 && sure && able) this.#announce(env);
      this.#state.solved("pass");
      return report.own.length === 0 && report.refused.length === 0;
    } catch (e) {
      if (!(e instanceof OpError || e instanceof Overrun)) throw e;
      this.#state.trouble("pass", e);
      return false;
    }
  }

  /** After the subnet has changed: the new gateway comes on the bridge, the old one goes if it can. */
  #tendBridge({ kernel, conf, self }: Node): void {
    const view = viewBridge(kernel);
    if (view === undefined) return;
    const nets = overlayNets(conf, self).map(({ network, subnet }) => ({
      network,
      gateway: firstAddress(subnet),
    }));
    const { changes } = planBridge(view, nets);
    for (const { change, error } of kernel.apply(changes)) {
      if (error !== undefined) this.#log.warn(error.message);
      else {this.#log.info("Bridge follows the subnet", {
          op: change.op,
          address: describe(change.fact),
        });}
    }
    this.#state.oldPods = view.hasPorts ? podsOfOldSubnets(view, nets) : [];
  }

  /** The facts beside the backend's; the same objects as long as they say the same. */
  #common({ conf, self }: Node): readonly Fact[] {
    const nets = overlayNets(conf, self);
    const { blackhole } = this.#options;
    const wanted: Fact[] = [
      ...overlayRuleFacts(nets, { ...this.#options, mode: ruleMode(conf.nftables) }),
      ...(blackhole ? nets.map(({ subnet }) => lastResort(subnet)) : []),
    ];
    if (JSON.stringify(wanted) !== JSON.stringify(this.#wanted)) this.#wanted = wanted;
    return this.#wanted;
  }

  /** Everything is in place: lets pods start. */
  #announce(env: SubnetEnv): void {
    if (this.#file.publish(env)) this.#log.info(`Wrote subnet file to ${this.#options.subnetFile}`);
    const { conflist } = this.#options;
    if (conflist?.publish()) this.#log.info(`Wrote CNI configuration to ${conflist.path}`);
    this.#state.waitingFor = undefined;
    this.#store.ready?.();
  }
}
