/**
 * What a container runtime does with plugins: libcni's part, written anew, since its ways of
 * building requests are what real plugins see (see also cnitool_test.ts, which runs the real one).
 *
 * @module
 */

import { type Output, quote } from "./command.ts";
import type { Space } from "./space.ts";

/** A JSON object whose members are not known here. */
export type Json = Readonly<Record<string, unknown>>;

/** One plugin of a list. */
export interface PluginConfig extends Json {
  readonly type: string;
  readonly capabilities?: Readonly<Record<string, boolean>>;
}

/** A network configuration list (`*.conflist`). */
export interface NetworkList {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly PluginConfig[];
}

/** What a runtime knows about one interface of one pod. */
export interface Attachment {
  readonly containerId: string;
  /** Path of the namespace; empty when it has gone already. */
  readonly netns: string;
  readonly ifname: string;
  /** Value of `CNI_ARGS`. */
  readonly args: string;
  /** By capability: `portMappings`, `bandwidth`, … */
  readonly capabilityArgs?: Json;
}

/** A result, as far as the lab looks at it; members are those of 0.3.0 and later. */
export interface CniResult extends Json {
  readonly cniVersion: string;
  readonly interfaces?: readonly { readonly name: string; readonly sandbox?: string }[];
  readonly ips?: readonly { readonly address: string; readonly gateway?: string }[];
}

/** The list that flannel's manifest puts on every node, as `10-flannel.conflist`. */
export const STOCK_LIST: NetworkList = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

/** The list that containerd adds to every pod before any other, from nobody's file. */
export const LOOPBACK_LIST: NetworkList = {
  name: "cni-loopback",
  cniVersion: "0.3.1",
  plugins: [{ type: "loopback" }],
};

/** A plugin said no, or something that is no answer. */
export class PluginError extends Error {
  override readonly name = "PluginError";
  readonly output: Output;
  /** `code` and `msg` of the error object; absent when stdout held none. */
  readonly answer?: { readonly code: number; readonly msg: string; readonly details?: string };

  constructor(call: string, output: Output) {
    super(
      [
        `Plugin call failed: ${call}: exit status ${output.code}`,
        `stdout: ${output.stdout.trimEnd()}`,
        `stderr: ${output.stderr.trimEnd()}`,
      ].join("\n"),
    );
    this.output = output;
    try {
      this.answer = JSON.parse(output.stdout);
    } catch {
      // The message shows what it printed instead.
    }
  }
}

/** Calls plugins in one place, as a runtime that runs there. */
export class Runtime {
  readonly #space: Space;
  readonly #dirs: readonly string[];

  /** @param dirs where plugins are looked for, in this order */
  constructor(space: Space, dirs: readonly string[] = ["/opt/cni/bin"]) {
    this.#space = space;
    this.#dirs = dirs;
  }

  /**
   * ADD of all plugins of a list. As in libcni, the first failure ends it, and cleaning up is the
   * caller's affair.
   *
   * @returns the result of the last plugin
   * @throws {PluginError}
   */
  async add(list: NetworkList, attachment: Attachment): Promise<CniResult> {
    let result: CniResult | undefined;
    for (const plugin of list.plugins) {
      const document = requestDocument(list, plugin, attachment, result);
      const output = await this.call("ADD", plugin.type, document, attachment);
      try {
        result = JSON.parse(output.stdout) as CniResult;
      } catch {
        throw new PluginError(`ADD ${plugin.type}`, output);
      }
    }
    if (result === undefined) throw new TypeError(`network list "${list.name}" has no plugin`);
    return result;
  }

  /**
   * DEL of all plugins of a list, the last one first.
   *
   * @param result what ADD gave; lists before 0.4.0 do not pass it on
   * @throws {PluginError}
   */
  async del(list: NetworkList, attachment: Attachment, result?: CniResult): Promise<void> {
    const passed = atLeast(list.cniVersion, [0, 4]) ? result : undefined;
    for (const plugin of list.plugins.toReversed()) {
      const document = requestDocument(list, plugin, attachment, passed);
      await this.call("DEL", plugin.type, document, attachment);
    }
  }

