/**
 * Swapping plugins under living pods: what Debian's plugins (containernetworking-plugins 1.1.1) add,
 * ours check and delete, and the other way round.
 */

import assert from "node:assert/strict";
import { BridgeNode, type Json, OK, type Shown } from "./bridge_rows.ts";
import { libc } from "../../ffi/libc.ts";
import { expect, type Reply } from "./plugins.ts";

libc(); // opened once and for good: inside a case it would count as a leak

const DEBIAN = "/usr/lib/cni";
const GATEWAY: Json = { isDefaultGateway: true };

interface Row {
  readonly title: string;
  readonly version?: string;
  /** Members of bridge's document. */
  readonly config: Json;
  /** Subnets; absent: 10.1.2.0/24; empty: layer 2. */
  readonly nets?: readonly string[];
  /** portmap follows bridge in the chain, with these. */
  readonly ports?: readonly Json[];
  /** DEL gets no prevResult. */
  readonly forgotten?: true;
  /** Debian's CHECK of this is known to fail for what Debian's ADD made. */
  readonly noCheck?: true;
}

const ROWS: readonly Row[] = [
  { title: "a gateway", config: GATEWAY },
  { title: "a gateway in 0.4.0", version: "0.4.0", config: GATEWAY },
  { title: "a gateway in 0.3.1, forgotten", version: "0.3.1", config: GATEWAY, forgotten: true },
  { title: "a gateway in 0.2.0", version: "0.2.0", config: GATEWAY },
  { title: "IPv6", config: GATEWAY, nets: ["2001:db8::/64"] },
  { title: "both families", config: GATEWAY, nets: ["10.1.2.0/24", "2001:db8::/64"] },
  { title: "no gateway", config: {} },
  { title: "layer 2", config: {}, nets: [], noCheck: true },
  { title: "hairpin and MTU", config: { ...GATEWAY, hairpinMode: true, mtu: 1400 } },
  { title: "promiscuous mode", config: { ...GATEWAY, promiscMode: true } },
  { title: "a MAC address", config: { runtimeConfig: { mac: "02:11:22:33:44:55" } } },
  { title: "masquerade", config: { ...GATEWAY, ipMasq: true } },
  {
    title: "masquerade of both families",
    config: { ...GATEWAY, ipMasq: true },
    nets: ["10.1.2.0/24", "2001:db8::/64"],
  },
  { title: "masquerade, forgotten", config: { ...GATEWAY, ipMasq: true }, forgotten: true },
  { title: "MAC addresses are checked", config: { ...GATEWAY, macspoofchk: true } },
  {
    title: "host ports",
    noCheck: true, // portmap looks for rules of IPv6, whatever addresses the pod has
    config: { ...GATEWAY, ipMasq: true },
    ports: [
      { hostPort: 8080, containerPort: 80, protocol: "tcp" },
      { hostPort: 5353, containerPort: 53, protocol: "udp" },
    ],
  },
  {
    title: "host ports in 0.3.1, forgotten",
    version: "0.3.1",
    config: GATEWAY,
    ports: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
    forgotten: true,
  },
];

/** A chain on a node, whose plugins may be anybody's. */
class Chain {
  readonly #node: BridgeNode;
  readonly #row: Row;

  constructor(node: BridgeNode, row: Row) {
    this.#node = node;
    this.#row = row;
  }

  async add(dir: string): Promise<Shown> {
    const result = expect(await this.#bridge("ADD", dir), OK);
    return this.#row.ports === undefined
      ? result
      : expect(await this.#portmap("ADD", dir, result), OK);
  }

  async check(dir: string, result: Shown): Promise<void> {
    expect(await this.#bridge("CHECK", dir, result), OK);
    if (this.#row.ports !== undefined) expect(await this.#portmap("CHECK", dir, result), OK);
  }

  async del(dir: string, result: Shown): Promise<void> {
    if (this.#row.ports !== undefined) expect(await this.#portmap("DEL", dir, result), OK);
    expect(await this.#bridge("DEL", dir, result), OK);
  }

  #common(prevResult: Shown): Json {
    const { version = "1.0.0" } = this.#row;
    return {
      cniVersion: version,
      ...(prevResult === undefined ? {} : { prevResult }),
    };
  }

  #bridge(command: "ADD" | "CHECK" | "DEL", dir: string, result?: Shown): Promise<Reply> {
    const { nets, config } = this.#row;
    const all = { ...config, ...this.#common(result) };
    const step = { command, config: all, want: OK, ...(nets === undefined ? {} : { nets }) };
    return this.#node.take(step, undefined, dir);
  }

  #portmap(command: string, dir: string, result: Shown): Promise<Reply> {
    const config = {
      ...this.#common(result),
      name: "dbnet",
      type: "portmap",
      backend: "iptables",
      runtimeConfig: { portMappings: this.#row.ports },
    };
    const env = { CNI_COMMAND: command, CNI_NETNS: this.#node.podOf("c1"), CNI_PATH: dir };
    return this.#node.call({ plugin: "portmap", dir, config, env });
  }
}

/** Rules that are of one pod: by its addresses, its ports and its names. */
function rulesOf(node: BridgeNode): string[] {
  return node.sh("nft -s list ruleset").split("\n")
    .filter((line) => /10\.1\.2\.2|2001:db8::2|8080|5353|c1|CNI-[0-9a-f]{6}|CNI-DN-/.test(line));
}

for (const row of ROWS) {
  for (const debianAdds of [true, false]) {
    const [adder, deleter] = debianAdds ? ["Debian", "we"] : ["we", "Debian"];
    Deno.test(`swap: ${row.title}: ${adder} add, ${deleter} check and delete`, async () => {
      using node = new BridgeNode();
      const chain = new Chain(node, row);
      const [adds, deletes] = debianAdds ? [DEBIAN, node.plugins] : [node.plugins, DEBIAN];
      const result = await chain.add(adds);
      const checks = /^(?:0\.4|1\.)/.test(row.version ?? "1.0.0");
      if (checks && !(row.noCheck && !debianAdds)) await chain.check(deletes, result);
      await chain.del(deletes, row.forgotten ? undefined : result);

      assert.deepEqual(node.reserved(), []);
      assert.deepEqual(node.links(), ["br0"]);
      assert.deepEqual(node.ipIn("c1", "link", "show").map((link) => link.ifname), ["lo"]);
      assert.deepEqual(rulesOf(node), []);
      await chain.del(adds, undefined);
      // The bridge that the one made serves the other.
      const again = await chain.add(deletes);
      await chain.del(adds, again);
      assert.deepEqual(node.links(), ["br0"]);
    });
  }
}
