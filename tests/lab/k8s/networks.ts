/**
 * What makes the pod network of a node in these labs: flannel, or twill in the ways that its users
 * install it.
 *
 * @module
 */

import { must, until } from "../command.ts";
import { HEALTH_PORT, TWILL } from "../node.ts";
import type { Command } from "../space.ts";
import type { Cluster, Network } from "./cluster.ts";
import { type Families, rangesOf, underlay } from "./control_plane.ts";
import { FLANNEL_OBJECTS, flannelDaemonSet, LIST } from "./flannel_manifest.ts";
import { flannelImage, type Image, twillImage } from "./images.ts";
import { FOLDER } from "./machine.ts";
import type { KubeNode } from "./node.ts";

/** The part of net-conf.json that a test chooses. */
export interface NetConf {
  /** Default `{ Type: "vxlan" }`. */
  readonly Backend?: Readonly<Record<string, unknown>>;
  readonly EnableNFTables?: boolean;
}

/** The whole net-conf for a cluster's ranges. */
export function netConf(families: Families, wish: NetConf = {}): Readonly<Record<string, unknown>> {
  const [first = "", second = ""] = rangesOf("pods", "dual").split(",");
  return {
    ...(families === "ipv6" ? { EnableIPv4: false } : { Network: first }),
    ...(families !== "ipv4" && { EnableIPv6: true, IPv6Network: second }),
    Backend: { Type: "vxlan" },
    ...wish,
  };
}

/** Where flannel and twill look for it. */
const NET_CONF = "/etc/kube-flannel/net-conf.json";

/** Writes net-conf.json on a node. */
export async function writeNetConf(
  node: KubeNode,
  cluster: Cluster,
  wish: NetConf = {},
): Promise<void> {
  await node.must(["mkdir", "-p", "/etc/kube-flannel"]);
  node.machine.write(NET_CONF, JSON.stringify(netConf(cluster.families, wish)));
}

/** flannel itself: flanneld as a service, and Debian's plugins beside a stand-in for its own. */
export class Flannel implements Network {
  readonly name = "flannel";
  readonly #conf: NetConf;

  constructor(conf: NetConf = {}) {
    this.#conf = conf;
  }

  async prepare(cluster: Cluster): Promise<void> {
    await cluster.apply(...FLANNEL_OBJECTS);
    const token = await cluster.kubectl(
      ["-n", "kube-flannel", "create", "token", "flannel", "--duration=24h"],
    );
    cluster.plane.writeKubeconfig("flannel", token.trim());
  }

  async install(node: KubeNode, cluster: Cluster): Promise<void> {
    const own = `${Deno.env.get("TWILL_K8S")}/cni/flannel`;
    await node.must(["install", "-m755", own, "/usr/lib/cni/bridge", "/opt/cni/bin"]);
    await writeNetConf(node, cluster, this.#conf);
    node.machine.write(
      "/etc/systemd/system/flanneld.service",
      `[Service]
Environment=NODE_NAME=${node.name}
ExecStart=flanneld --kube-subnet-mgr --kubeconfig-file=${
        cluster.plane.kubeconfig("flannel")
      } --iface=eth0 --ip-masq
RestartSec=1
`,
    );
    await node.must(["systemctl", "enable", "--now", "flanneld"]);
    node.machine.write("/etc/cni/net.d/10-flannel.conflist", JSON.stringify(LIST));
  }
}

/** The DaemonSet of flannel's manifest and of ours. */
const DAEMON_SET = ["-n", "kube-flannel", "rollout", "status", "daemonset", "kube-flannel-ds"];

/** Waits until all nodes have the DaemonSet that was applied last. */
export async function rolledOut(cluster: Cluster): Promise<void> {
  await cluster.kubectl([...DAEMON_SET, "--timeout=170s"], { seconds: 180 });
}

/** flannel as its users have it: a DaemonSet, and Debian's `bridge` on each node. */
export class FlannelDaemonSet implements Network {
  readonly name = "flannel, DaemonSet";
  readonly #conf: NetConf;
  #image: Image | undefined;

  constructor(conf: NetConf = {}) {
    this.#conf = conf;
  }

