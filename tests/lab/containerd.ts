/**
 * containerd with its CRI plugin on a node of the lab, and an image for pods that do nothing.
 *
 * It runs in the node's namespaces like any other service. What that needs beyond the settings of a
 * real node: no cgroup limits and no negative OOM scores (the lab may have neither), the snapshotter
 * that needs no overlay on overlay, and no AppArmor.
 *
 * @module
 */

import { must, until } from "./command.ts";
import { Cri } from "./cri.ts";
import type { Node } from "./node.ts";
import { makeRoot, PAUSE } from "./pause.ts";
import type { Service } from "./service.ts";

const SOCKET = "/run/containerd/containerd.sock";
const IMAGE = "lab.local/pause:1";

/** Plugins of containerd that only say that they cannot work here. */
const UNUSED = ["btrfs", "zfs", "aufs", "devmapper"].map((name) =>
  `"io.containerd.snapshotter.v1.${name}"`
);

function configuration(): string {
  return `version = 2
root = "/run/containerd-root"
state = "/run/containerd"
disabled_plugins = [${UNUSED.join(", ")}]
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${IMAGE}"
  disable_apparmor = true
  disable_cgroup = true
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`;
}

// One layer with one program, as an OCI image layout. An image of Docker's or of a registry would do
// as well, but none is in reach.
const MAKE_IMAGE = String.raw`
dir=$1 name=$2
mkdir -p "$dir/image/blobs/sha256"
tar -C "$dir/root" --owner=0 --group=0 -cf "$dir/layer" .
blob() {
  sum=$(sha256sum "$1" | cut -d' ' -f1) size=$(stat -c %s "$1")
  mv "$1" "$dir/image/blobs/sha256/$sum"
}
oci() { printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s' "$1" "$sum" "$size"; }
blob "$dir/layer"
layer=$(oci layer.v1.tar)} diff=$sum
printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/pause"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$diff" >"$dir/config"
blob "$dir/config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s},"layers":[%s]}' "$(oci config.v1+json)" "$layer" >"$dir/manifest"
blob "$dir/manifest"
printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"io.containerd.image.name":"%s"}}]}' "$(oci manifest.v1+json)" "$name" >"$dir/image/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$dir/image/oci-layout"
tar -C "$dir/image" -cf "$dir/image.tar" .
`;

/** A running containerd. Disposing of it takes its pods away and stops it. */
export class Containerd implements AsyncDisposable {
  readonly cri: Cri;
  readonly #node: Node;
  readonly #service: Service;
  readonly #sandboxes = new Set<string>();

  private constructor(node: Node, service: Service) {
    this.#node = node;
    this.#service = service;
    this.cri = new Cri(node.path(SOCKET));
  }

  /** Starts it; it can make pods as soon as there is a network. */
  static async start(node: Node): Promise<Containerd> {
    // A cgroup namespace would not help: groups are the machine's. runc removes its own.
    await node.must(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"]);
    node.write("/etc/containerd.toml", configuration());
    const service = await node.start("containerd", [
      "containerd",
      "--config=/etc/containerd.toml",
    ]);
    const folder = await makeRoot(node);
    await must(["sh", "-ec", MAKE_IMAGE, "sh", folder, IMAGE]);
    await until("containerd answers", async () => {
      const { code } = await node.exec(["ctr", "version"]);
      return code === 0;
    }, { every: 50, explain: () => service.tail() });
    await node.must(["ctr", "-n", "k8s.io", "images", "import", `${PAUSE}/image.tar`]);
    return new Containerd(node, service);
  }

  /** Makes a pod. @returns its ID. @throws {Error} with the end of the log */
  async run(name: string, hostPorts: Readonly<Record<number, number>> = {}): Promise<string> {
    try {
      const id = await this.cri.runSandbox({ name, hostPorts });
      this.#sandboxes.add(id);
      return id;
    } catch (cause) {
      throw new Error(`${cause}\n${this.#service.tail(8)}`, { cause });
    }
  }

  /** Takes a pod away. */
  async remove(id: string): Promise<void> {
    await this.cri.stopSandbox(id);
    await this.cri.removeSandbox(id);
    this.#sandboxes.delete(id);
  }

  /** Names in /run/netns: one for each pod. */
  namespaces(): string[] {
    return this.#node.list("/run/netns");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const id of this.#sandboxes) await this.remove(id).catch(() => {});
    this.cri[Symbol.dispose]();
    await this.#service.stop("SIGKILL");
  }
}
