/**
 * A node of the cluster: a machine with containerd, kubelet and kube-proxy, as a node of kind has
 * them: with the plugins that kind has, and no network.
 *
 * @module
 */

import { type Output, type RunOptions, until } from "../command.ts";
import { TWILL } from "../node.ts";
import type { Service } from "../service.ts";
import type { Command } from "../space.ts";
import { type ControlPlane, type Families, rangesOf, underlay } from "./control_plane.ts";
import { FOLDER, Machine } from "./machine.ts";
import { IMAGE } from "./objects.ts";

/** The image of pods, as a file for `ctr images import`. */
export const POD_IMAGE = `${Deno.env.get("TWILL_K8S")}/images/pod.tar`;

/** Debian's plugins that kind's nodes have. */
const KIND_PLUGINS = ["host-local", "loopback", "portmap", "ptp"];

/** What a node is made with. */
export interface KubeNodeOptions {
  readonly families: Families;
  readonly proxy: "iptables" | "nftables";
  readonly bridgeNetfilter: boolean;
}

const RUNTIME = `
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [${
  ["btrfs", "zfs", "aufs", "devmapper"].map((name) => `"io.containerd.snapshotter.v1.${name}"`)
}]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  # Negative OOM scores need a right that this machine may not have.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`;

const KUBELET = {
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: "AlwaysAllow" },
  cgroupDriver: "cgroupfs",
  enforceNodeAllocatable: [],
  failSwapOn: false,
  failCgroupV1: false,
  oomScoreAdj: 0,
  // The disk is memory here, and shared by all: how full it is says nothing.
  evictionHard: Object.fromEntries(
    [
      "memory.available",
      "nodefs.available",
      "imagefs.available",
      "nodefs.inodesFree",
      "imagefs.inodesFree",
    ]
      .map((name) => [name, "0%"]),
  ),
  imageGCHighThresholdPercent: 100,
  resolvConf: "/etc/resolv.conf",
  nodeStatusUpdateFrequency: "5s",
  shutdownGracePeriod: "0s",
  maxPods: 200,
} as const;

/** A node. */
export class KubeNode implements AsyncDisposable {
  readonly name: string;
  /** Its address on the underlay. */
  readonly address: string;
  readonly address6: string;
  readonly #plane: ControlPlane;
  readonly #options: KubeNodeOptions;
  #machine: Machine | undefined;
  #boots = 0;
  readonly #services = new Map<string, Service>();

  /** A node that is switched off. @param number from 1 */
  constructor(number: number, plane: ControlPlane, options: KubeNodeOptions) {
    this.name = `node${number}`;
    this.address = underlay("ipv4", 10 + number);
    this.address6 = underlay("ipv6", 10 + number);
    this.#plane = plane;
    this.#options = options;
  }

