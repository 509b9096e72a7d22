/**
 * A real API server on the etcd of a lab, without any kubelet or controller: node objects are what a
 * test writes. Its users are those of the manifest that twill prints.
 *
 * @module
 */

import { Certificates } from "../../kernel/certificates.ts";
import { Hopeless, must, type Output, until } from "../command.ts";
import type { Lab } from "../lab.ts";
import { HEALTH_PORT, type Node, TWILL } from "../node.ts";
import type { Service } from "../service.ts";
import type { Command } from "../space.ts";

const ADDRESS = "192.168.200.10";
/** Where a node finds its kubeconfig. */
const KUBECONFIG = "/etc/twill/kubeconfig";
const CONFLIST = "/etc/cni/net.d/10-flannel.conflist";

/** Any object. */
// deno-lint-ignore no-explicit-any
export type Raw = Record<string, any>;

/** See the module. Stand in the lab's store. */
export class ApiServer implements Disposable {
  readonly #lab: Lab;
  readonly #certificates = new Certificates();
  #server: Service | undefined;

  private constructor(lab: Lab) {
    this.#lab = lab;
  }

  /** Starts it, and gives it the account and rights of `twill manifest`. */
  static async create(lab: Lab): Promise<ApiServer> {
    const api = new ApiServer(lab);
    try {
      await api.#prepare();
      await api.start();
      const rbac = await must([TWILL, "manifest", "--only", "rbac"]);
      await api.kubectl(["apply", "-f", "-"], rbac);
      return api;
    } catch (e) {
      api[Symbol.dispose]();
      throw e;
    }
  }

  async #prepare(): Promise<void> {
    const certificates = this.#certificates;
    certificates.issue("api", [`IP:${ADDRESS}`]);
    const [key, pub] = [certificates.path("sa.key"), certificates.path("sa.pub")];
    await must(["openssl", "genrsa", "-out", key, "2048"]);
    await must(["openssl", "rsa", "-in", key, "-pubout", "-out", pub]);
    certificates.write("tokens.csv", 'admin,admin,admin,"system:masters"\n');
    certificates.write("admin", this.#kubeconfig("admin"));
  }

