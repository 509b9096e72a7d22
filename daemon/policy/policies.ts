/**
 * NetworkPolicy as the daemon runs it: off, or an agent as soon as this node's name is known.
 *
 * @module
 */

import type { AddedPod } from "../../cni/plugin.ts";
import { messageOf, OpError } from "../../engine/errors.ts";
import { NO_ENFORCEMENT, type PolicyStatus } from "../../engine/policy/status.ts";
import type { PolicySnapshot } from "../../engine/policy/snapshot.ts";
import { noPolicies, policyTable } from "../../engine/policy/table.ts";
import type { Poller } from "../../ffi/poll.ts";
import type { Flags } from "../flags.ts";
import { findAccess } from "../kube/access.ts";
import { KubeClient } from "../kube/client.ts";
import { nodeOfPod } from "../kube/node_name.ts";
import type { Log } from "../log.ts";
import { NodeEvents } from "../store/kube_events.ts";
import { nodeNaming } from "../store/kube_flags.ts";
import { Backoff, sleep } from "../wait.ts";
import { PolicyAgent } from "./agent.ts";
import { PolicyCounts } from "./counts.ts";
import { removePolicies } from "./enforcer.ts";
import { forgetNamespaces } from "./namespaces_file.ts";

/** The flags that are read here. */
export type PolicyFlags = Pick<
  Flags,
  | "network-policy"
  | "network-policy-ping"
  | "kube-subnet-mgr"
  | "kube-api-url"
  | "kubeconfig-file"
  | "node-name"
  | "instance"
>;

/** What {@link Policies} needs of the daemon. */
export interface PolicySurroundings {
  readonly poller: Poller;
  readonly log: Log;
  /** Where the namespaces with policies are written down. */
  readonly namespacesFile: string;
  /** Called when what is told has changed. */
  readonly changed: () => void;
}

/** Until this node's name is asked for again, ms. */
const RETRY = { first: 500, cap: 30_000 } as const;

/** See the module. */
export class Policies {
  readonly #flags: PolicyFlags;
  readonly #around: PolicySurroundings;
  #agent: PolicyAgent | undefined;
  /** While there is no agent: why. */
  #idle: Pick<PolicyStatus, "state" | "reasons"> = { state: "off", reasons: [] };

  constructor(flags: PolicyFlags, around: PolicySurroundings) {
    this.#flags = flags;
    this.#around = around;
  }

  /** What the status document tells. */
  status(): PolicyStatus {
    return this.#agent?.status() ?? { ...NO_ENFORCEMENT, ...this.#idle };
  }

  /** What is known of the cluster, for whoever asks why. */
  snapshot(): PolicySnapshot {
    return this.#agent?.snapshot() ?? {
      node: "",
      table: policyTable(this.#flags.instance),
      ping: this.#flags["network-policy-ping"],
      ...this.#idle,
      held: [],
      cluster: { pods: [], namespaces: [], policies: [] },
    };
  }

  /** Sentences for the probes: what is not enforced. */
  remarks(): string[] {
    const { state, reasons, faults } = this.status();
    return [
      ...(state === "off" ? [] : reasons.map((reason) => `NetworkPolicy: ${reason}`)),
      ...faults.map(({ policy, reason }) =>
        `NetworkPolicy ${policy} cannot be enforced as written, its pods are closed: ${reason}`
      ),
    ];
  }

  /** What the metrics page tells. */
  metrics(): string {
    return this.#agent?.metrics() ??
      new PolicyCounts().text(this.status(), new Map(), noPolicies());
  }

  /** Hears of each pod that was added; see `Call.admit`. */
  async admit(pod: AddedPod): Promise<void> {
    if (this.#agent !== undefined) return await this.#agent.admit(pod);
    if (this.#idle.state === "off") return;
    const { holdUnknown } = await import("../../cni/admit.ts");
    await holdUnknown(pod);
  }

  /**
   * Runs until the signal is aborted.
   *
   * @throws {OpError} with `on`, for what the operator must change.
   */
  async run(signal: AbortSignal): Promise<void> {
    try {
      await this.#run(signal);
    } catch (e) {
      if (signal.aborted) return;
      if (!(e instanceof OpError) || this.#flags["network-policy"] === "on") throw e;
      this.#agent = undefined;
      this.#idle = { state: "degraded", reasons: [e.message] };
      this.#around.log.error("NetworkPolicy is not enforced", { reason: e.message });
      this.#around.changed();
    }
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { log } = this.#around;
    const table = policyTable(this.#flags.instance);
    const wish = this.#flags["network-policy"];
    if (wish === "off") {
      this.#idle = { state: "off", reasons: ["--network-policy=off"] };
      if (removePolicies(table)) log.info("Removed the rules of NetworkPolicy", { table });
      // A plugin without us would go on to close new pods in these namespaces.
      forgetNamespaces(this.#around.namespacesFile);
      return;
    }
    if (wish === "auto" && !this.#knowsApi()) {
      this.#idle = { state: "off", reasons: ["no Kubernetes API is configured"] };
      return;
    }
    this.#idle = { state: "starting", reasons: [] };
    const access = await findAccess(
      { kubeconfig: this.#flags["kubeconfig-file"], apiUrl: this.#flags["kube-api-url"] },
      { env: variable },
    );
    using client = new KubeClient(access);
    const node = await this.#nodeName(client, signal);
    await using events = new NodeEvents(client, log, signal);
    const agent = new PolicyAgent({
      client,
      node,
      table,
      ping: this.#flags["network-policy-ping"],
      ...this.#around,
      alarm: (reason) => events.warn(node, "NetworkPolicyNotEnforced", reason),
    });
    this.#agent = agent;
    await agent.run(signal);
  }

  #knowsApi(): boolean {
    return this.#flags["kube-subnet-mgr"] || this.#flags["kubeconfig-file"] !== "" ||
      (variable("KUBERNETES_SERVICE_HOST") ?? "") !== "";
  }

  async #nodeName(client: KubeClient, signal: AbortSignal): Promise<string> {
    const naming = nodeNaming(this.#flags["node-name"], variable, Deno.hostname());
    if (naming.kind === "name") return naming.name;
    const retry = new Backoff(RETRY.first, RETRY.cap);
    for (;;) {
      try {
        return await nodeOfPod(client, naming, signal);
      } catch (e) {
        signal.throwIfAborted();
        const reason = messageOf(e);
        if (!(e instanceof OpError && this.#idle.reasons[0] === reason)) {
          this.#idle = { state: "starting", reasons: [reason] };
          this.#around.changed();
        }
      }
      await sleep(retry.next(), signal);
    }
  }
}

function variable(name: string): string | undefined {
  return Deno.env.get(name);
}
