/**
 * A node whose plugins are copies of the client, with the full program beside them and a daemon
 * that serves them. For `tools/isolate`: it uses the node's own /run.
 *
 * @module
 */

import assert from "node:assert/strict";
import { PLUGIN_NAMES } from "../../cni/names.ts";
import { Bench, expect, type PluginCall, type Reply, run } from "./plugins.ts";

/** Where the build leaves the client. */
const CLIENT = new URL("../../dist/embed/cni_client", import.meta.url).pathname;
const BINARY = Deno.env.get("TWILL_BIN") ?? new URL("../../dist/twill", import.meta.url).pathname;
/** Where the daemon listens. */
export const SOCKET = "/run/twill/cni.sock";

/** The subnet of the node, which the lease file gives it. */
const LEASES = {
  config: { Network: "10.77.0.0/16", Backend: { Type: "alloc" } },
  nodes: [{ name: "here", publicIP: "192.0.2.1", subnet: "10.77.1.0/24" }],
};

/** How a daemon is started. */
export interface DaemonOptions {
  readonly via?: readonly string[];
  readonly subnetFile?: string;
}

/** See the module. */
export class ServerBench {
  readonly #bench = new Bench();
  /** A directory of this bench alone. */
  readonly dir: string = this.#bench.dir;
  /** Copies of the client, and twill. */
  readonly clients: string = `${this.dir}/clients`;
  #daemon: Deno.ChildProcess | undefined;

  constructor() {
    assert.equal(Deno.env.get("TWILL_ISOLATED"), "1", "run it inside tools/isolate");
    Deno.mkdirSync(this.clients);
    for (const name of PLUGIN_NAMES) {
      // By another process: nobody whom this one starts meanwhile can hold the file open for writing.
      run("install", "-m755", CLIENT, `${this.clients}/${name}`);
    }
    Deno.symlinkSync(BINARY, `${this.clients}/twill`);
    // The daemon watches the directory of that file: nothing else may happen there.
    Deno.mkdirSync(`${this.dir}/leases`);
    Deno.writeTextFileSync(`${this.dir}/leases/leases.json`, JSON.stringify(LEASES));
    run(..."ip link add underlay0 type veth peer name underlay1".split(" ") as [string]);
    run("ip", "addr", "add", "192.0.2.1/24", "dev", "underlay0");
    for (const dev of ["underlay0", "underlay1"]) run("ip", "link", "set", dev, "up");
  }

  /**
   * Starts the daemon, and waits until it serves.
   *
   * @param binary another one than ours
   * @param via words before it: a program that becomes the one that it is told
   */
  async startDaemon(
    binary: string = BINARY,
    { via = [], subnetFile = `${this.dir}/subnet.env` }: DaemonOptions = {},
  ): Promise<void> {
    const stderr = Deno.env.get("TWILL_SHOW") === undefined ? "null" : "inherit";
    const [program = binary, ...before] = [...via, binary];
    this.#daemon = new Deno.Command(program, {
      args: [
        ...before,
        "daemon",
        `--lease-file=${this.dir}/leases/leases.json`,
        "--node-name=here",
        "--iface=underlay0",
        "--ip-masq",
        `--state-dir=${this.dir}/state`,
        `--subnet-file=${subnetFile}`,
      ],
      stdin: "null",
      stdout: "null",
      stderr,
    }).spawn();
    const deadline = performance.now() + 20_000;
    while (!(exists(subnetFile) && await answers())) {
      assert.ok(performance.now() < deadline, "the daemon does not serve");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends the daemon. */
  async stopDaemon(signal: Deno.Signal = "SIGKILL"): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    if (daemon === undefined) return;
    daemon.kill(signal);
    await daemon.status;
  }

  /** Takes this node out of the lease file: the next daemon has no lease. */
  forgetNode(): void {
    const none = JSON.stringify({ ...LEASES, nodes: [] });
    Deno.writeTextFileSync(`${this.dir}/leases/leases.json`, none);
  }

  /** The daemon's process. */
  get daemonPid(): number {
    assert.ok(this.#daemon !== undefined);
    return this.#daemon.pid;
  }

  /** The configuration of the stock network's first plugin, with stores of this bench. */
  config(more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
    return {
      cniVersion: "0.3.1",
      name: "served",
      type: "flannel",
      subnetFile: `${this.dir}/subnet.env`,
      dataDir: `${this.dir}/flannel`,
      delegate: { hairpinMode: true, isDefaultGateway: true, bridge: "cni0" },
      ipam: { dataDir: `${this.dir}/networks` },
      ...more,
    };
  }

  /** Makes a namespace for a pod; returns its path. */
  namespace(): string {
    return this.#bench.pod();
  }

  /** Starts a call of any plugin. */
  start(call: PluginCall): Deno.ChildProcess {
    return this.#bench.start(call);
  }

  /** Makes a call of any plugin. */
  call(call: PluginCall): Promise<Reply> {
    return this.#bench.call(call);
  }

  /** Calls flannel through the client for a pod; returns the answer of an ADD. */
  async pod(
    command: string,
    id: string,
    netns: string,
    env: Readonly<Record<string, string>> = {},
    // deno-lint-ignore no-explicit-any -- foreign JSON
  ): Promise<any> {
    const reply = await this.call({
      plugin: "flannel",
      dir: this.clients,
      config: this.config(),
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: id,
        CNI_NETNS: netns,
        CNI_PATH: this.clients,
        ...env,
      },
    });
    return expect(reply, { ok: true });
  }

  /** Owners of addresses: `ID IFNAME`, sorted. */
  owners(): string[] {
    const dir = `${this.dir}/networks/served`;
    if (!exists(dir)) return [];
    return [...Deno.readDirSync(dir)].filter(({ name }) => /^\d/.test(name))
      .map(({ name }) => Deno.readTextFileSync(`${dir}/${name}`).replace("\r\n", " ")).sort();
  }

  /** Host ends on the bridge. */
  ports(): string[] {
    const links: { ifname: string; master?: string }[] = JSON.parse(run("ip", "-j", "link"));
    return links.filter(({ master }) => master === "cni0").map(({ ifname }) => ifname);
  }

  /** Records of calls that were not finished. */
  records(): string[] {
    return exists("/run/twill/op")
      ? [...Deno.readDirSync("/run/twill/op")].map(({ name }) => name).sort()
      : [];
  }

  /** Waits until there are none: each goes a moment after the caller has its answer. */
  async noRecords(): Promise<void> {
    const deadline = performance.now() + 5_000;
    while (this.records().length > 0) {
      assert.ok(performance.now() < deadline, `records of answered calls: ${this.records()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Ends the daemon, and takes away what tests leave on the node. */
  async close(): Promise<void> {
    await this.stopDaemon();
    for (const dev of ["underlay0", "cni0"]) {
      new Deno.Command("ip", { args: ["link", "del", dev], stderr: "null" }).outputSync();
    }
    this.#bench[Symbol.dispose]();
  }
}

/** True when somebody listens; a daemon that was killed leaves its socket. */
async function answers(): Promise<boolean> {
  try {
    const connection = await Deno.connect({ transport: "unix", path: SOCKET });
    connection.close();
    return true;
  } catch {
    return false;
  }
}

/** True when there is such a file. */
export function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