  #kubeconfig(token: string): string {
    const ca = btoa(Deno.readTextFileSync(this.#certificates.ca));
    return JSON.stringify({
      clusters: [{
        name: "lab",
        cluster: { server: `https://${ADDRESS}:6443`, "certificate-authority-data": ca },
      }],
      users: [{ name: "user", user: { token } }],
      contexts: [{ name: "lab", context: { cluster: "lab", user: "user" } }],
      "current-context": "lab",
    });
  }

  /** Starts the server and waits until it answers. */
  async start(): Promise<void> {
    const certificates = this.#certificates;
    const { space, endpoint } = this.#lab.etcd;
    const server = this.#server = await space.start("apiserver", [
      "kube-apiserver",
      `--etcd-servers=${endpoint}`,
      `--advertise-address=${ADDRESS}`,
      `--bind-address=${ADDRESS}`,
      `--tls-cert-file=${certificates.path("api.pem")}`,
      `--tls-private-key-file=${certificates.path("api.key")}`,
      `--service-account-key-file=${certificates.path("sa.pub")}`,
      `--service-account-signing-key-file=${certificates.path("sa.key")}`,
      "--service-account-issuer=https://kubernetes.default.svc",
      "--service-cluster-ip-range=10.96.0.0/16",
      `--token-auth-file=${certificates.path("tokens.csv")}`,
      "--allow-privileged=true",
      "--authorization-mode=Node,RBAC",
      `--cert-dir=${this.#lab.folder}/apiserver`,
      "--profiling=false",
      "--max-requests-inflight=0",
      "--max-mutating-requests-inflight=0",
      "--enable-priority-and-fairness=false",
    ]);
    let last = "";
    await until("the API server answers", async () => {
      if (server.code !== undefined) throw new Hopeless("the API server has ended");
      const { code, stdout, stderr } = await this.curl("GET", "/readyz");
      last = `${stderr}${stdout}`;
      return code === 0;
    }, { seconds: 60, every: 100, explain: () => `${last}\n${server.tail()}` });
  }

  /** Ends the server at once; what it knew is in etcd. */
  async stop(): Promise<void> {
    await this.#server?.stop("SIGKILL");
  }

  /** Its authority's certificate, PEM. */
  get authority(): string {
    return Deno.readTextFileSync(this.#certificates.ca);
  }

  /** Where it answers. */
  get url(): string {
    return `https://${ADDRESS}:6443`;
  }

  /** Runs kubectl with a kubeconfig of somebody else; any exit status is a result. */
  kubectlAs(kubeconfig: string, args: readonly string[]): Promise<Output> {
    const path = this.#certificates.write("other", kubeconfig);
    return this.#lab.etcd.space.exec(["kubectl", `--kubeconfig=${path}`, ...args]);
  }

  /** Runs kubectl as the administrator. */
  kubectl(args: readonly string[], stdin?: string): Promise<string> {
    const command: Command = ["kubectl", `--kubeconfig=${this.#certificates.path("admin")}`];
    const options = stdin === undefined ? {} : { stdin };
    return this.#lab.etcd.space.must([...command, ...args], options);
  }

  /** One request as the administrator; code 0 when the answer is a good one. */
  curl(method: string, path: string, body?: Raw, type = "application/json"): Promise<Output> {
    return this.#lab.etcd.space.exec([
      ...this.#curl(),
      "--request",
      method,
      `https://${ADDRESS}:6443${path}`,
      ...(body === undefined ? [] : ["--header", `content-type: ${type}`, "--data-binary", "@-"]),
    ], body === undefined ? {} : { stdin: JSON.stringify(body) });
  }

  #curl(): Command {
    const token = ["--header", "authorization: Bearer admin"];
    return [
      "curl",
      "--silent",
      "--show-error",
      "--fail-with-body",
      "--max-time",
      "10",
      "--cacert",
      this.#certificates.ca,
    ]
      .concat(token) as [string, ...string[]];
  }

  /** A request that must succeed; the answer. */
  async ask(method: string, path: string, body?: Raw, type?: string): Promise<Raw> {
    const { code, stdout, stderr } = await this.curl(method, path, body, type);
    if (code !== 0) throw new Error(`${method} ${path}: ${stderr}${stdout}`);
    return JSON.parse(stdout);
  }

  /** Creates many objects in one list. */
  async createMany(path: string, objects: readonly Raw[]): Promise<void> {
    const requests = objects.map((object) => {
      const file = this.#certificates.write(
        `many-${object.metadata.name}.json`,
        JSON.stringify(object),
      );
      return [
        `url = https://${ADDRESS}:6443${path}`,
        `header = "authorization: Bearer admin"`,
        `header = "content-type: application/json"`,
        `cacert = ${this.#certificates.ca}`,
        `data-binary = "@${file}"`,
        "output = /dev/null",
        "fail",
      ].join("\n");
    });
    const flags = ["--silent", "--show-error", "--parallel", "--parallel-max", "10"];
    await this.#lab.etcd.space.must(["curl", ...flags, "--config", "-"], {
      stdin: requests.join("\nnext\n"),
    });
  }

  /** Changes some members of an object; `null` removes one. */
  merge(path: string, patch: Raw): Promise<Raw> {
    return this.ask("PATCH", path, patch, "application/merge-patch+json");
  }

  /** Gives a node what twill needs there; its flags. @param conf the network configuration */
  async equip(node: Node, conf: object): Promise<string[]> {
    const token = await this.kubectl(["-n", "kube-flannel", "create", "token", "flannel"]);
    await node.must(["mkdir", "-p", "/etc/twill", "/etc/kube-flannel"]);
    await node.must(["rm", "-f", CONFLIST]);
    node.write(KUBECONFIG, this.#kubeconfig(token.trim()));
    node.write("/etc/kube-flannel/net-conf.json", JSON.stringify(conf));
    return [
      "--kube-subnet-mgr",
      `--kubeconfig-file=${KUBECONFIG}`,
      `--conflist-file=${CONFLIST}`,
      "--iface=eth0",
      "--ip-masq",
      `--healthz-port=${HEALTH_PORT}`,
    ];
  }

  [Symbol.dispose](): void {
    this.#certificates[Symbol.dispose]();
  }
}
