/**
 * Calls a list of plugins one after the other, as libcni does: in its order for ADD, CHECK, GC and
 * STATUS, backwards for DEL, each with the result of those before it.
 *
 * @module
 */

import { Bench, expect, type Reply, run, type Variables, type Want } from "./plugins.ts";

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

const OK: Want = { ok: true };
let count = 0;

/** What makes a chain. */
export interface ChainOptions {
  /** Each with its `type`. */
  readonly plugins: readonly Json[];
  readonly cniVersion?: string;
  /** Capability arguments: each plugin gets those that its `capabilities` name. */
  readonly runtimeConfig?: Json;
  readonly env?: Variables;
}

/** A network, one pod, and the bridge between them; gone when disposed. */
export class Chain implements Disposable {
  readonly bench: Bench = new Bench();
  /** Path of the pod's namespace. */
  readonly netns: string = this.bench.pod();
  /** A bridge of this chain alone, for {@link bridge}. */
  readonly bridgeName: string = `br-chain${++count}`;
  /** The document of `bridge` with host-local, 10.1.2.0/24 and a store of its own. */
  readonly bridge: Json = {
    type: "bridge",
    bridge: this.bridgeName,
    isDefaultGateway: true,
    ipam: {
      type: "host-local",
      subnet: "10.1.2.0/24",
      dataDir: `${this.bench.dir}/ipam`,
    },
  };
  /** What ADD answered. */
  // deno-lint-ignore no-explicit-any
  result: any;

  /** The document that a plugin reads. */
  document(plugin: Json, options: ChainOptions, prevResult: unknown): Json {
    const names = Object.keys((plugin["capabilities"] ?? {}) as Json);
    const args = Object.entries(options.runtimeConfig ?? {}).filter(([n]) => names.includes(n));
    return {
      ...plugin,
      cniVersion: options.cniVersion ?? "1.0.0",
      name: "dbnet",
      ...(prevResult === undefined ? {} : { prevResult }),
      ...(args.length === 0 ? {} : { runtimeConfig: Object.fromEntries(args) }),
    };
  }

  /** Calls one plugin. */
  call(command: string, plugin: Json, options: ChainOptions, prevResult: unknown): Promise<Reply> {
    return this.bench.call({
      plugin: String(plugin["type"]),
      env: { CNI_COMMAND: command, CNI_NETNS: this.netns, ...options.env },
      config: this.document(plugin, options, prevResult),
    });
  }

  /** ADD; stops at the first plugin that fails, whose reply this is, or else the last one's. */
  async tryAdd(options: ChainOptions): Promise<Reply> {
    let reply: Reply = { status: 0, stdout: "", stderr: "" };
    let result: unknown;
    for (const plugin of options.plugins) {
      reply = await this.call("ADD", plugin, options, result);
      if (reply.status !== 0) return reply;
      result = this.result = JSON.parse(reply.stdout);
    }
    return reply;
  }

  /** ADD, which must succeed. Returns the result. */
  // deno-lint-ignore no-explicit-any
  async add(options: ChainOptions): Promise<any> {
    return expect(await this.tryAdd(options), OK);
  }

  /** CHECK with the final result; the reply of the first that fails, or of the last. */
  async check(options: ChainOptions): Promise<Reply> {
    let reply: Reply = { status: 0, stdout: "", stderr: "" };
    for (const plugin of options.plugins) {
      reply = await this.call("CHECK", plugin, options, this.result);
      if (reply.status !== 0) return reply;
    }
    return reply;
  }

  /** DEL of all, which must succeed. */
  async del(options: ChainOptions): Promise<void> {
    for (const plugin of options.plugins.toReversed()) {
      expect(await this.call("DEL", plugin, options, this.result), OK);
    }
  }

  /** The name of the pod's end of the pair on the node. */
  get hostEnd(): string {
    return this.result.interfaces[1].name;
  }

  /** `ip -j -d` in the pod. */
  // deno-lint-ignore no-explicit-any
  inPod(...args: readonly string[]): any {
    return JSON.parse(run("ip", "-n", this.netns.split("/").at(-1)!, "-j", "-d", ...args));
  }

  /** A setting as the pod has it. */
  sysctl(key: string): string {
    const name = this.netns.split("/").at(-1)!;
    return run("ip", "netns", "exec", name, "cat", `/proc/sys/${key}`).trim();
  }

  [Symbol.dispose](): void {
    const name = this.bridgeName;
    const links = JSON.parse(run("ip", "-j", "link", "show")) as { readonly ifname: string }[];
    if (links.some((link) => link.ifname === name)) run("ip", "link", "delete", name);
    this.bench[Symbol.dispose]();
  }
}