  async prepare(cluster: Cluster): Promise<void> {
    this.#image = await flannelImage();
    const conf = netConf(cluster.families, this.#conf);
    await cluster.apply(...FLANNEL_OBJECTS, ...flannelDaemonSet(this.#image.name, conf));
  }

  async install(node: KubeNode): Promise<void> {
    await node.must(["cp", "/usr/lib/cni/bridge", "/opt/cni/bin"]);
    if (this.#image !== undefined) await node.importImage(this.#image.path);
  }
}

/** etcd with TLS and client certificates, beside that of Kubernetes: the store of {@link TwillEtcd}. */
const STORE = `https://${underlay("ipv4", 1)}:4001`;

/** twill from a copied file, with leases in an etcd that asks for client certificates. */
export class TwillEtcd implements Network {
  readonly name = "twill, etcd";
  readonly #conf: NetConf;

  constructor(conf: NetConf = {}) {
    this.#conf = conf;
  }

  async prepare(cluster: Cluster): Promise<void> {
    const { machine, certificates } = cluster.plane;
    const server = certificates.issue("store", [`IP:${underlay("ipv4", 1)}`]);
    const client = certificates.issue("client");
    const etcd = await machine.start("store", [
      "etcd",
      `--data-dir=${FOLDER}/cp/store`,
      `--listen-client-urls=${STORE}`,
      `--advertise-client-urls=${STORE}`,
      "--listen-peer-urls=http://127.0.0.1:4002",
      `--cert-file=${server.cert}`,
      `--key-file=${server.key}`,
      `--trusted-ca-file=${server.ca}`,
      "--client-cert-auth",
      "--log-level=warn",
    ]);
    const tls = [`--cacert=${client.ca}`, `--cert=${client.cert}`, `--key=${client.key}`];
    const conf = JSON.stringify(netConf(cluster.families, this.#conf));
    const put = ["put", "/coreos.com/network/config", conf];
    await until("the store answers", async () => {
      const command: Command = ["etcdctl", `--endpoints=${STORE}`, ...tls, ...put];
      return (await machine.exec(command, { env: { ETCDCTL_API: "3" } })).code === 0;
    }, { every: 100, explain: () => etcd.tail() });
  }

  async install(node: KubeNode, { plane: { certificates } }: Cluster): Promise<void> {
    await node.must(["install", "-m700", "-d", "/etc/twill"]);
    for (const file of ["ca.pem", "client.pem", "client.key"]) {
      await node.must(["install", "-m600", certificates.path(file), `/etc/twill/${file}`]);
    }
    await node.must([
      ...["twill", "install", "--systemd", "--"] as const,
      `--etcd-endpoints=${STORE}`,
      "--etcd-cafile=/etc/twill/ca.pem",
      "--etcd-certfile=/etc/twill/client.pem",
      "--etcd-keyfile=/etc/twill/client.key",
      "--iface=eth0",
      "--ip-masq",
    ]);
  }
}

/** Where users put it on nodes. */
const KUBECONFIG = "/etc/twill/kubeconfig";

/** twill from a copied file, with leases in the API: in kind nodes, step by step as in README.md. */
export class TwillService implements Network {
  readonly name = "twill, copied file";
  readonly #settings: readonly string[];
  #kubeconfig = "";
  #conf = "";

  /** @param settings for `--set` of the manifest that its configuration comes from */
  constructor(settings: readonly string[] = []) {
    this.#settings = settings;
  }

  async prepare(cluster: Cluster): Promise<void> {
    for (const part of ["rbac", "token"]) {
      const objects = await must([TWILL, "manifest", `--only=${part}`]);
      await cluster.kubectl(["apply", "-f", "-"], { stdin: objects });
    }
    const secret = await until("the ServiceAccount has a token", async () => {
      const get = ["-n", "kube-flannel", "get", "secret", "flannel-token", "-o", "json"];
      const text = await cluster.kubectl(get);
      return JSON.parse(text).data?.token !== undefined && text;
    }, { every: 100 });
    const print: Command = [
      TWILL,
      "manifest",
      "--only=kubeconfig",
      `--server=${cluster.plane.url}`,
    ];
    this.#kubeconfig = await must(print, { stdin: secret });
    this.#conf = await manifest([...rangesFor(cluster), ...this.#settings], "--only=net-conf");
  }

  async install(node: KubeNode): Promise<void> {
    await node.must(["mkdir", "-p", "/etc/twill", "/etc/kube-flannel"]);
    node.machine.write(NET_CONF, this.#conf);
    await node.must(["sh", "-c", `umask 077; cat >${KUBECONFIG}`], { stdin: this.#kubeconfig });
    await this.upgrade(node);
  }

  /** Installs what is in `/usr/local/bin/twill`, also over another build. */
  async upgrade(node: KubeNode): Promise<void> {
    await node.must([
      ...["twill", "install", "--systemd", "--", "--kube-subnet-mgr"] as const,
      `--kubeconfig-file=${KUBECONFIG}`,
      "--ip-masq",
      `--healthz-port=${HEALTH_PORT}`,
    ]);
  }
}

/** What `twill manifest` prints with these settings. */
export function manifest(
  settings: readonly string[],
  ...words: readonly string[]
): Promise<string> {
  return must([TWILL, "manifest", ...settings.map((setting) => `--set=${setting}`), ...words]);
}

/** Settings of the manifest for the cluster's ranges. */
function rangesFor({ families }: Cluster): readonly string[] {
  const { Network: network = "", IPv6Network: network6 = "" } = netConf(families);
  return [`network=${network}`, `network6=${network6}`];
}

/** twill as a DaemonSet from its manifest. */
export class TwillDaemonSet implements Network {
  readonly name = "twill, DaemonSet";
  readonly #settings: readonly string[];
  #image: Image | undefined;

  /** @param settings for `--set`, such as `nftables=true` */
  constructor(settings: readonly string[] = []) {
    this.#settings = settings;
  }

  async prepare(cluster: Cluster): Promise<void> {
    this.#image = await twillImage();
    const objects = await manifest([...rangesFor(cluster), ...this.#settings]);
    await cluster.kubectl(["apply", "-f", "-"], { stdin: objects });
  }

  async install(node: KubeNode): Promise<void> {
    if (this.#image !== undefined) await node.importImage(this.#image.path);
  }
}
