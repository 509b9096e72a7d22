/**
 * The ways to serve a pod that the bench of plugins compares: whose files, which list, and what
 * they read.
 *
 * @module
 */

import type { ServerBench } from "../kernel/server_bench.ts";
import type { Step } from "./caller.ts";

type Json = Readonly<Record<string, unknown>>;

/** What a pod's list asks for: flannel alone, portmap behind it, or a host port. */
export type List = "alone" | "stock" | "port";

/** Who serves, and how. */
export interface Way {
  readonly name: string;
  /** The plugins' directory. */
  readonly dir: string;
  /** Environment beside that of CNI. */
  readonly env?: Readonly<Record<string, string>>;
  /** False where there is no flannel: its list begins with bridge. */
  readonly flannel?: boolean;
  /** Our own list: flannel serves host ports itself. */
  readonly single?: boolean;
}

const PORTS = [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }];

/** Makes the chains of one bench. */
export class Chains {
  readonly #bench: ServerBench;
  #files = 0;

  constructor(bench: ServerBench) {
    this.#bench = bench;
  }

  /** The processes that a runtime starts, in its order. */
  of(way: Way, list: List, command: "ADD" | "DEL", id: string, netns: string): Step[] {
    const env = this.#file(
      Object.entries({
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        CNI_COMMAND: command,
        CNI_CONTAINERID: id,
        CNI_NETNS: netns,
        CNI_IFNAME: "eth0",
        CNI_PATH: way.dir,
        ...way.env,
      }).map(([name, value]) => `${name}=${value}\n`).join(""),
    );
    const step = (plugin: string, document: Json): Step => {
      return { program: `${way.dir}/${plugin}`, stdin: this.#file(JSON.stringify(document)), env };
    };
    const runtime = list === "port" ? { runtimeConfig: { portMappings: PORTS } } : {};
    const first = way.flannel === false
      ? step("bridge", this.#bridge(way))
      : step("flannel", this.#bench.config({ name: networkOf(way), ...(way.single && runtime) }));
    if (list === "alone" || way.single) return [first];
    const prevResult = previous(way);
    const second = step("portmap", {
      cniVersion: "0.3.1",
      name: networkOf(way),
      type: "portmap",
      prevResult,
      ...runtime,
    });
    return command === "ADD" ? [first, second] : [second, first];
  }

  /** A step that reads nothing of note. */
  plain(program: string): Step {
    return { program, stdin: "/dev/null", env: "/dev/null" };
  }

  /** What flannel hands to bridge on this bench's node. */
  #bridge(way: Way): Json {
    return {
      cniVersion: "0.3.1",
      name: networkOf(way),
      type: "bridge",
      bridge: "cni1",
      hairpinMode: true,
      isDefaultGateway: true,
      isGateway: true,
      ipMasq: false,
      mtu: 1500,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: "10.78.0.0/16" }]],
        routes: [{ dst: "10.77.0.0/16" }],
        dataDir: `${this.#bench.dir}/networks`,
      },
    };
  }

  #file(text: string): string {
    const path = `${this.#bench.dir}/call-${this.#files++ % 4096}`;
    Deno.writeTextFileSync(path, text);
    return path;
  }
}

/** Each way has addresses of its own. */
function networkOf({ name }: Way): string {
  return name.replaceAll(/\W+/g, "-");
}

function previous(way: Way): Json {
  const net = way.flannel === false ? "10.78.0" : "10.77.1";
  return {
    cniVersion: "0.3.1",
    interfaces: [{ name: "eth0", sandbox: "/run/netns/x" }],
    ips: [{ version: "4", interface: 0, address: `${net}.9/24`, gateway: `${net}.1` }],
    dns: {},
  };
}
