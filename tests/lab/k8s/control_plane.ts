/**
 * The control plane: a machine with etcd, API server, controller manager and scheduler. It also is
 * the switch that all nodes are plugged into, their default gateway, and the host outside, which
 * knows no way to any pod.
 *
 * @module
 */

import { must, until } from "../command.ts";
import type { Service } from "../service.ts";
import type { Command } from "../space.ts";
import { Certificates } from "../../kernel/certificates.ts";
import { FOLDER, Machine } from "./machine.ts";

/** Address families of pods and services; the underlay always has both. */
export type Families = "ipv4" | "ipv6" | "dual";

/** What pods and services get their addresses from. */
const RANGES = {
  pods: { ipv4: "10.244.0.0/16", ipv6: "fd00:10:244::/56" },
  services: { ipv4: "10.96.0.0/16", ipv6: "fd00:10:96::/112" },
} as const;

/** The network of the nodes: .1 is the control plane, .11 and on are nodes. */
const UNDERLAY = { ipv4: "172.30.0.", ipv6: "fd00:30::" } as const;

/** The switch's name in the control plane's network. */
const WIRE = "wire";

/** Address of a place on the underlay. */
export function underlay(family: "ipv4" | "ipv6", number: number): string {
  return `${UNDERLAY[family]}${number}`;
}

/** The ranges of a kind, in the order of Kubernetes. */
export function rangesOf(kind: keyof typeof RANGES, families: Families): string {
  const { ipv4, ipv6 } = RANGES[kind];
  return families === "dual" ? `${ipv4},${ipv6}` : families === "ipv4" ? ipv4 : ipv6;
}

/** What a control plane is made with. */
export interface ControlPlaneOptions {
  readonly families: Families;
  /** Whether the controller manager gives each node a podCIDR. */
  readonly nodeCidrs: boolean;
}

/** Its programs. */
export type Component = "etcd" | "apiserver" | "kcm" | "scheduler";

/** The users of the API server beside nodes: names and groups as Kubernetes has them. */
const USERS = {
  admin: ["admin", "system:masters"],
  kcm: ["system:kube-controller-manager", ""],
  scheduler: ["system:kube-scheduler", ""],
  proxy: ["system:kube-proxy", ""],
} as const;

/** More than any cluster of the lab has. */
const MOST_NODES = 20;

/** Where the PKI is; all machines see it. */
const PKI = `${FOLDER}/pki`;

/** A running control plane. */
export class ControlPlane implements AsyncDisposable {
  readonly machine: Machine;
  /** The API server as nodes reach it. */
  readonly url: string;
  readonly certificates: Certificates;
  readonly #options: ControlPlaneOptions;
  readonly #running = new Map<Component, Service>();

  private constructor(
    machine: Machine,
    certificates: Certificates,
    options: ControlPlaneOptions,
  ) {
    this.machine = machine;
    this.certificates = certificates;
    this.#options = options;
    const host = options.families === "ipv6" ? `[${underlay("ipv6", 1)}]` : underlay("ipv4", 1);
    this.url = `https://${host}:6443`;
  }

  /** Starts all of it; the API answers when this returns. */
  static async create(options: ControlPlaneOptions): Promise<ControlPlane> {
    await using stack = new AsyncDisposableStack();
    const certificates = stack.use(new Certificates());
    const machine = stack.use(await Machine.create({ name: "cp", folder: `${FOLDER}/logs/cp` }));
    // A switch that forwards at once, and an address on it.
    await machine.ip(
      `link add ${WIRE} type bridge forward_delay 0 stp_state 0 mcast_snooping 0`,
      `address add ${underlay("ipv4", 1)}/24 dev ${WIRE}`,
      `address add ${underlay("ipv6", 1)}/64 dev ${WIRE} nodad`,
      `link set ${WIRE} up`,
    );
    const plane = new ControlPlane(machine, certificates, options);
    await plane.#makeSecrets();
    await plane.start("etcd");
    await plane.start("apiserver");
    await plane.answers();
    await plane.start("kcm");
    await plane.start("scheduler");
    stack.move();
    return plane;
  }

