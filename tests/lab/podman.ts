/**
 * podman with its CNI back end on a node of the lab, with our plugins and Debian's own network.
 *
 * What that needs beyond the settings of a real node: cgroups without systemd and without limits,
 * a root directory instead of an image, and its libraries from where it was unpacked.
 *
 * @module
 */

import { type Output, run } from "./command.ts";
import type { Node } from "./node.ts";
import { makeRoot, PAUSE } from "./pause.ts";

const LIST = "/etc/cni/net.d/87-podman-bridge.conflist";

function containersConf(tree: string): string {
  return `[network]
network_backend = "cni"
cni_plugin_dirs = ["/opt/cni/bin"]
network_config_dir = "/etc/cni/net.d"
[engine]
cgroup_manager = "cgroupfs"
conmon_path = ["${tree}/usr/bin/conmon", "/usr/bin/conmon"]
events_logger = "none"
runtime = "runc"
[engine.runtimes]
runc = ["${tree}/usr/sbin/runc", "/usr/sbin/runc"]
[containers]
apparmor_profile = ""
pids_limit = 0
seccomp_profile = ""
`;
}

const STORAGE_CONF = `[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/run/containers/root"
`;

/** A container, as podman tells it. */
export interface Container {
  /** Network → address. */
  readonly ips: Readonly<Record<string, string>>;
  /** Path of its network namespace. */
  readonly netns: string;
}

/** podman on one node. */
export class Podman implements AsyncDisposable {
  readonly #node: Node;
  readonly #env: Readonly<Record<string, string>>;

  private constructor(node: Node, tree: string) {
    this.#node = node;
    const libraries = ["usr/lib", "lib"].map((dir) => `${tree}/${dir}/x86_64-linux-gnu`);
    this.#env = { LD_LIBRARY_PATH: libraries.join(":") };
  }

  /** Installs our plugins and podman's settings. */
  static async create(node: Node): Promise<Podman> {
    const { stdout } = await run(["sh", "-c", "command -v podman"]);
    const tree = stdout.trim().replace(/\/usr\/bin\/podman$/, "");
    const setup = `
      rm -rf /opt/cni /etc/cni/net.d/*
      mkdir -p /etc/containers
      cp "$1" /etc/cni/net.d
      mount -t cgroup2 cgroup2 /sys/fs/cgroup
      twill install`;
    await node.must(["sh", "-ec", setup, "sh", `${tree}${LIST}`]);
    node.write("/etc/containers/containers.conf", containersConf(tree));
    node.write("/etc/containers/storage.conf", STORAGE_CONF);
    node.write("/etc/containers/policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`);
    await makeRoot(node);
    return new Podman(node, tree);
  }

  /** One command of podman's; any end is a result. */
  exec(...args: readonly string[]): Promise<Output> {
    return this.#node.exec(["podman", ...args], { env: this.#env, seconds: 20 });
  }

  /** One that must succeed. @returns its stdout @throws {CommandError} */
  must(...args: readonly string[]): Promise<string> {
    return this.#node.must(["podman", ...args], { env: this.#env, seconds: 20 });
  }

  /** Starts a container that does nothing. @param args options of `podman run` */
  async run(name: string, ...args: readonly string[]): Promise<Container> {
    const what = ["--rootfs", `${PAUSE}/root`, "/pause"];
    await this.must("run", "-d", "--name", name, ...args, ...what);
    const { Networks: networks, SandboxKey: netns } = JSON.parse(
      await this.must("inspect", name, "--format", "{{json .NetworkSettings}}"),
    ) as { Networks: Record<string, { IPAddress: string }>; SandboxKey: string };
    const ips = Object.entries(networks).map(([net, { IPAddress: ip }]) => [net, ip]);
    return { ips: Object.fromEntries(ips), netns };
  }

  /** Takes containers away. */
  async remove(...names: readonly string[]): Promise<void> {
    await this.must("rm", "-f", "-t", "0", ...names);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.exec("rm", "-f", "-a", "-t", "0");
    // Groups are the machine's, and podman leaves those above its containers.
    const group = "/sys/fs/cgroup/libpod_parent";
    await this.#node.exec(["rmdir", `${group}/conmon`, group]);
  }
}
