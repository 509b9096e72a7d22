/**
 * The node agent: from a store to a kernel that holds what the leases say, for ever.
 *
 * Start: configuration → backend → interface → lease. Then one loop: whatever says "look again"
 * (a new snapshot, the slow tick, a pass that left something undone) raises one mark, and each
 * pass uses the newest snapshot. There is no queue of events.
 *
 * What is missing is waited for and told (`/readyz`, the log), never a reason to exit; only what
 * the operator must change ends the start.
 *
 * @module
 */

import type { Backend, Self } from "../engine/backend/backend.ts";
import { makeBackend } from "../engine/backend/registry.ts";
import { OpError } from "../engine/errors.ts";
import type { Fact, RouteFact, RulesFact } from "../engine/fact.ts";
import type { Family, Ip } from "../engine/ip.ts";
import { type Lease, leaseKey, type LeaseRecord } from "../engine/lease.ts";
import { localMac, type Mac } from "../engine/mac.ts";
import { enabledFamilies, type NetConf } from "../engine/net_conf.ts";
import { overlayRulesFact, TABLE } from "../engine/rules/overlay.ts";
import type { SubnetEnv } from "../engine/subnet_env.ts";
import { Kernel } from "../ffi/kernel.ts";
import { Overrun } from "../ffi/netlink/socket.ts";
import { Poller } from "../ffi/poll.ts";
import { version as versionOf } from "../version.ts";
import { Converger, type Report, type Wish } from "./converge.ts";
import type { Health } from "./health.ts";
import { chooseInterface, type Chosen, type NodeView } from "./interface.ts";
import type { Log } from "./log.ts";
import { metricsText } from "./metrics.ts";
import { NodeState, type Pass } from "./state.ts";
import type { KnownSelf, Snapshot, Store } from "./store/store.ts";
import { subnetEnvOf, SubnetFile } from "./subnet_file.ts";
import { Backoff, Mark, sleep } from "./wait.ts";
import { KernelWatch } from "./watch.ts";

/** What the operator chose for this node. */
export interface NodeOptions {
  /** `--iface`, in order. */
  readonly ifaces: readonly string[];
  readonly publicIps: Readonly<Partial<Record<Family, Ip>>>;
  readonly subnetFile: string;
  /** `--ip-masq` */
  readonly masquerade: boolean;
  /** Not `--ip-masq-fully-random-disable`. */
  readonly fullyRandom: boolean;
  /** `--iptables-forward-rules` */
  readonly forward: boolean;
}

/** Milliseconds between two passes when nothing says that one is needed. */
const TICK = 30_000;
/** Milliseconds in which a burst of kernel events becomes one pass. */
const SETTLE = 10;
/** Milliseconds until something undone is tried again: at first, and at most. */
const RETRY = { first: 500, cap: 30_000 } as const;

/** The agent of one node. */
export class NodeAgent {
  readonly #store: Store;
  readonly #options: NodeOptions;
  readonly #log: Log;
  readonly #file: SubnetFile;
  readonly #state: NodeState;
  #rules: RulesFact | undefined;

  constructor(store: Store, options: NodeOptions, log: Log) {
    this.#store = store;
    this.#options = options;
    this.#log = log;
    this.#file = new SubnetFile(options.subnetFile);
    this.#state = new NodeState(log);
  }

  /** What the probes tell now. */
  health(): Health {
    return this.#state.health(this.#store.name, this.#store.status());
  }

  /** What the metrics page tells now. */
  metrics(): string {
    const { version, commit } = versionOf();
    return metricsText({
      ready: this.health().reasons.length === 0,
      counts: this.#state.counts,
      report: this.#state.report,
      store: this.#store.status(),
      now: Date.now(),
      version,
      commit,
    });
  }

  /**
   * Runs until the signal is aborted; the data plane stays as it is then.
   *
   * @throws {OpError} for what the operator must change: configuration, backend.
   */
  async run(signal: AbortSignal): Promise<void> {
    const conf = await this.#store.config(signal);
    const backend = makeBackend(conf);
    this.#log.info("Found network config", { backend: backend.type });
    using kernel = Kernel.open();
    kernel.enlarge();

    const known = await this.#store.self(signal);
    this.#state.waitingFor = "an interface";
    const chosen = await this.#choose(kernel, conf, known, signal);
    backend.admit(chosen.underlay, chosen.publicIps);
    this.#state.waitingFor = "a lease";
    const lease = await this.#acquire(kernel, backend, chosen, known, signal);
    this.#state.waitingFor = "the peers of the first snapshot to be programmed";
    await this.#loop({ kernel, backend, conf, self: { underlay: chosen.underlay, lease } }, signal);
  }