  async #makeSecrets(): Promise<void> {
    Deno.mkdirSync(PKI, { mode: 0o700 });
    const { certificates } = this;
    await must(
      ["sh", "-ec", "openssl genrsa -out $1 2048; openssl rsa -in $1 -pubout -out $2", "sh"]
        .concat(`${PKI}/sa.key`, `${PKI}/sa.pub`) as [string, ...string[]],
    );
    const own = [underlay("ipv4", 1), underlay("ipv6", 1), "127.0.0.1"];
    // The first address of the services' range is the API server's own.
    const service = rangesOf("services", "dual").split(",").map((range) =>
      range.replace(/(?:0|)\/\d+$/, "1")
    );
    certificates.issue("apiserver", [
      ...[...own, ...service].map((ip) => `IP:${ip}`),
      "DNS:kubernetes.default.svc",
    ]);
    const lines: string[] = [];
    const add = (file: string, name: string, group: string): void => {
      const token = crypto.randomUUID();
      lines.push(`${token},${name},${name},"${group}"`);
      this.writeKubeconfig(file, token);
    };
    for (const [file, [name, group]] of Object.entries(USERS)) add(file, name, group);
    for (let i = 1; i <= MOST_NODES; i++) add(`node${i}`, `system:node:node${i}`, "system:nodes");
    Deno.writeTextFileSync(`${PKI}/tokens.csv`, lines.map((line) => `${line}\n`).join(""));
  }

  /** The authority's certificate, PEM. */
  get authority(): string {
    return Deno.readTextFileSync(this.certificates.ca);
  }

  /** Writes a kubeconfig with a token; all machines see it. @returns its path */
  writeKubeconfig(name: string, token: string): string {
    const path = this.kubeconfig(name);
    const data = btoa(this.authority);
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{
        name: "lab",
        cluster: { server: this.url, "certificate-authority-data": data },
      }],
      users: [{ name: "user", user: { token } }],
      contexts: [{ name: "lab", context: { cluster: "lab", user: "user" } }],
      "current-context": "lab",
    };
    Deno.writeTextFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** Path of the kubeconfig of a user: `admin`, `proxy`, `node1`, …. */
  kubeconfig(name: string): string {
    return `${PKI}/${name}.kubeconfig`;
  }

  #command(component: Component): Command {
    const { certificates } = this;
    const { families, nodeCidrs } = this.#options;
    const cert = certificates.path("apiserver.pem");
    const key = certificates.path("apiserver.key");
    const v6 = families === "ipv6";
    const services = `--service-cluster-ip-range=${rangesOf("services", families)}`;
    switch (component) {
      case "etcd":
        return [
          "etcd",
          `--data-dir=${FOLDER}/cp/etcd`,
          "--listen-client-urls=http://127.0.0.1:2379",
          "--advertise-client-urls=http://127.0.0.1:2379",
          "--listen-peer-urls=http://127.0.0.1:2380",
          "--log-level=warn",
        ];
      case "apiserver":
        return [
          "kube-apiserver",
          "--etcd-servers=http://127.0.0.1:2379",
          `--bind-address=${v6 ? "::" : "0.0.0.0"}`,
          "--secure-port=6443",
          `--advertise-address=${underlay(v6 ? "ipv6" : "ipv4", 1)}`,
          `--tls-cert-file=${cert}`,
          `--tls-private-key-file=${key}`,
          `--client-ca-file=${certificates.ca}`,
          `--service-account-key-file=${PKI}/sa.pub`,
          `--service-account-signing-key-file=${PKI}/sa.key`,
          "--service-account-issuer=https://kubernetes.default.svc",
          services,
          `--token-auth-file=${PKI}/tokens.csv`,
          "--authorization-mode=Node,RBAC",
          "--enable-admission-plugins=NodeRestriction",
          "--kubelet-preferred-address-types=InternalIP",
          "--allow-privileged=true",
          `--cert-dir=${FOLDER}/cp/apiserver`,
          "--profiling=false",
        ];
      case "kcm":
        return [
          "kube-controller-manager",
          `--kubeconfig=${this.kubeconfig("kcm")}`,
          "--leader-elect=false",
          `--allocate-node-cidrs=${nodeCidrs}`,
          ...(nodeCidrs ? [`--cluster-cidr=${rangesOf("pods", families)}`, services] : []),
          `--service-account-private-key-file=${PKI}/sa.key`,
          `--root-ca-file=${certificates.ca}`,
          "--use-service-account-credentials=true",
          "--bind-address=127.0.0.1",
          `--cert-dir=${FOLDER}/cp/kcm`,
        ];
      case "scheduler":
        return [
          "kube-scheduler",
          `--kubeconfig=${this.kubeconfig("scheduler")}`,
          "--leader-elect=false",
          "--bind-address=127.0.0.1",
          `--cert-dir=${FOLDER}/cp/scheduler`,
        ];
    }
  }

  /** Plugs a machine into the switch; its end is `eth0`. */
  async plug(machine: Machine): Promise<void> {
    // From out here, since processes have other numbers in there.
    const [port, plane] = [machine.name, String(this.machine.pid)];
    const ends = `add ${port} netns ${plane} type veth peer name eth0 netns ${machine.pid}`;
    await must(["ip", "link", ...ends.split(" ")]);
    await this.machine.ip(`link set ${port} master ${WIRE} up`);
  }

  /** Starts one of its programs. */
  async start(component: Component): Promise<void> {
    this.#running.set(
      component,
      await this.machine.start(component, this.#command(component)),
    );
  }

  /** Ends one of its programs; its clients lose their connections. */
  async stop(component: Component, name: Deno.Signal = "SIGKILL"): Promise<void> {
    const running = this.#running.get(component);
    if (running !== undefined) await this.machine.end(running, name);
    this.#running.delete(component);
  }

  /** Waits until the API server is ready. */
  async answers(): Promise<void> {
    const server = this.#running.get("apiserver");
    const command: Command = [
      "kubectl",
      `--kubeconfig=${this.kubeconfig("admin")}`,
      "get",
      "--raw=/readyz",
    ];
    await until("the API server answers", async () => {
      return (await this.machine.exec(command)).code === 0;
    }, { seconds: 90, every: 100, explain: () => server?.tail() ?? "" });
  }

  /** One request to the store of Kubernetes. @returns what it printed */
  etcdctl(...args: readonly string[]): Promise<string> {
    return this.machine.must(["etcdctl", "--endpoints=http://127.0.0.1:2379", ...args], {
      env: { ETCDCTL_API: "3" },
    });
  }

  /** The end of a program's log. */
  tail(component: Component): string {
    return this.#running.get(component)?.tail() ?? `${component} does not run`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
    this.certificates[Symbol.dispose]();
  }
}
