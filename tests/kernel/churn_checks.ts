/**
 * What must hold during the churn, and after it.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { BridgeNode, Json, Shown } from "./bridge_rows.ts";
import { type Network, NETWORKS } from "./churn_networks.ts";
import { ended, stragglers } from "./processes.ts";

/** A pod's interface, from the first ADD to the DEL that worked. */
export interface Attachment {
  readonly id: string;
  readonly slot: number;
  readonly network: Network;
  /** Where its addresses come from: host-local, or the script that may fail. */
  readonly ipam: string;
  /** `dirty`: a call failed, and only DEL may follow. */
  state: "attached" | "dirty";
  /** Addresses of the result; empty as long as no ADD has worked. */
  addresses: readonly string[];
  result?: Json;
  /** Its pod went without a DEL, and a GC was told so: its address may be given to others. */
  condemned?: true;
  /** Its namespace is gone. */
  lost?: true;
  /** A call is under way. */
  busy: boolean;
}

/** The name of a place for a pod: the namespaces are used again and again. */
export function slotName(slot: number): string {
  return `slot${slot}`;
}

/** A pod that was just attached has an address of its own. */
export function heldOnce(one: Attachment, all: Iterable<Attachment>): void {
  for (const other of all) {
    // One that is being deleted may have given its address back already.
    if (other === one || other.state !== "attached") continue;
    const twice = other.addresses.filter((address) => one.addresses.includes(address));
    assert.deepEqual(twice, [], `${other.id} and ${one.id}`);
  }
}

/** Whoever is attached has its address and its reservation, and nobody else has that address. */
export function noneLost(node: BridgeNode, attachments: readonly Attachment[]): void {
  for (const network of NETWORKS) {
    const files = reservations(node, network.name);
    const all = attachments.filter((one) => one.network === network);
    for (const one of all.filter(({ state }) => state === "attached")) {
      for (const address of one.addresses) {
        assert.equal(files[address], `${one.id}\r\neth0`, `${address} of ${one.id}`);
      }
      if (!one.lost) assert.deepEqual(inPod(node, one.slot), one.addresses, one.id);
    }
    const held = all.filter((one) => !one.lost && !one.condemned)
      .flatMap(({ slot }) => inPod(node, slot)).sort();
    assert.deepEqual(held, [...new Set(held)], "addresses that pods have");
  }
}

/** What there is belongs to pods that the runtime still knows. */
export async function noneStray(
  node: BridgeNode,
  attachments: readonly Attachment[],
): Promise<void> {
  const known = new Set(attachments.map(({ id }) => id));
  const strangers = (ids: readonly string[]): string[] => ids.filter((id) => !known.has(id));
  const rules = node.sh("nft -s list ruleset").split("\n").filter((line) =>
    strangers(line.match(/\bpod\d+\b/g) ?? []).length > 0
  );
  assert.deepEqual(rules, [], "rules");
  for (const { name } of NETWORKS) {
    const files = Object.values(reservations(node, name));
    assert.deepEqual(strangers(files.map((text) => text.split("\r")[0]!)), [], "addresses");
  }
  const records = [...Deno.readDirSync(`${node.dir}/flannel`)].map((file) => file.name);
  assert.deepEqual(strangers(records.map((name) => /pod\d+/.exec(name)![0])), [], "records");
  await settled(() => {
    const ends = node.links().filter((name) => name.startsWith("veth"));
    assert.ok(ends.length <= known.size, `${ends.length} host ends for ${known.size} pods`);
  });
}

/** Addresses that are reserved, each with what its file holds. */
function reservations(node: BridgeNode, network: string): Record<string, string> {
  const dir = `${node.dataDir}/${network}`;
  const names = [...Deno.readDirSync(dir)].map(({ name }) => name)
    .filter((name) => /^[0-9.]+$/.test(name));
  return Object.fromEntries(names.map((name) => [name, Deno.readTextFileSync(`${dir}/${name}`)]));
}

/** The kernel takes its time to clear a namespace away, and the pairs that end in it. */
async function settled(check: () => void): Promise<void> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    try {
      return check();
    } catch (error) {
      if (performance.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function inPod(node: BridgeNode, slot: number): string[] {
  return node.ipIn(slotName(slot), "address", "show").filter((l) => l.ifname === "eth0")
    .flatMap((link) => link.addr_info).filter((info: Shown) => info.scope === "global")
    .map((info: Shown) => info.local);
}

/**
 * Nothing is left of any pod, neither on the node nor in the slots.
 *
 * @param rules what the rules were before.
 */
export async function nothingLeft(
  node: BridgeNode,
  rules: string,
  slots: number,
): Promise<void> {
  const bridges = NETWORKS.map(({ bridge }) => bridge).sort();
  await settled(() => assert.deepEqual(node.links(), bridges, "links"));
  for (let slot = 0; slot < slots; slot++) {
    const links = node.ipIn(slotName(slot), "link", "show").map((link) => link.ifname);
    assert.deepEqual(links, ["lo"], slotName(slot));
  }
  for (const { name } of NETWORKS) {
    const files = [...Deno.readDirSync(`${node.dataDir}/${name}`)].map((file) => file.name);
    assert.deepEqual(files.sort(), ["last_reserved_ip.0", "lock"], name);
  }
  assert.deepEqual([...Deno.readDirSync(`${node.dir}/flannel`)], [], "flannel's records");
  assert.equal(node.sh("nft -s list ruleset"), rules, "rules");
  await ended(stragglers(node.dir));
  assert.deepEqual(stragglers(node.dir), [], "processes");
}
