/**
 * A pod behind the firewall plugin, and the rules that the plugin is to make.
 *
 * @module
 */

import { Chain, type ChainOptions, type Json } from "./chain.ts";
import { run } from "./plugins.ts";

const RANGES = [[{ subnet: "10.1.2.0/24" }], [{ subnet: "2001:db8::/64" }]];

/** A pod on a bridge. The tables filter are empty again when disposed. */
export class Walled extends Chain {
  with(config: Json, options: Partial<ChainOptions> = {}): ChainOptions {
    const firewall = { type: "firewall", backend: "iptables", ...config };
    return { plugins: [this.bridge, firewall], ...options };
  }

  /** The same with an address of each family. */
  dual(config: Json, options: Partial<ChainOptions> = {}): ChainOptions {
    const { dataDir } = this.bridge["ipam"] as Json;
    const bridge = { ...this.bridge, ipam: { type: "host-local", ranges: RANGES, dataDir } };
    const { plugins, ...rest } = this.with(config, options);
    return { plugins: [bridge, plugins[1]!], ...rest };
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    for (const program of ["iptables", "ip6tables"]) {
      for (const option of ["-F", "-X"]) run(program, "-t", "filter", option);
    }
  }
}

/** The chains and rules of ours in a table filter. */
export function rules(program: "iptables" | "ip6tables" = "iptables"): string[] {
  return run(`${program}-save`, "-t", "filter").split("\n").filter((line) =>
    line.startsWith("-A") || line.startsWith(":CNI")
  ).map((line) => line.replace(/ \[\d+:\d+\]$/, ""));
}

/** The two rules of an address. */
export function of(ip: string): string[] {
  return [
    `-A CNI-FORWARD -d ${ip} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A CNI-FORWARD -s ${ip} -j ACCEPT`,
  ];
}

/** The way to our chain. */
export const HOOK = '-A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD';
/** The first rule of our chain. */
export function admin(chain = "CNI-ADMIN"): string {
  return `-A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j ${chain}`;
}
/** Our chains. */
export const CHAINS = [":CNI-ADMIN -", ":CNI-FORWARD -"];

/** All of ours with isolation, of 10.1.2.2. */
export function isolation(policy: "same-bridge" | "isolated", bridge: string): string[] {
  const own = `-m comment --comment "CNI firewall plugin rules (ingressPolicy: ${policy})"`;
  const shared =
    '-m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)"';
  return [
    ...CHAINS,
    ":CNI-ISOLATION-STAGE-1 -",
    ":CNI-ISOLATION-STAGE-2 -",
    `-A FORWARD ${shared} -j CNI-ISOLATION-STAGE-1`,
    HOOK,
    admin(),
    ...of("10.1.2.2/32"),
    ...(policy === "isolated"
      ? [`-A CNI-ISOLATION-STAGE-1 -i ${bridge} -o ${bridge} ${own} -j DROP`]
      : []),
    `-A CNI-ISOLATION-STAGE-1 -i ${bridge} ! -o ${bridge} ${own} -j CNI-ISOLATION-STAGE-2`,
    `-A CNI-ISOLATION-STAGE-1 ${shared} -j RETURN`,
    `-A CNI-ISOLATION-STAGE-2 -o ${bridge} ${shared} -j DROP`,
    `-A CNI-ISOLATION-STAGE-2 ${shared} -j RETURN`,
  ];
}
