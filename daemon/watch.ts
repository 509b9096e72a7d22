/**
 * From the kernel's events to "look again": which of them concern us, and which are only the echo
 * of what we did ourselves.
 *
 * @module
 */

import type { Fact } from "../engine/fact.ts";
import type { Change } from "../engine/plan.ts";
import { type Heard, type KernelEvent, KernelEvents } from "../ffi/events.ts";
import type { Kernel } from "../ffi/kernel.ts";
import type { Poller } from "../ffi/poll.ts";

/** What concerns the node. */
export interface Concerns {
  /** Our devices and the underlay. */
  readonly devices: readonly string[];
  /** Links and addresses of any name concern us. */
  readonly anywhere: boolean;
  /** Our rule tables: `inet twill`. */
  readonly tables: readonly string[];
}

/** Hears the kernel, and calls when something that concerns us changed by another's hand. */
export class KernelWatch implements Disposable {
  readonly #kernel: Kernel;
  readonly #events: KernelEvents;
  readonly #concerns: () => Concerns;
  readonly #changed: (cause: string, event: KernelEvent) => void;
  #indexes = new Set<number>();
  #during: Heard[] | undefined;

  /**
   * @param concerns asked at each event.
   * @param changed called with the cause in words; may be called often.
   * @throws {OpError} when the kernel cannot be heard.
   */
  constructor(
    poller: Poller,
    kernel: Kernel,
    concerns: () => Concerns,
    changed: (cause: string, event: KernelEvent) => void,
  ) {
    this.#kernel = kernel;
    this.#concerns = concerns;
    this.#changed = changed;
    this.#events = new KernelEvents(poller, (heard) => this.#hear(heard));
    this.#learnIndexes();
  }

  /**
   * Runs a pass and tells its echo from the deeds of others: what another's request caused, or
   * what the pass did not change, is not ours.
   *
   * @param pass returns the changes that it made.
   */
  during<T extends { readonly changes: readonly Change[] }>(pass: () => T): T {
    // Devices that came since the last pass: what happens on them from now on is heard.
    this.#learnIndexes();
    // What came before the pass is seen by the pass.
    this.#during = [];
    this.#events.drain();
    this.#during = [];
    try {
      const report = pass();
      this.#events.drain();
      this.#learnIndexes();
      const ours = echoOf(report.changes.map(({ fact }) => fact));
      // Rules travel by a socket of nft's own, so their originator tells nothing.
      const foreign = this.#during.filter(({ event, port }) =>
        port === 0 || event.kind === "rules" ? !ours(event) : port !== this.#kernel.port
      );
      this.#during = undefined;
      // All of them: what kind they are says where to look.
      for (const heard of foreign) this.#hear(heard);
      return report;
    } finally {
      this.#during = undefined;
    }
  }

  #hear(heard: Heard): void {
    if (this.#during !== undefined) this.#during.push(heard);
    else if (this.#concernsUs(heard.event)) {
      this.#changed(causeOf(heard.event), heard.event);
    }
  }

  #concernsUs(event: KernelEvent): boolean {
    switch (event.kind) {
      case "link": {
        const { anywhere, devices } = this.#concerns();
        return anywhere || devices.includes(event.name);
      }
      case "address":
        return this.#concerns().anywhere || this.#indexes.has(event.index);
      case "neighbour":
      case "fdb":
        return this.#indexes.has(event.index);
      case "rules":
        return this.#concerns().tables.includes(event.table);
      case "route":
      case "lost":
        return true;
    }
  }

  #learnIndexes(): void {
    const { anywhere, devices } = this.#concerns();
    const indexes = this.#kernel.named("host", devices).map(({ index }) => index);
    this.#indexes = new Set(indexes);
    this.#events.focus(anywhere ? undefined : { names: devices, indexes });
  }

  [Symbol.dispose](): void {
    this.#events[Symbol.dispose]();
  }
}

/**
 * Says whether an event for which the kernel names no originator can come from these facts:
 * forwarding entries by MAC address; of links by name, whose change also moves routes,
 * addresses and neighbours.
 */
function echoOf(facts: readonly Fact[]): (event: KernelEvent) => boolean {
  const macs = new Set(facts.flatMap((fact) => fact.kind === "fdb" ? [fact.mac as string] : []));
  const links = new Set(
    facts.flatMap((fact) =>
      fact.kind === "link" ? [fact.name] : fact.kind === "up" ? [fact.dev] : []
    ),
  );
  const addressed = facts.some((fact) => fact.kind === "address");
  return (event) => {
    switch (event.kind) {
      case "fdb":
        return macs.has(event.mac);
      case "link":
        return links.has(event.name);
      case "route":
        return links.size > 0 || addressed;
      case "address":
      case "neighbour":
        return links.size > 0;
      // A table is replaced whole, so what another did to it meanwhile would be gone unseen, and
      // another's flush right after ours would look like ours: one more look settles both.
      case "rules":
      case "lost":
        return false;
    }
  };
}

function causeOf(event: KernelEvent): string {
  switch (event.kind) {
    case "link":
      return `link ${event.name} changed`;
    case "address":
      return "an address changed";
    case "route":
      return "a route changed";
    case "neighbour":
      return "a neighbour entry changed";
    case "fdb":
      return `the forwarding entry of ${event.mac} changed`;
    case "rules":
      return `rules of table ${event.table} changed`;
    case "lost":
      return "events were lost";
  }
}
