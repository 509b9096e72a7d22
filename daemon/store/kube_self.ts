/**
 * This node's part in the API: its annotations and its condition are made to say what they should,
 * now and whenever somebody changes them.
 *
 * @module
 */

import { type Lease, type LeaseRecord, leaseSubnets } from "../../engine/lease.ts";
import {
  type AnnotationKeys,
  type AnnotationPatch,
  annotationPatch,
  nodeSubnets,
  wantedAddresses,
} from "../../engine/lease_annotations.ts";
import type { NetConf } from "../../engine/net_conf.ts";
import { type KubeClient, PATCH_TYPE } from "../kube/client.ts";
import { KubeError } from "../kube/errors.ts";
import type { Log } from "../log.ts";
import { Backoff, Pulse, sleep } from "../wait.ts";
import { type KubeNode, NETWORK_IS_UP, readNode } from "./kube_node.ts";
import type { KubeTroubles } from "./kube_troubles.ts";

/** What a {@link KubeSelf} needs. */
export interface KubeSelfOptions {
  readonly client: Pick<KubeClient, "json" | "renew">;
  /** This node's name. */
  readonly name: string;
  readonly conf: NetConf;
  readonly keys: AnnotationKeys;
  /** The names that {@link readNode} keeps. */
  readonly kept: ReadonlySet<string>;
  /** `--set-node-network-unavailable` */
  readonly setCondition: boolean;
  readonly troubles: KubeTroubles;
  readonly log: Log;
  /** Bounds of the wait between two patches in a row, ms. */
  readonly again: { readonly first: number; readonly cap: number };
}

/** So many patches in so short a time are a fight over the node: then we wait between them, ms. */
const FIGHT = { patches: 6, within: 60_000 } as const;

/** See the module. */
export class KubeSelf {
  readonly #options: KubeSelfOptions;
  readonly #log: Log;
  /** Anything that the loop looks at has changed. */
  readonly #pulse = new Pulse();
  #node: KubeNode | undefined;
  /** The first list has been read: a node that is not there is missing. */
  #seen = false;
  /** What was asked for last. */
  #record: LeaseRecord | undefined;
  #ready = false;
  #lease: Lease | undefined;