  /** The interface may come later than we do: waits for it. */
  async #choose(
    kernel: Kernel,
    conf: NetConf,
    known: KnownSelf,
    signal: AbortSignal,
  ): Promise<Chosen> {
    const { ifaces, publicIps } = this.#options;
    const wish = {
      families: enabledFamilies(conf),
      ifaces,
      publicIps: {
        ...(known.publicIp && { 4: known.publicIp }),
        ...(known.publicIp6 && { 6: known.publicIp6 }),
        ...publicIps,
      },
    };
    const retry = new Backoff(RETRY.first, RETRY.cap);
    for (;;) {
      try {
        const chosen = chooseInterface(viewOf(kernel), wish);
        const { underlay, because } = chosen;
        for (const address of Object.values(underlay.addresses)) {
          this.#log.info(`Using interface with name ${underlay.name} and address ${address}`, {
            because,
            mtu: underlay.mtu,
          });
        }
        this.#state.solved();
        return chosen;
      } catch (e) {
        this.#state.trouble(e);
      }
      await sleep(retry.next(), signal);
    }
  }

  async #acquire(
    kernel: Kernel,
    backend: Backend,
    { publicIps }: Chosen,
    { lease: before }: KnownSelf,
    signal: AbortSignal,
  ): Promise<Lease> {
    const published = backend.publish(vtepMacs(kernel, backend, before));
    const record: LeaseRecord = {
      ...(publicIps[4] && { publicIp: publicIps[4] as NonNullable<LeaseRecord["publicIp"]> }),
      ...(publicIps[6] && { publicIp6: publicIps[6] as NonNullable<LeaseRecord["publicIp6"]> }),
      backendType: backend.leaseType,
      ...(published[4] !== undefined && { backendData: published[4] }),
      ...(published[6] !== undefined && { backendV6Data: published[6] }),
    };
    const previous = this.#file.previous();
    for (const note of previous.notes) this.#log.warn(`Previous subnet file: ${note}`);
    const lease = await this.#store.acquire({ record, previous }, signal);
    this.#log.info("Lease acquired", {
      subnet: lease.subnet,
      subnet6: lease.subnet6,
      before: before === undefined ? undefined : leaseKey(before),
    });
    return lease;
  }

  async #loop(node: Node, signal: AbortSignal): Promise<void> {
    const { kernel, backend, self } = node;
    const mark = new Mark();
    let newest: Snapshot | undefined;
    let seen: Snapshot | undefined;
    /** Why the kernel must be read; undefined while only leases can have changed. */
    let cause: string | undefined = "start";
    const look = (why: string): void => {
      cause ??= why;
      mark.raise();
    };
    await using poller = new Poller();
    const concerns = {
      devices: [...Object.values(backend.devices()), self.underlay.name],
      tables: [TABLE],
    };
    using watch = new KernelWatch(poller, kernel, concerns, look);
    const converger = new Converger(kernel, backend);
    const tick = setInterval(() => look("slow tick"), TICK);
    let again: ReturnType<typeof setTimeout> | undefined;
    const retry = new Backoff(RETRY.first, RETRY.cap);
    const listening = (async () => {
      for await (const snapshot of this.#store.snapshots(signal)) {
        newest = snapshot;
        mark.raise();
      }
    })();
    try {
      for (;;) {
        await mark.wait(signal);
        if (newest === undefined) continue;
        // A burst of events is one change of the world.
        if (cause !== undefined) await sleep(SETTLE, signal);
        clearTimeout(again);
        const why = cause;
        cause = undefined;
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
        if (done) retry.reset();
        else again = setTimeout(() => look("retry"), retry.next());
      }
    } finally {
      clearInterval(tick);
      clearTimeout(again);
      await listening;
    }
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
    const env = subnetEnvOf(conf, lease, backend.podMtu(self.underlay), this.#options.masquerade);
    const started = performance.now();
    try {
      const gone = this.#file.retract(env);
      if (gone.length > 0) {
        const words = "The subnet has changed; no pod starts until the new one is programmed";
        this.#log.warn(words, { before: gone.join(",") });
      }
      const report = run({ self, common: this.#common(node) });
      this.#state.passed({ report, cause, kind, took: performance.now() - started });
      // A remembered lease may have run out: pods that run go on, new ones wait.
      const sure = this.#store.status().remembered === undefined;
      if (report.own.length === 0 && sure) this.#announce(env);
      this.#state.solved();
      return report.own.length === 0 && report.refused.length === 0;
    } catch (e) {
      if (!(e instanceof OpError || e instanceof Overrun)) throw e;
      this.#state.trouble(e);
      return false;
    }
  }

  /** The rules; the same object as long as they say the same. */
  #common({ conf, self }: Node): readonly Fact[] {
    const nets = enabledFamilies(conf).flatMap((family) => {
      const { network } = conf.families[family];
      const subnet = family === 4 ? self.lease.subnet : self.lease.subnet6;
      return network === undefined || subnet === undefined ? [] : [{ network, subnet }];
    });
    const { masquerade, forward, fullyRandom } = this.#options;
    const rules = overlayRulesFact(nets, { masquerade, forward, fullyRandom });
    if (this.#rules?.text !== rules.text) this.#rules = rules;
    return [this.#rules ?? rules];
  }

  /** Everything is in place: lets pods start. */
  #announce(env: SubnetEnv): void {
    if (this.#file.publish(env)) this.#log.info(`Wrote subnet file to ${this.#options.subnetFile}`);
    this.#state.waitingFor = undefined;
  }
}

/** What the loop works on. */
interface Node {
  readonly kernel: Kernel;
  readonly backend: Backend;
  readonly conf: NetConf;
  /** The lease follows the store's word. */
  self: Self;
}

function viewOf(kernel: Kernel): NodeView {
  const routes = kernel.read({ routes: true })
    .filter((fact): fact is RouteFact => fact.kind === "route");
  return { links: kernel.links("host"), addresses: kernel.addresses("host"), routes };
}

/** The MAC addresses of our VTEPs: of devices that exist, else of the last lease, else new ones. */
function vtepMacs(
  kernel: Kernel,
  backend: Backend,
  before: Lease | undefined,
): Partial<Record<Family, Mac>> {
  const known: Readonly<Record<string, Mac>> = before === undefined ? {} : backend.macsOf(before);
  return Object.fromEntries(
    Object.entries(backend.devices()).map(([family, device]) => [
      family,
      kernel.link("host", device)?.mac ?? known[family] ??
        localMac(crypto.getRandomValues(new Uint8Array(6))),
    ]),
  );
}
