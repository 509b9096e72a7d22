/**
 * bridge from outside: VLANs. Where the kernel cannot tell VLANs apart on bridges, each case asserts
 * that the plugin says so and makes nothing.
 */

import assert from "node:assert/strict";
import { libc } from "../../ffi/libc.ts";
import {
  add,
  BRIDGE,
  BridgeNode,
  command,
  type Json,
  type Row,
  type Seen,
  type Shown,
  type Step,
  testRows,
} from "./bridge_rows.ts";

libc(); // opened once and for good: inside a case it would count as a leak

/** Whether this kernel has CONFIG_BRIDGE_VLAN_FILTERING. */
const FILTERING = ((): boolean => {
  using node = new BridgeNode();
  try {
    node.sh("ip link add probe type bridge vlan_filtering 1");
    return true;
  } catch {
    return false;
  }
})();

/** VLANs of a port: `100 PVID Egress Untagged`, ascending. */
function vlans(seen: Seen, dev: string): string[] {
  const all: Shown[] = JSON.parse(seen.node.sh("bridge -j vlan show"));
  const port = all.find((one) => one.ifname === dev);
  return port.vlans.map((one: Shown) => [one.vlan, ...(one.flags ?? [])].join(" "));
}

function filters(seen: Seen): void {
  assert.equal(seen.node.link(BRIDGE).linkinfo.info_data.vlan_filtering, 1);
}

/** One ADD, whose answer depends on the kernel. */
function vlanAdd(config: Json, see: (seen: Seen) => void, rest: Partial<Step> = {}): Step {
  if (FILTERING) return add(see, { config, ...rest });
  return {
    command: "ADD",
    config,
    ...rest,
    want: { code: 2, words: ["vlan", "CONFIG_BRIDGE_VLAN_FILTERING"] },
    see: (seen) => {
      assert.deepEqual(seen.node.links(), []);
      seen.gone();
    },
  };
}

const LAYER2 = { nets: [] as const };
const GATEWAY: Json = { isDefaultGateway: true };
/** What comes behind an ADD, where it worked. */
const then = (...steps: readonly Step[]): readonly Step[] => FILTERING ? steps : [];
const tagged = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, n) => String(from + n));
const PVID = "PVID Egress Untagged";

const ROWS: readonly Row[] = [
  {
    id: "BR32",
    title: "an access VLAN",
    steps: [
      vlanAdd({ vlan: 100 }, (seen) => {
        filters(seen);
        assert.deepEqual(vlans(seen, seen.hostEnd), [`100 ${PVID}`]);
        assert.equal(seen.result.interfaces.length, 3);
      }, LAYER2),
      ...then(
        command("CHECK", { ...LAYER2, config: { vlan: 100 } }),
        command("DEL", { ...LAYER2, config: { vlan: 100 }, see: (seen) => seen.gone() }),
      ),
    ],
  },
  {
    id: "BR33",
    title: "the gateway of a VLAN",
    steps: [
      vlanAdd({ ...GATEWAY, vlan: 100 }, (seen) => {
        const { result, node } = seen;
        assert.deepEqual(result.interfaces.map((one: Shown) => one.name), [
          BRIDGE,
          seen.hostEnd,
          "eth0",
          `${BRIDGE}.100`,
        ]);
        assert.deepEqual(seen.bridgeAddresses(`${BRIDGE}.100`), ["10.1.2.1/24"]);
        assert.deepEqual(seen.bridgeAddresses(), []);
        const port = node.ip("link", "show").find((link) => link.link === `${BRIDGE}.100`);
        assert.deepEqual(vlans(seen, port.ifname), [`100 ${PVID}`]);
        assert.ok(seen.reaches("10.1.2.1"));
      }),
      ...then(
        add((seen) => {
          assert.equal(seen.node.links().length, 5, "one gateway for both");
          assert.ok(seen.reaches("10.1.2.2"));
        }, { id: "c2", config: { ...GATEWAY, vlan: 100 } }),
        add((seen) => assert.ok(!seen.reaches("10.1.2.2")), {
          id: "c3",
          config: { vlan: 101 },
        }),
        command("CHECK", { config: { ...GATEWAY, vlan: 100 } }),
        command("DEL", {
          config: { ...GATEWAY, vlan: 100 },
          see: (seen) => assert.deepEqual(seen.bridgeAddresses(`${BRIDGE}.100`), ["10.1.2.1/24"]),
        }),
      ),
    ],
  },
  {
    id: "BR34",
    title: "a trunk",
    steps: [
      vlanAdd({ vlanTrunk: [{ id: 101 }, { minID: 200, maxID: 210 }] }, (seen) => {
        filters(seen);
        assert.deepEqual(vlans(seen, seen.hostEnd), [`1 ${PVID}`, "101", ...tagged(200, 210)]);
      }, LAYER2),
    ],
  },
  {
    id: "BR34",
    title: "a trunk beside an access VLAN",
    steps: [
      vlanAdd({ vlan: 100, vlanTrunk: [{ id: 101 }, { minID: 99, maxID: 103 }] }, (seen) => {
        assert.deepEqual(vlans(seen, seen.hostEnd), ["99", `100 ${PVID}`, "101", "102", "103"]);
      }, LAYER2),
    ],
  },
  {
    id: "BR34",
    title: "a trunk of all VLANs",
    steps: [
      vlanAdd({ vlan: 7, vlanTrunk: [{ minID: 1, maxID: 4094 }] }, (seen) => {
        assert.equal(vlans(seen, seen.hostEnd).length, 4094);
      }, LAYER2),
    ],
  },
  {
    id: "BR35",
    title: "the default VLAN stays",
    steps: [
      vlanAdd({ vlan: 100, preserveDefaultVlan: true }, (seen) => {
        assert.deepEqual(vlans(seen, seen.hostEnd), ["1 Egress Untagged", `100 ${PVID}`]);
      }, LAYER2),
    ],
  },
];

testRows(ROWS);

Deno.test("bridge: VLANs on a bridge that is there", async () => {
  using node = new BridgeNode();
  node.sh(`ip link add ${BRIDGE} type bridge`);
  const reply = await node.take({ command: "ADD", config: { vlan: 100 }, want: { ok: true } });
  assert.equal(reply.status, FILTERING ? 0 : 1, reply.stdout);
  if (FILTERING) return;
  assert.match(reply.stdout, /CONFIG_BRIDGE_VLAN_FILTERING/);
  assert.deepEqual(node.links(), [BRIDGE]);
  assert.deepEqual(node.reserved(), []);
});
