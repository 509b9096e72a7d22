/**
 * What changes in a kernel while something happens, as `ip monitor` hears it.
 *
 * @module
 */

import { until } from "./command.ts";
import type { Service } from "./service.ts";
import type { Space } from "./space.ts";

/** Listens to the changes of links, addresses, routes, neighbours and forwarding entries. */
export class Monitor implements AsyncDisposable {
  readonly #space: Space;
  readonly #service: Service;
  #marks = 0;
  #since = 0;

  private constructor(space: Space, service: Service) {
    this.#space = space;
    this.#service = service;
  }

  /** Starts; when this returns, no change is missed any more. */
  static async start(space: Space): Promise<Monitor> {
    const objects = ["link", "address", "route", "neigh"] as const;
    const service = await space.start("monitor", ["ip", "-o", "monitor", ...objects]);
    const monitor = new Monitor(space, service);
    try {
      await monitor.changes();
      return monitor;
    } catch (e) {
      await monitor[Symbol.asyncDispose]();
      throw e;
    }
  }

  /** All changes since the last call, one per line. */
  async changes(): Promise<string[]> {
    // A change of our own ends what is read: the kernel tells of changes in their order. It is made
    // again until it is heard, since the listener may not have started to listen.
    const mark = `198.51.100.${++this.#marks}`;
    const read = (): string => Deno.readTextFileSync(this.#service.log);
    await until(`the change ${mark} is heard`, async () => {
      await this.#space.ip(`route replace blackhole ${mark}/32`, `route del blackhole ${mark}/32`);
      return read().slice(this.#since).includes(`Deleted blackhole ${mark}`);
    }, { explain: () => this.#service.tail() });
    const text = read();
    const lines = text.slice(this.#since).trimEnd().split("\n");
    this.#since = text.length;
    return lines.filter((line) => !/blackhole 198\.51\.100\./.test(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#service.stop("SIGKILL");
  }
}
