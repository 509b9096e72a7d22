/**
 * What makes the pod network of a node in these labs: flannel, or twill in the ways that its users
 * install it.
 *
 * @module
 */

import { until } from "../command.ts";
import type { Command } from "../space.ts";
import type { Cluster, Network } from "./cluster.ts";
import { type Families, rangesOf, underlay } from "./control_plane.ts";
import { FOLDER } from "./machine.ts";
import type { KubeNode } from "./node.ts";
import type { KubeObject } from "./objects.ts";

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

const LIST = {
  name: "cbr0",
  cniVersion: "0.3.1",
  plugins: [
    { type: "flannel", delegate: { hairpinMode: true, isDefaultGateway: true } },
    { type: "portmap", capabilities: { portMappings: true } },
  ],
};

/** Writes net-conf.json on a node. */
export async function writeNetConf(
  node: KubeNode,
  cluster: Cluster,
  wish: NetConf = {},
): Promise<void> {
  await node.must(["mkdir", "-p", "/etc/kube-flannel"]);
  node.machine.write(NET_CONF, JSON.stringify(netConf(cluster.families, wish)));
}

const role = (name: string, rules: readonly unknown[]): KubeObject => ({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: { name },
  rules,
});

/** What flannel's manifest makes before its DaemonSet: a namespace, an account, and its rights. */
export const FLANNEL_OBJECTS: readonly KubeObject[] = [
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "kube-flannel" } },
  {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "flannel", namespace: "kube-flannel" },
  },
  role("flannel", [
    { apiGroups: [""], resources: ["pods"], verbs: ["get"] },
    { apiGroups: [""], resources: ["nodes"], verbs: ["get", "list", "watch"] },
    { apiGroups: [""], resources: ["nodes/status"], verbs: ["patch"] },
  ]),
  {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: "flannel" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "flannel" },
    subjects: [{ kind: "ServiceAccount", name: "flannel", namespace: "kube-flannel" }],
  },
];

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

  async remove(node: KubeNode): Promise<void> {
    await node.must(["systemctl", "disable", "--now", "flanneld"]);
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

  async remove(node: KubeNode): Promise<void> {
    await node.must(["systemctl", "disable", "--now", "twill"]);
  }
}
