/** Where the rules stand: each mode by itself, repaired when touched, and alone after a switch. */

import assert from "node:assert/strict";
import { until } from "./command.ts";
import { explain, Lab } from "./lab.ts";
import { HEALTH_PORT, type Node } from "./node.ts";

const FILE = "/etc/twill/leases.yaml";

/** The rules that a node's daemon made, wherever they stand; listed by the programs themselves. */
async function rulesOf(node: Node): Promise<string> {
  const list = "nft -s list tables | sort; iptables-save | grep -E '^-A .*FLANNEL' || true";
  const found = await node.must(["sh", "-c", list]);
  return found.split("\n").filter((line) => /twill|flannel-ipv|^-A/.test(line)).join("\n");
}

const CHAINS = [
  '-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD',
  '-A FLANNEL-FWD -s 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
  '-A FLANNEL-FWD -d 10.244.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT',
  '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG',
  '-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN',
  '-A FLANNEL-POSTRTG -s 10.244.1.0/24 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j RETURN',
  '-A FLANNEL-POSTRTG -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN',
  '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.1.0/24 -m comment --comment "flanneld masq" -j RETURN',
  '-A FLANNEL-POSTRTG -s 10.244.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
  '-A FLANNEL-POSTRTG ! -s 10.244.0.0/16 -d 10.244.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully',
].join("\n");

/** Some of these come just as the daemon has put its table back, and must not pass for its own. */
const AGAIN_AND_AGAIN = "for i in $(seq 40); do nft flush ruleset; sleep 0.0$((i % 5)); done";

/** One mode: what the network says, what is then there, and ways to spoil it. */
const MODES = [
  {
    conf: "EnableNFTables: false, ",
    want: CHAINS,
    spoil: ["iptables -t nat -F", "iptables -F FLANNEL-FWD"],
  },
  {
    conf: "EnableNFTables: true, ",
    want: "table ip flannel-ipv4\ntable ip6 flannel-ipv6",
    spoil: ["nft delete table ip flannel-ipv4", "nft flush ruleset"],
  },
  {
    conf: "",
    want: "table inet twill",
    spoil: ["nft flush table inet twill", "nft flush ruleset", AGAIN_AND_AGAIN],
  },
  {
    conf: "EnableNFTables: false, ",
    want: CHAINS,
    spoil: ["iptables -t nat -D FLANNEL-POSTRTG 4"],
  },
] as const;

Deno.test("rules: three modes, each alone, repaired, and cleaned by the next", async () => {
  await using lab = await Lab.create({ nodes: ["one"], network: false, outside: false });
  const [node] = lab.nodes as [Node];
  try {
    await node.must(["mkdir", "/etc/twill"]);
    await node.must(["nft", "add", "table", "inet", "foreign"]);
    for (const { conf, want, spoil } of MODES) {
      node.write(
        FILE,
        `config: { Network: 10.244.0.0/16, ${conf}Backend: { Type: vxlan } }\n` +
          `nodes: [ { name: one, publicIP: ${node.address}, subnet: 10.244.1.0/24 } ]\n`,
      );
      const daemon = await node.startDaemon({
        flags: [
          `--lease-file=${FILE}`,
          "--iface=eth0",
          "--ip-masq",
          `--healthz-port=${HEALTH_PORT}`,
        ],
      });
      await node.ready();
      assert.equal(await rulesOf(node), want);
      for (const line of spoil) {
        await node.must(["sh", "-c", line]);
        await until(`the rules are back after ${line}`, async () => await rulesOf(node) === want);
      }
      await daemon.stop();
      assert.equal(await rulesOf(node), want, "the rules stay when the daemon ends");
    }
  } catch (cause) {
    throw new Error(explain(cause, lab), { cause });
  }
});
