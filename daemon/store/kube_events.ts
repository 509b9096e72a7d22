/**
 * Events of the node object, so that `kubectl describe node` tells what its network waits for. A
 * courtesy: what cannot be written is left out.
 *
 * @module
 */

import { ErrorCode, messageOf, OpError } from "../../engine/errors.ts";
import type { KubeClient } from "../kube/client.ts";
import type { Log } from "../log.ts";

/** See the module. */
export class NodeEvents {
  readonly #client: Pick<KubeClient, "json">;
  readonly #log: Log;
  readonly #signal: AbortSignal;
  readonly #work = new Set<Promise<void>>();
  /** We may not write events: no more are tried. */
  #denied = false;

  constructor(client: Pick<KubeClient, "json">, log: Log, signal: AbortSignal) {
    this.#client = client;
    this.#log = log;
    this.#signal = signal;
  }

  /**
   * Writes an event.
   *
   * @param reason one word in capitals, as in `NetworkNotReady`.
   */
  warn(node: string, reason: string, message: string): void {
    if (this.#denied || this.#signal.aborted) return;
    const work: Promise<void> = this.#write(node, reason, message).finally(() =>
      this.#work.delete(work)
    );
    this.#work.add(work);
  }

  async #write(node: string, reason: string, message: string): Promise<void> {
    const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const random = crypto.getRandomValues(new Uint8Array(8));
    try {
      await this.#client.json({
        verb: "create",
        resource: "events",
        method: "POST",
        path: "/api/v1/namespaces/default/events",
        body: {
          apiVersion: "v1",
          kind: "Event",
          metadata: { name: `${node}.${random.toHex()}`, namespace: "default" },
          // The kubelet, too, gives the name for the UID: that is how kubectl finds node events.
          involvedObject: { apiVersion: "v1", kind: "Node", name: node, uid: node },
          reason,
          message: message.slice(0, 1000),
          type: "Warning",
          source: { component: "twill", host: node },
          firstTimestamp: now,
          lastTimestamp: now,
          count: 1,
        },
        signal: this.#signal,
      });
    } catch (e) {
      this.#denied ||= e instanceof OpError && e.code === ErrorCode.denied;
      this.#log.debug("No event for the node", { reason: messageOf(e) });
    }
  }

  /** Waits for what is under way; after the signal that is short. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#work);
  }
}
