/**
 * A node of the lab: a place with a daemon, plugins and pods, as far as these are started.
 *
 * Which daemon and which plugins is up to the caller, so that a node of another make (flanneld, the
 * plugins of the distribution) can stand beside ours.
 *
 * @module
 */

import { Hopeless, type Output, type RunOptions, until } from "./command.ts";
import {
  type Attachment,
  type CniResult,
  LOOPBACK_LIST,
  type NetworkList,
  newContainerId,
  podArgs,
  Runtime,
  STOCK_LIST,
} from "./runtime.ts";
import type { Service } from "./service.ts";
import { type Command, Space, type SpaceOptions } from "./space.ts";

/** The program under test: `dist/twill`, or what `TWILL_BIN` names. */
export const TWILL = Deno.env.get("TWILL_BIN") ??
  new URL("../../dist/twill", import.meta.url).pathname;

/** The plugins that are one program under several names. */
export const TWILL_PLUGINS: Readonly<Record<string, string>> = Object.fromEntries(
  ["flannel", "bridge", "host-local", "portmap", "loopback"].map((name) => [name, TWILL]),
);

/** Where the daemon answers `/readyz`. */
export const HEALTH_PORT = 8090;

/** What a node is made with. */
export interface NodeOptions extends SpaceOptions {
  /** Address on the underlay, without length. */
  readonly address: string;
  /** The same in IPv6. */
  readonly address6?: string;
  /** Plugin → program: the links in `/opt/cni/bin`. Default {@link TWILL_PLUGINS}. */
  readonly plugins?: Readonly<Record<string, string>>;
}

/** What a daemon is started with. */
export interface DaemonOptions {
  readonly flags: readonly string[];
  /** Default: `twill daemon`. */
  readonly program?: Command;
  readonly env?: Readonly<Record<string, string>>;
}

/** A pod: a namespace in `/run/netns` of its node, with the interfaces that plugins gave it. */
export interface Pod {
  readonly name: string;
  readonly list: NetworkList;
  readonly attachment: Attachment;
  readonly result: CniResult;
  /** Its first address, without length. */
  readonly ip: string;
}

/** What a pod is made with. */
export interface PodOptions {
  /** Default {@link STOCK_LIST}. */
  readonly list?: NetworkList;
  readonly capabilityArgs?: Attachment["capabilityArgs"];
}

// /run is the node's alone; the rest of what plugins and daemons write lies over ours, in memory.
const SETUP = `
mount -nt tmpfs -o mode=755 tmpfs /run
mkdir /run/netns /run/lock
cover() {
  mkdir -p "/run/lab$1/upper" "/run/lab$1/work"
  mount -t overlay -o "lowerdir=$1,upperdir=/run/lab$1/upper,workdir=/run/lab$1/work" overlay "$1"
}
cover /etc
cover /opt
cover /var/lib
cover /usr/local/bin
# What the machine itself has there is not for this node to see.
rm -rf /etc/cni /opt/cni /var/lib/cni /var/lib/twill
mkdir -p /etc/cni/net.d /opt/cni/bin
ln -sf "$1" /usr/local/bin/twill
shift
while [ $# -gt 0 ]; do
  ln -s "$2" "/opt/cni/bin/$1"
  shift 2
done
`;

/** A node. Its daemon, if any, is started and stopped on demand. */
export class Node extends Space {
  readonly address: string;
  readonly address6: string | undefined;
  readonly runtime: Runtime;
  #daemon: Service | undefined;

  private constructor(options: NodeOptions, holder: Service) {
    super(options, holder);
    this.address = options.address;
    this.address6 = options.address6;
    this.runtime = new Runtime(this);
  }

  /** A node with plugins and their configuration, but no daemon; not yet on any network. */
  static override async create(options: NodeOptions): Promise<Node> {
    const node = new Node(options, await Space.hold(options));
    try {
      const links = Object.entries(options.plugins ?? TWILL_PLUGINS).flat();
      await node.must(["sh", "-ec", SETUP, "sh", TWILL, ...links]);
      node.write("/etc/cni/net.d/10-flannel.conflist", JSON.stringify(STOCK_LIST, null, 2) + "\n");
      return node;
    } catch (e) {
      await node[Symbol.asyncDispose]();
      throw e;
    }
  }

  /** The daemon that was started last. */
  get daemon(): Service | undefined {
    return this.#daemon;
  }

  /** Starts the daemon; see {@link Node.ready}. */
  async startDaemon({ flags, program, env }: DaemonOptions): Promise<Service> {
    const command: Command = [...(program ?? ["twill", "daemon"] as const), ...flags];
    this.#daemon = await this.start("daemon", command, env);
    return this.#daemon;
  }

  /** Waits until the daemon says that it is ready. */
  async ready(seconds = 20): Promise<void> {
    const daemon = this.#daemon;
    await until(`the daemon of ${this.name} is ready`, async () => {
      if (daemon?.code !== undefined) throw new Hopeless("the daemon has ended");
      return (await this.health("/readyz")).code === 0;
    }, { seconds, every: 50, explain: () => daemon?.tail() ?? "it was not started" });
  }

  /** Asks the daemon's health port; `code` is 0 when the answer is a good one. */
  health(path: string): Promise<Output> {
    const limit = ["--max-time", "2"];
    return this.exec(["curl", "-sf", ...limit, `http://127.0.0.1:${HEALTH_PORT}${path}`]);
  }

  /** Runs a program in a pod. */
  execInPod(pod: string, command: Command, options?: RunOptions): Promise<Output> {
    return this.exec(["ip", "netns", "exec", pod, ...command], options);
  }

  /** Makes a namespace for a pod, and says what a runtime would say about it. */
  async prepare(name: string, { capabilityArgs }: PodOptions = {}): Promise<Attachment> {
    await this.must(["ip", "netns", "add", name]);
    const containerId = newContainerId();
    return {
      containerId,
      netns: `/var/run/netns/${name}`,
      ifname: "eth0",
      args: podArgs(name, containerId),
      ...(capabilityArgs && { capabilityArgs }),
    };
  }

  /**
   * A pod as containerd makes it: both networks at once. When one fails, all is taken back.
   *
   * @throws {PluginError} what the failing plugin said
   */
  async addPod(name: string, options: PodOptions = {}): Promise<Pod> {
    const { list = STOCK_LIST } = options;
    const attachment = await this.prepare(name, options);
    const [, added] = await Promise.allSettled([
      this.runtime.add(LOOPBACK_LIST, { ...attachment, ifname: "lo" }),
      this.runtime.add(list, attachment),
    ]).then((both) => {
      const failed = both.find((one) => one.status === "rejected");
      return failed === undefined ? both : [failed, failed];
    });
    if (added?.status !== "fulfilled") {
      // Its own failure would hide the one that matters.
      await this.#remove(list, attachment).catch(() => {});
      throw added?.reason;
    }
    const result = added.value;
    const ip = result.ips?.[0]?.address.split("/")[0] ?? "";
    return { name, list, attachment, result, ip };
  }

  /**
   * Takes a pod away as containerd does.
   *
   * @throws {PluginError}
   */
  async delPod({ list, attachment, result }: Pod): Promise<void> {
    await this.#remove(list, attachment, result);
  }

  async #remove(list: NetworkList, attachment: Attachment, result?: CniResult): Promise<void> {
    await this.runtime.del(LOOPBACK_LIST, { ...attachment, ifname: "lo" });
    await this.runtime.del(list, attachment, result);
    await this.must(["ip", "netns", "del", attachment.netns.split("/").at(-1)!]);
  }
}