  /** The machine that is on. */
  get machine(): Machine {
    if (this.#machine === undefined) throw new TypeError(`${this.name} is switched off`);
    return this.#machine;
  }

  /** Switches it on: containerd, kubelet, kube-proxy, and enabled units. */
  async boot(): Promise<void> {
    const { name, address, address6 } = this;
    const { bridgeNetfilter } = this.#options;
    const first = this.#boots++ === 0;
    const folder = `${FOLDER}/logs/${name}.${this.#boots}`;
    const machine = await Machine.create({ name, folder, bridgeNetfilter });
    this.#machine = machine;
    await this.#plane.plug(machine);
    await machine.ip(
      `address add ${address}/24 dev eth0`,
      `address add ${address6}/64 dev eth0 nodad`,
      "link set eth0 up",
      `route add default via ${underlay("ipv4", 1)}`,
      `route add default via ${underlay("ipv6", 1)}`,
    );
    if (first) await this.#furnish();
    await this.#start("containerd", ["containerd", "--config=/etc/containerd.toml"]);
    await until(`containerd of ${name} answers`, async () => {
      return (await this.exec(["ctr", "version"])).code === 0;
    }, { every: 50, explain: () => this.tail("containerd") });
    if (first) await this.importImage(POD_IMAGE);
    await this.startKubelet();
    await this.#start("kube-proxy", ["kube-proxy", "--config=/etc/kube-proxy.json", "--v=1"]);
    await this.must(["systemctl", "boot"]);
  }

  /** Plugins and configuration of what runs on it. */
  async #furnish(): Promise<void> {
    const { families, proxy } = this.#options;
    await this.must([
      "sh",
      "-ec",
      'cp $(printf "/usr/lib/cni/%s " "$@") /opt/cni/bin',
      "sh",
      ...KIND_PLUGINS,
    ]);
    this.machine.write("/etc/containerd.toml", RUNTIME);
    this.machine.write("/etc/kubelet.json", JSON.stringify(KUBELET));
    this.machine.write(
      "/etc/kube-proxy.json",
      JSON.stringify({
        apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
        kind: "KubeProxyConfiguration",
        clientConnection: { kubeconfig: this.#plane.kubeconfig("proxy") },
        mode: proxy,
        oomScoreAdj: 0,
        clusterCIDR: rangesOf("pods", families),
        hostnameOverride: this.name,
        conntrack: {
          maxPerCore: 0,
          min: 0,
          tcpEstablishedTimeout: "0s",
          tcpCloseWaitTimeout: "0s",
        },
        metricsBindAddress: "127.0.0.1:10249",
        healthzBindAddress: "127.0.0.1:10256",
      }),
    );
    // docker cp twill NODE:/usr/local/bin/twill
    await this.copyIn(TWILL, "/usr/local/bin/twill");
  }

  /** Starts kubelet; the node registers itself. */
  async startKubelet(): Promise<void> {
    const { families } = this.#options;
    const addresses = {
      ipv4: [this.address],
      ipv6: [this.address6],
      dual: [this.address, this.address6],
    };
    await this.#start("kubelet", [
      "kubelet",
      "--config=/etc/kubelet.json",
      `--kubeconfig=${this.#plane.kubeconfig(this.name)}`,
      `--hostname-override=${this.name}`,
      `--node-ip=${addresses[families]}`,
      "--root-dir=/var/lib/kubelet",
      "--cert-dir=/var/lib/kubelet/pki",
      "--v=1",
    ]);
  }

  async #start(name: string, command: Command): Promise<void> {
    this.#services.set(name, await this.machine.start(name, command));
  }

  /** Ends `containerd`, `kubelet` or `kube-proxy`. */
  async stop(name: string): Promise<void> {
    const service = this.#services.get(name);
    if (service !== undefined) await this.machine.end(service);
    this.#services.delete(name);
  }

  /** Cuts the power. The disk stays. */
  async cutPower(): Promise<void> {
    const machine = this.machine;
    this.#machine = undefined;
    this.#services.clear();
    await machine[Symbol.asyncDispose]();
  }

  /** A file of ours becomes one of the node, as `docker cp` does it. */
  async copyIn(from: string, to: string): Promise<void> {
    await this.must(["install", "-m755", from, to]);
  }

  /** Gives containerd an image, as `kind load image-archive` does it. */
  async importImage(path: string): Promise<void> {
    await this.must(["ctr", "-n", "k8s.io", "images", "import", path]);
  }

  /** Runs a program on the node, to its end; any exit status is a result. */
  exec(command: Command, options?: RunOptions): Promise<Output> {
    return this.machine.exec(command, options);
  }

  /** Runs a program on the node that must succeed. @returns its stdout */
  must(command: Command, options?: RunOptions): Promise<string> {
    return this.machine.must(command, options);
  }

  /** A script of one line in `sh`. @returns its stdout */
  shell(script: string, options?: RunOptions): Promise<string> {
    return this.must(["sh", "-ec", script], options);
  }

  /** A file of the node; undefined when there is none. */
  read(path: string): string | undefined {
    return this.machine.read(path);
  }

  /** The end of the log of `containerd`, `kubelet`, `kube-proxy`, or of a unit (`twill`). */
  tail(name: string, lines = 25): string {
    const service = this.#services.get(name);
    if (service !== undefined) return service.tail(lines);
    const log = this.read(`/var/log/${name}.service.log`);
    return `${this.name}, ${name}:\n${
      log?.trimEnd().split("\n").slice(-lines).join("\n") ?? "no log"
    }`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine?.[Symbol.asyncDispose]();
  }
}