  constructor(options: KubeSelfOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  /** The node object; undefined while there is none. */
  get node(): KubeNode | undefined {
    return this.#node;
  }

  /** The lease as peers see it; undefined before the API has it, and while the node is gone. */
  get lease(): Lease | undefined {
    return this.#lease;
  }

  /** The node object is like this now. */
  saw(node: KubeNode | undefined): void {
    if (this.#seen && node === this.#node) return;
    this.#node = node;
    this.#seen = true;
    this.#pulse.raise();
  }

  /** From now on the node is to say this. */
  wants(record: LeaseRecord): void {
    const before = this.#record;
    const moved = before?.publicIp !== record.publicIp || before?.publicIp6 !== record.publicIp6;
    if (before !== undefined && moved) this.#options.client.renew();
    this.#record = record;
    this.#lease = undefined;
    this.#pulse.raise();
  }

  /** The node's network is up. */
  ready(): void {
    if (this.#ready) return;
    this.#ready = true;
    this.#pulse.raise();
  }

  /**
   * Keeps the node right until the signal is aborted.
   *
   * @param changed called when {@link KubeSelf.lease} has changed.
   */
  async run(changed: () => void, signal: AbortSignal): Promise<void> {
    const { again, troubles } = this.#options;
    const backoff = new Backoff(again.first, again.cap);
    let patches: readonly number[] = [];
    while (!signal.aborted) {
      try {
        if (this.#look()?.patch !== undefined) {
          const now = performance.now();
          patches = [...patches.filter((at) => now - at < FIGHT.within), now];
          if (patches.length <= FIGHT.patches) backoff.reset();
          else await sleep(backoff.next(), signal);
        }
        const seen = this.#pulse.count;
        const work = this.#look();
        if (work === undefined) {
          await this.#pulse.next(seen, signal);
          continue;
        }
        const { lease, patch } = work;
        if (patch !== undefined) await this.#patch(patch, signal);
        troubles.over("publish");
        if (JSON.stringify(lease) !== JSON.stringify(this.#lease)) {
          this.#lease = lease;
          changed();
        }
        if (patch === undefined) await this.#pulse.next(seen, signal);
      } catch (e) {
        if (signal.aborted) return;
        troubles.is("publish", e);
        const least = e instanceof KubeError ? e.retryAfter ?? 0 : 0;
        await sleep(Math.max(least, backoff.next()), signal).catch(() => {});
      }
    }
  }

  /** What is to be published; undefined while something for it is missing. */
  #look(): { readonly lease: Lease; readonly patch: Patch | undefined } | undefined {
    const { name, conf, keys, setCondition, troubles } = this.#options;
    const [node, record] = [this.#node, this.#record];
    if (!this.#seen) return undefined;
    if (node === undefined) {
      const advice =
        "Is the kubelet running, and does it register under this name? Else set --node-name";
      troubles.is("node", `there is no node "${name}" in the API`, advice);
      this.#lease = undefined;
      return undefined;
    }
    troubles.over("node");
    if (record === undefined) return undefined;
    const { subnets, problems } = nodeSubnets(node, conf);
    const [problem] = Object.values(problems);
    if (problem === undefined) troubles.over("podCIDR");
    else troubles.is("podCIDR", problem, CIDR_ADVICE);
    if (leaseSubnets(subnets).length === 0) return undefined;
    const { addresses, problems: badAddresses } = wantedAddresses(node, keys.overwrite);
    if (badAddresses.length === 0) troubles.over("overwrite");
    else troubles.is("overwrite", badAddresses.join("; "), "It is ignored; correct or remove it");
    const published: LeaseRecord = {
      ...record,
      ...(addresses[4] && { publicIp: addresses[4] as NonNullable<LeaseRecord["publicIp"]> }),
      ...(addresses[6] && { publicIp6: addresses[6] as NonNullable<LeaseRecord["publicIp6"]> }),
    };
    const annotations = annotationPatch(published, node, keys);
    const isUp = node.network?.status === NETWORK_IS_UP.status &&
      node.network.reason === NETWORK_IS_UP.reason;
    const condition = setCondition && this.#ready && !isUp;
    const needed = Object.keys(annotations).length > 0 || condition;
    return {
      lease: { node: name, ...subnets, ...published },
      patch: needed ? { annotations, condition } : undefined,
    };
  }

  async #patch({ annotations, condition }: Patch, signal: AbortSignal): Promise<void> {
    const { name, client, kept } = this.#options;
    const before = this.#node;
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const times = { lastHeartbeatTime: now, lastTransitionTime: now };
    const answer = await client.json({
      verb: "patch",
      resource: "nodes/status",
      name,
      method: "PATCH",
      path: `/api/v1/nodes/${name}/status`,
      contentType: PATCH_TYPE.strategic,
      body: {
        ...(Object.keys(annotations).length > 0 && { metadata: { annotations } }),
        ...(condition && { status: { conditions: [{ ...NETWORK_IS_UP, ...times }] } }),
      },
      signal,
    });
    this.#log.info("Node object brought up to date", {
      annotations: Object.keys(annotations).map((key) => key.replace(/.*\//, "")).join(",") ||
        undefined,
      condition: condition ? `${NETWORK_IS_UP.type}=${NETWORK_IS_UP.status}` : undefined,
    });
    // What was heard meanwhile may be newer than the answer: then that counts.
    if (this.#node === before) this.saw(readNode(answer, kept, name));
  }
}

interface Patch {
  readonly annotations: AnnotationPatch;
  /** The condition is to be set. */
  readonly condition: boolean;
}

const CIDR_ADVICE =
  "Give the controller-manager --allocate-node-cidrs=true and --cluster-cidr=NETWORK (kubeadm: " +
  "podSubnet), with the Network of net-conf.json";
