/**
 * What happens to a node's overlay in the life of a machine, as scripts of its shell, and what the
 * kernel holds when all is well.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../command.ts";
import { note } from "../notes.ts";
import type { Pair } from "./pair.ts";

/** A fault's name and script; `$peer` is the other node's key, `$net` its subnet. */
export type Fault = readonly [name: string, script: string];

function ofDevice(dev: string): readonly Fault[] {
  return [
    ["device deleted", `ip link del ${dev}`],
    ["device down", `ip link set ${dev} down`],
    ["address lost", `ip -4 addr flush dev ${dev}`],
    ["MTU changed", `ip link set ${dev} mtu 1300`],
    ["route deleted", "ip route del $net"],
    ["route leads elsewhere", "ip route replace $net via 192.0.2.254 proto 146"],
  ];
}

/** By backend. */
export const FAULTS: Readonly<Record<"wireguard" | "ipip", readonly Fault[]>> = {
  wireguard: [
    ...ofDevice("flannel-wg"),
    ["peer removed", "wg set flannel-wg peer $peer remove"],
    [
      "foreign peer added",
      "wg set flannel-wg peer $(wg genkey | wg pubkey) allowed-ips 10.244.250.0/24",
    ],
    [
      "foreign peer has a peer's network",
      "wg set flannel-wg peer $(wg genkey | wg pubkey) allowed-ips $net",
    ],
    ["peer's networks changed", "wg set flannel-wg peer $peer allowed-ips 10.244.250.0/24"],
    [
      "pre-shared key changed",
      "wg genpsk >/tmp/key; wg set flannel-wg peer $peer preshared-key /tmp/key",
    ],
    ["keepalive changed", "wg set flannel-wg peer $peer persistent-keepalive off"],
    ["private key changed", "wg genkey >/tmp/key; wg set flannel-wg private-key /tmp/key"],
    ["port changed", "wg set flannel-wg listen-port 4000"],
  ],
  ipip: ofDevice("flannel.ipip"),
};

/** Links, addresses, routes, keys and peers of the overlay; no counter, no time. */
const STATE = `
  for dev in flannel-wg flannel.ipip; do
    ip -o link show dev $dev | sed 's/^[0-9]*: //; s/ qdisc.*//'
    ip -4 -o addr show dev $dev | awk '{ print $2, $4 }'
  done 2>/dev/null
  ip -4 route show proto 146
  wg show all dump | awk 'NF == 5; NF == 9 { print $1, $2, $3, $4, $5, $9 }' | sort`;

/**
 * Lets each fault happen to the first node while its daemon stands still, and the daemon go on:
 * the kernel must hold what it held before, and pods reach each other both ways.
 */
export async function sufferAll(
  { nodes: [one, two] }: Pair,
  pods: readonly [string, string],
  faults: readonly Fault[],
): Promise<void> {
  const state = (): Promise<string> => one.machine.must(STATE);
  const before = await state();
  const names = `net=${await two.subnet()}.0/24; ` +
    "peer=$(wg show flannel-wg peers 2>/dev/null | head -n1)\n";
  for (const [name, script] of faults) {
    await one.signal("STOP");
    await one.machine.must(names + script);
    assert.notEqual(await state(), before, `${name}: is seen`);
    const began = performance.now();
    await one.signal("CONT");
    await until(`${name}: all is as before`, async () => {
      assert.equal(await state(), before);
      return true;
    }, { seconds: 180, every: 200 });
    const repaired = performance.now();
    await one.reaches(pods[1]);
    await two.reaches(pods[0]);
    const seconds = (from: number): string => ((performance.now() - from) / 1000).toFixed(1);
    note(
      `${name}: repaired after ${((repaired - began) / 1000).toFixed(1)} s, ` +
        `pods reach each other ${seconds(repaired)} s later (software emulation)`,
    );
  }
}
