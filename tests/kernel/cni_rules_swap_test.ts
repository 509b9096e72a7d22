/**
 * Plugins swapped between ADD and DEL: what Debian's reference plugins made, ours confirm and take
 * away, and the reverse.
 */

import assert from "node:assert/strict";
import { Node } from "./node.ts";
import { expect, type Reply } from "./plugins.ts";
import { CHAIN, type Config, INET4, INET6, mapping, OK, previous, rules } from "./portmap_rows.ts";
import { Netns } from "./sandbox.ts";

/** Package containernetworking-plugins. */
const REFERENCE = "/usr/lib/cni";
const WAYS = ["ours after theirs", "theirs after ours"] as const;

function call(
  node: Node,
  dir: string,
  plugin: string,
  command: string,
  netns: string,
  config: Config,
): Promise<Reply> {
  return node.call({
    plugin,
    dir,
    env: {
      CNI_COMMAND: command,
      CNI_CONTAINERID: "abc123",
      CNI_NETNS: netns,
      CNI_PATH: dir,
    },
    config: { cniVersion: "1.0.0", name: "dbnet", type: plugin, ...config },
  });
}

/** Whose ADD it is, and who is called after it. */
function order(way: typeof WAYS[number], node: Node): readonly [string, string] {
  const ours = node.bench.plugins;
  return way === "ours after theirs" ? [REFERENCE, ours] : [ours, REFERENCE];
}

/** What is left of a container; shared chains are nobody's. */
function left(node: Node): string[] {
  return [...node.chains(4), ...node.chains(6)].filter((chain) => /[0-9a-f]{20}/.test(chain));
}

for (const way of WAYS) {
  Deno.test(`portmap swapped: ${way}`, async () => {
    for (const more of [{}, { snat: false }, { conditionsV4: ["!", "-s", "1.2.3.4"] }]) {
      using node = new Node();
      const [first, second] = order(way, node);
      const mappings = [
        "8080->80/tcp",
        "192.168.0.2:8081->80/tcp",
        "8080->53/udp",
        "0.0.0.0:9->9/sctp",
      ];
      const config = {
        ...more,
        prevResult: previous(INET4, INET6),
        runtimeConfig: { portMappings: mappings.map(mapping) },
      };
      const run = (dir: string, command: string): Promise<Reply> =>
        call(node, dir, "portmap", command, "/run/netns/c1", config);
      expect(await run(first, "ADD"), OK);
      const made = rules(node);
      expect(await run(second, "ADD"), OK);
      assert.equal(rules(node), made);
      assert.ok(left(node).includes(CHAIN));
      // The reference of 1.1.1 cannot CHECK its own work where a pod has both families.
      if (second !== REFERENCE) expect(await run(second, "CHECK"), OK);
      expect(await run(second, "DEL"), OK);
      assert.deepEqual(left(node), []);
      expect(await run(first, "DEL"), OK);
    }
  });

  Deno.test(`bridge with ipMasq and macspoofchk swapped: ${way}`, async () => {
    using node = new Node();
    using pod = new Netns();
    const [first, second] = order(way, node);
    const config = {
      bridge: "br0",
      isDefaultGateway: true,
      ipMasq: true,
      macspoofchk: true,
      ipam: {
        type: "host-local",
        dataDir: `${node.bench.dir}/ipam`,
        ranges: [[{ subnet: "10.1.2.0/24" }], [{ subnet: "2001:db8:9::/64" }]],
      },
    };
    const run = (dir: string, command: string, more: Config = {}): Promise<Reply> =>
      call(node, dir, "bridge", command, pod.path, { ...config, ...more });
    const prevResult = expect(await run(first, "ADD"), OK);
    assert.equal(left(node).length, 2);
    expect(await run(second, "CHECK", { prevResult }), OK);
    for (const _ of [1, 2]) expect(await run(second, "DEL", { prevResult }), OK);
    assert.deepEqual([left(node), node.nat(4), node.nat(6)], [[], [], []]);
    assert.ok(!node.run("nft", "list", "ruleset").includes("abc123"));
  });
}
