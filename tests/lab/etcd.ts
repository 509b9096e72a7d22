/**
 * A store of one member: Debian's etcd in a place of its own.
 *
 * @module
 */

import { Hopeless, type Output, quote, until } from "./command.ts";
import type { Service } from "./service.ts";
import type { Space } from "./space.ts";

/** An etcd server, its data and its client. */
export class Etcd {
  readonly space: Space;
  /** URL that its clients use. */
  readonly endpoint: string;
  readonly #data: string;
  #server: Service | undefined;

  /**
   * @param address where it listens; an address of `space`
   * @param data folder for its data, which it makes
   */
  constructor(space: Space, address: string, data: string) {
    this.space = space;
    this.endpoint = `http://${address}:2379`;
    this.#data = data;
  }

  /** Starts the server, with the data of the last time, and waits until it answers. */
  async start(): Promise<void> {
    const server = await this.space.start("etcd", [
      "etcd",
      "--name=store",
      `--data-dir=${this.#data}`,
      `--listen-client-urls=${this.endpoint}`,
      `--advertise-client-urls=${this.endpoint}`,
      "--listen-peer-urls=http://127.0.0.1:2380",
      "--initial-advertise-peer-urls=http://127.0.0.1:2380",
      "--initial-cluster=store=http://127.0.0.1:2380",
      // Alone, it elects itself after this long: a second by default.
      "--heartbeat-interval=10",
      "--election-timeout=100",
      "--log-level=warn",
    ]);
    this.#server = server;
    await until(`etcd answers at ${this.endpoint}`, async () => {
      if (server.code !== undefined) throw new Hopeless("etcd has ended");
      return (await this.ctl("--command-timeout=2s", "get", "ready")).code === 0;
    }, { explain: () => server.tail() });
  }

  /** Stops the server; its data stays. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<void> {
    await this.#server?.stop(signal);
  }

  /** The command of one request, as one would type it in {@link Etcd.space}. */
  command(...args: readonly string[]): [string, ...string[]] {
    return ["etcdctl", `--endpoints=${this.endpoint}`, ...args];
  }

  /** One request; any exit status is a result. */
  ctl(...args: readonly string[]): Promise<Output> {
    return this.space.exec(this.command(...args), { env: { ETCDCTL_API: "3" } });
  }

  /**
   * One request that must succeed.
   *
   * @returns what etcdctl printed
   */
  async must(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.ctl(...args);
    if (code === 0) return stdout;
    throw new Error(
      `Cannot run ${quote(this.command(...args))}: exit status ${code}\n${stderr}${stdout}` +
        (this.#server?.tail() ?? ""),
    );
  }
}
