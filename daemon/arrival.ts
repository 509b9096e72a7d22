/**
 * `/probe/udp` on the health port: whether a datagram to the overlay's port arrives at this node.
 * `twill inspect check --probe` of another node asks, and sends the datagram meanwhile. The kernel
 * owns the port, so nobody can listen there; what comes in on the uplink can be seen nevertheless.
 *
 * Anybody who reaches the health port may ask, so little is done for it: a socket whose filter lets
 * only such datagrams through, for a moment, and only a few at once.
 *
 * @module
 */

import { vxlanOptions } from "../engine/backend/vxlan.ts";
import { messageOf, OpError } from "../engine/errors.ts";
import type { Family } from "../engine/ip.ts";
import type { NodeStatus } from "../engine/node_status.ts";
import { type Nonce, parseNonce } from "../engine/trace/nonce.ts";
import { ArrivalWatch } from "../ffi/arrivals.ts";
import { Kernel } from "../ffi/kernel.ts";
import type { Poller } from "../ffi/poll.ts";

/** How long a datagram is waited for, ms. */
const PATIENCE = 2_500;
/** Questions at once. */
const MOST = 4;

/** Answers such questions. */
export class ArrivalDesk {
  readonly #poller: Poller;
  readonly #status: () => Pick<NodeStatus, "uplink" | "leases">;
  #open = 0;

  /** @param status says which link and which port are the overlay's. */
  constructor(poller: Poller, status: () => Pick<NodeStatus, "uplink" | "leases">) {
    this.#poller = poller;
    this.#status = status;
  }

  /**
   * Waits for the datagram with this nonce.
   *
   * @param query `nonce`: 32 hexadecimal digits; `family`: 4 or 6.
   * @returns `{"seen": true}` as soon as it has come in, `{"seen": false}` after a while.
   */
  async answer(query: URLSearchParams, signal: AbortSignal): Promise<Response> {
    let nonce: Nonce;
    try {
      nonce = parseNonce(query.get("nonce") ?? "");
    } catch (e) {
      return refusal(400, `nonce: ${messageOf(e)}`);
    }
    const { uplink, leases } = this.#status();
    if (uplink === undefined || leases?.conf.backend.type !== "vxlan") {
      return refusal(409, "this node has no vxlan overlay yet");
    }
    if (this.#open >= MOST) {
      return refusal(503, `${MOST} such questions are being answered already`);
    }
    const family: Family = query.get("family") === "6" ? 6 : 4;
    const { port } = vxlanOptions(leases.conf);
    this.#open++;
    try {
      const seen = await this.#wait({ name: uplink.name, family, port, nonce }, signal);
      return Response.json({ schema: 1, seen, port, dev: uplink.name });
    } catch (e) {
      if (!(e instanceof OpError)) throw e;
      return refusal(500, e.message);
    } finally {
      this.#open--;
    }
  }

  async #wait(
    { name, family, port, nonce }: {
      readonly name: string;
      readonly family: Family;
      readonly port: number;
      readonly nonce: Nonce;
    },
    signal: AbortSignal,
  ): Promise<boolean> {
    const index = indexOf(name);
    if (index === undefined) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const never = (): void => resolve(false);
    using _watch = new ArrivalWatch(this.#poller, { index, family, port }, (found) => {
      if (found === nonce) resolve(true);
    });
    const timer = setTimeout(never, PATIENCE);
    signal.addEventListener("abort", never, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", never);
    }
  }
}

function indexOf(name: string): number | undefined {
  using kernel = Kernel.open();
  return kernel.link("host", name)?.index;
}

function refusal(status: number, reason: string): Response {
  return Response.json({ schema: 1, error: reason }, { status });
}