  /**
   * CHECK of all plugins of a list of 0.4.0 or later.
   *
   * @throws {PluginError}
   */
  async check(list: NetworkList, attachment: Attachment, result: CniResult): Promise<void> {
    for (const plugin of list.plugins) {
      const document = requestDocument(list, plugin, attachment, result);
      await this.call("CHECK", plugin.type, document, attachment);
    }
  }

  /**
   * One call of one plugin.
   *
   * @throws {PluginError} when its exit status is not 0
   */
  async call(command: string, type: string, document: Json, a: Attachment): Promise<Output> {
    const path = this.#find(type);
    const output = await this.#space.exec([path], {
      stdin: JSON.stringify(document),
      clearEnv: true,
      env: {
        PATH: Deno.env.get("PATH") ?? "/usr/sbin:/usr/bin:/sbin:/bin",
        CNI_COMMAND: command,
        CNI_CONTAINERID: a.containerId,
        CNI_NETNS: a.netns,
        CNI_ARGS: a.args,
        CNI_IFNAME: a.ifname,
        CNI_PATH: this.#dirs.join(":"),
      },
    });
    if (output.code !== 0) {
      throw new PluginError(`${command} ${quote([path])} for ${a.args || a.containerId}`, output);
    }
    return output;
  }

  #find(type: string): string {
    const dir = this.#dirs.find((dir) => this.#space.list(dir).includes(type));
    if (dir === undefined) {
      throw new Error(`no plugin "${type}" in ${this.#dirs.join(":")} of ${this.#space.name}`);
    }
    return `${dir}/${type}`;
  }
}

/**
 * Pure: what one plugin of a list reads from stdin: its object with the list's name and version,
 * the capabilities that both sides have, the result so far. libcni's `capabilities` stays in, and
 * its keys are sorted.
 */
export function requestDocument(
  list: NetworkList,
  plugin: PluginConfig,
  { capabilityArgs = {} }: Pick<Attachment, "capabilityArgs">,
  prevResult?: CniResult,
): Json {
  const runtimeConfig = Object.fromEntries(
    Object.entries(plugin.capabilities ?? {})
      .filter(([name, enabled]) => enabled && name in capabilityArgs)
      .map(([name]) => [name, capabilityArgs[name]]),
  );
  return sorted({
    ...plugin,
    name: list.name,
    cniVersion: list.cniVersion,
    ...(Object.keys(runtimeConfig).length > 0 && { runtimeConfig }),
    ...(prevResult && { prevResult }),
  });
}

function sorted(value: Json): Json {
  const deep = (v: unknown): unknown =>
    Array.isArray(v) ? v.map(deep) : typeof v === "object" && v !== null
      ? Object.fromEntries(
        Object.entries(v).sort(([a], [b]) => a < b ? -1 : 1).map(([k, w]) => [k, deep(w)]),
      )
      : v;
  return deep(value) as Json;
}

function atLeast(version: string, [major, minor]: readonly [number, number]): boolean {
  const [a = 0, b = 0] = version.split(".").map(Number);
  return a > major || (a === major && b >= minor);
}

/** A new container ID, as containerd makes them: 64 hex digits. */
export function newContainerId(): string {
  return crypto.getRandomValues(new Uint8Array(32)).toHex();
}

/** `CNI_ARGS` as containerd fills it. */
export function podArgs(name: string, containerId: string): string {
  return [
    "IgnoreUnknown=1",
    "K8S_POD_NAMESPACE=default",
    `K8S_POD_NAME=${name}`,
    `K8S_POD_INFRA_CONTAINER_ID=${containerId}`,
    `K8S_POD_UID=${crypto.randomUUID()}`,
  ].join(";");
}
