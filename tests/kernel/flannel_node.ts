/**
 * A node on which flannel is called with its real delegate, by a list with plugins behind it or
 * alone, and whose traces of a pod can be counted.
 *
 * @module
 */

import { Node } from "./node.ts";
import { expect, type Reply, run, type Variables } from "./plugins.ts";

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

/** One host port, as containerd spells it. */
export const PORTS = [{ HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "" }];
/** Limits both ways. */
export const RATES = {
  ingressRate: 1_000_000,
  ingressBurst: 80_000,
  egressRate: 2_000_000,
  egressBurst: 80_000,
};

const ENV = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
`;

/** See the module. */
export class FlannelNode extends Node {
  readonly #dir = this.bench.dir;
  readonly #pods = new Map<string, string>();

  constructor() {
    super();
    Deno.writeTextFileSync(`${this.#dir}/subnet.env`, ENV);
  }

  /** Calls flannel for a pod. */
  flannel(command: string, config: Json = {}, env: Variables = {}): Promise<Reply> {
    return this.plugin("flannel", command, config, env);
  }

  /** Calls a plugin for a pod, with the stores of this node. */
  plugin(plugin: string, command: string, config: Json, env: Variables = {}): Promise<Reply> {
    const id = env["CNI_CONTAINERID"] ?? "c1";
    const netns = this.#pods.get(id) ?? this.bench.pod();
    this.#pods.set(id, netns);
    return this.call({
      plugin,
      env: { CNI_COMMAND: command, CNI_NETNS: netns, ...env },
      config: {
        cniVersion: "1.0.0",
        name: "dbnet",
        subnetFile: `${this.#dir}/subnet.env`,
        dataDir: `${this.#dir}/flannel`,
        ipam: { dataDir: `${this.#dir}/networks` },
        delegate: { hairpinMode: true, isDefaultGateway: true },
        ...config,
      },
    });
  }

  /** ADD by flannel alone, or by the list of flannel's manifest (0.3.1, portmap behind). */
  async add(way: "alone" | "list", runtimeConfig: Json): Promise<void> {
    if (way === "alone") {
      expect(await this.flannel("ADD", { runtimeConfig }), { ok: true });
      return;
    }
    const cniVersion = "0.3.1";
    const prevResult = expect(await this.flannel("ADD", { cniVersion }), { ok: true });
    const behind = await this.plugin("portmap", "ADD", { cniVersion, prevResult, runtimeConfig });
    expect(behind, { ok: true });
  }

  /** DEL, as {@link add}. */
  async del(way: "alone" | "list", runtimeConfig: Json): Promise<void> {
    if (way === "alone") {
      expect(await this.flannel("DEL", { runtimeConfig }), { ok: true });
      return;
    }
    const cniVersion = "0.3.1";
    expect(await this.plugin("portmap", "DEL", { cniVersion, runtimeConfig }), { ok: true });
    expect(await this.flannel("DEL", { cniVersion }), { ok: true });
  }

  /** How many entry rules for host ports a pod has, by either back end. */
  ports(id: string): number {
    return [...this.nat(4, "CNI-HOSTPORT-DNAT"), ...this.nft("ip cni_hostport", "hostports")]
      .filter((rule) => rule.includes(`"${id}"`) || rule.includes(`\\"${id}\\"`)).length;
  }

  /** Deletes all rules, as a careless admin does. */
  dropPorts(): void {
    this.run("nft", "flush", "ruleset");
  }

  /** The kinds of queue that limit what the only pod receives and sends. */
  limits(): { readonly ingress: string; readonly egress: string } {
    const { links, queues } = this.#devices();
    const [end] = links.filter(({ link_netnsid, linkinfo }) =>
      linkinfo?.info_kind === "veth" && link_netnsid !== undefined
    );
    const [ifb] = links.filter(({ linkinfo }) => linkinfo?.info_kind === "ifb");
    const of = (dev?: string): string =>
      queues.find(({ dev: on, root }) => on === dev && root)?.kind ?? "none";
    return { ingress: of(end?.ifname), egress: of(ifb?.ifname) };
  }

  // deno-lint-ignore no-explicit-any -- foreign JSON
  #devices(): { readonly links: any[]; readonly queues: any[] } {
    return this.netns.inside(() => ({
      links: JSON.parse(run("ip", "-j", "-d", "link", "show")),
      queues: JSON.parse(run("tc", "-j", "qdisc", "show")),
    }));
  }

  /** Every trace of pods on the node: addresses, ends of pairs, devices, rules, records. */
  left(): string[] {
    const names = (dir: string): string[] => {
      try {
        return [...Deno.readDirSync(dir)].map(({ name }) => name);
      } catch {
        return [];
      }
    };
    const rules = [
      ...this.nat(4).filter((rule) => rule.includes("CNI-DN-")),
      ...this.nft("ip cni_hostport", "hostports"),
    ];
    return [
      ...names(`${this.#dir}/networks/dbnet`).filter((name) => /^\d/.test(name)),
      ...this.#devices().links.map(({ ifname }) => ifname)
        .filter((name) => /^(?:veth|bwp)/.test(name)),
      ...rules,
      ...names(`${this.#dir}/flannel`).filter((name) => !name.startsWith("."))
        .map((name) => `record ${name}`),
    ];
  }
}
