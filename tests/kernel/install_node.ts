/**
 * A node of the lab as a fresh machine: no plugins, no network, no state. And all that an install
 * and its undoing may touch there, as text, to compare.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Output } from "../lab/command.ts";
import { Lab } from "../lab/lab.ts";
import type { Node } from "../lab/node.ts";
import type { NetworkList } from "../lab/runtime.ts";

/** Where install puts things. */
export const BIN = "/opt/cni/bin";
/** See {@link BIN}. */
export const LIST = "/etc/cni/net.d/10-flannel.conflist";

/** What the daemon would write. */
export const SUBNET_ENV = `FLANNEL_NETWORK=10.244.0.0/16
FLANNEL_SUBNET=10.244.7.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=false
`;

// A link-local address would come and change while we look, and so does the carrier.
const FRESH = `
rm -rf /opt/cni /etc/cni /var/lib/cni /var/lib/twill
echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6
for try in $(seq 500); do
  if ip -o link show eth0 | grep -q LOWER_UP.*state.UP; then break; fi
  sleep 0.02
done
`;

/** A test on a fresh node with an address, and no other machine. */
export function installTest(name: string, work: (node: Node) => Promise<void>): void {
  Deno.test({
    name: Deno.uid() === 0 ? name : `${name} (not run: needs root)`,
    ignore: Deno.uid() !== 0,
    fn: async () => {
      await using lab = await Lab.create({ nodes: ["solo"], network: false, outside: false });
      const [node] = lab.nodes;
      assert.ok(node);
      await node.must(["sh", "-ec", FRESH]);
      await work(node);
    },
  });
}

// The lab keeps its own files in /run/lab; counters and dates differ at each look.
const LOOK = String.raw`
exec 2>&1
# A pod's pair has just got its link-local address.
for try in $(seq 250); do ip -6 -o address | grep -q ' tentative' || break; sleep 0.02; done
ip -d -o link | sed 's/ promiscuity.*//'
ip -o address | sed 's/valid_lft.*//'
ip -d route show table all; ip -d -6 route show table all
nft list ruleset
for i in iptables ip6tables; do
  $i-save | grep -v '^#' | sed 's/\[[0-9:]*\]//'
  $i-legacy-save | grep -v '^#' | sed 's/\[[0-9:]*\]//'
done
find /etc/cni /etc/systemd /etc/twill /opt /var/lib/cni /var/lib/twill /usr/local/bin /run -xdev \( -path /run/lab -o -path /run/netns \) -prune -o \
  -printf '%p %M %l\n' 2>/dev/null | sort
find /opt /etc/cni /etc/systemd /var/lib/cni /var/lib/twill /run/flannel /run/twill -xdev \
  -type f -size -1M -exec sha256sum {} + 2>/dev/null | sort
`;

/** Links, addresses, routes, rules and files of a node. */
export async function look(node: Node): Promise<string[]> {
  return (await node.must(["sh", "-c", LOOK])).split("\n");
}

/** Asserts that all is as it was before. */
export async function unchanged(node: Node, before: readonly string[]): Promise<void> {
  const after = await look(node);
  const [came, went] = [
    after.filter((line) => !before.includes(line)),
    before.filter((line) => !after.includes(line)),
  ];
  assert.deepEqual({ came, went }, { came: [], went: [] });
  assert.equal(after.length, before.length);
}

/** Runs twill; any end is a result. */
export function twill(node: Node, ...args: readonly string[]): Promise<Output> {
  return node.exec(["twill", ...args]);
}

/** Asserts that a command did its work, and returns what it said. */
export function done({ code, stdout, stderr }: Output): string {
  assert.equal(code, 0, stderr + stdout);
  return stdout;
}

/** The list that stands on the node. */
export function installedList(node: Node): NetworkList {
  return JSON.parse(node.read(LIST) ?? assert.fail(`no ${LIST}`));
}

/** The list of steps in what uninstall says. */
export function steps(stdout: string): string[] {
  return stdout.split("\n").filter((line) => /^\w+ {2,}/.test(line));
}
