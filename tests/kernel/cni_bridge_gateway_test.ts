/** bridge from outside: the bridge as gateway, its addresses, and the routes of pods. */

import assert from "node:assert/strict";
import {
  add,
  BRIDGE,
  command,
  type Json,
  refused,
  type Row,
  type Seen,
  testRows,
} from "./bridge_rows.ts";

const GATEWAY: Json = { isDefaultGateway: true };
const makeBridge = `ip link add ${BRIDGE} type bridge`;

/** BR12 and BR13: an address of the bridge that stands in the way. */
function conflicts(id: string, title: string, there: string, net: string, gateway: string): Row {
  return {
    id,
    title,
    steps: [
      refused(["failed to set bridge addr", "already has an IP address different from"], {
        before: [makeBridge, `ip address add ${there} dev ${BRIDGE}`],
        config: GATEWAY,
        nets: [net],
        see: (seen) => {
          assert.deepEqual(seen.bridgeAddresses(), [there]);
          seen.gone();
        },
      }),
      add((seen) => {
        assert.deepEqual(seen.bridgeAddresses(), [gateway]);
        assert.ok(seen.reaches(gateway.split("/")[0]!));
      }, { config: { ...GATEWAY, forceAddress: true }, nets: [net] }),
    ],
  };
}

/** BR17: the bridge's MAC address. */
function macStays(title: string, steps: (note: (seen: Seen) => void) => Row["steps"]): Row {
  let mac: string | undefined;
  const note = (seen: Seen): void => {
    const { address } = seen.node.link(BRIDGE);
    assert.notEqual(address, "00:00:00:00:00:00");
    mac ??= address;
    assert.equal(address, mac);
  };
  return { id: "BR17", title, steps: steps(note) };
}

/** BR39: routes of the IPAM, and what becomes of them in the pod. */
function routes(title: string, list: readonly Json[], want: readonly string[], more: Json): Row {
  return {
    id: "BR39",
    title,
    steps: [
      add((seen) => assert.deepEqual(seen.routes(), want), {
        ipam: { routes: list },
        config: more,
      }),
      command("CHECK", { ipam: { routes: list }, config: more }),
    ],
  };
}

const ROWS: readonly Row[] = [
  conflicts("BR12", "an IPv4 address in the way", "10.0.0.1/8", "10.1.0.0/16", "10.1.0.1/16"),
  conflicts(
    "BR12",
    "the right address with another length",
    "10.1.2.1/16",
    "10.1.2.0/24",
    "10.1.2.1/24",
  ),
  conflicts(
    "BR13",
    "an IPv6 address in the way",
    "2001:db8:1::1/48",
    "2001:db8:1:2::/64",
    "2001:db8:1:2::1/64",
  ),
  {
    id: "BR14",
    title: "an IPv6 address of another network",
    steps: [
      add((seen) => {
        assert.deepEqual(seen.bridgeAddresses(), ["2001:db8:1:2::1/64", "fd00:1234::1/64"]);
      }, {
        before: [makeBridge, `ip address add 2001:db8:1:2::1/64 dev ${BRIDGE}`],
        config: GATEWAY,
        nets: ["fd00:1234::/64"],
      }),
    ],
  },
  {
    id: "BR12",
    title: "two IPv4 sets always conflict",
    steps: [
      refused(["already has an IP address different from"], {
        config: GATEWAY,
        nets: ["10.1.2.0/24", "10.3.2.0/24"],
        see: (seen) => seen.gone(),
      }),
    ],
  },
  macStays("the MAC address of a bridge that ADD makes stays", (note) => [
    add((seen) => {
      note(seen);
      assert.notEqual(seen.node.link(BRIDGE).address, seen.port.address);
    }, { config: GATEWAY }),
    add(note, { id: "c2", config: GATEWAY }),
    command("DEL", { config: GATEWAY, see: note }),
    command("DEL", { id: "c2", config: GATEWAY, see: note }),
  ]),
  macStays("a bridge without ports or MAC address becomes a gateway", (note) => [
    add(undefined, { before: [makeBridge], nets: [] }),
    command("DEL", { nets: [] }),
    add((seen) => {
      note(seen);
      assert.ok(seen.reaches("10.1.2.1"));
    }, { config: GATEWAY }),
    add(note, { id: "c2", config: GATEWAY }),
    command("CHECK", { config: GATEWAY, see: note }),
    command("DEL", { config: GATEWAY, see: note }),
  ]),
  {
    id: "BR20",
    title: "a failure after the IPAM gives the address back",
    steps: [
      add(undefined, { config: GATEWAY }),
      refused(["already has an IP address different from"], {
        id: "c2",
        config: GATEWAY,
        nets: ["10.9.9.0/24"],
        see: (seen) => {
          assert.deepEqual(seen.node.reserved(), ["10.1.2.2"]);
          assert.equal(seen.inside, undefined);
          assert.equal(seen.node.links().length, 2);
        },
      }),
      command("CHECK", { config: GATEWAY }),
    ],
  },
  {
    id: "BR20",
    title: "a route that the kernel refuses takes everything back",
    steps: [
      refused(["failed to add route"], {
        ipam: { routes: [{ dst: "10.5.0.0/16", gw: "192.0.2.1" }] },
        config: GATEWAY,
        see: (seen) => seen.gone(),
      }),
    ],
  },
  ...Object.entries({
    "an IPAM without an address": ["ipam-empty", "IPAM plugin returned missing IP config"],
    "an IPAM whose route the kernel refuses": ["ipam-bad-route", "failed to add route"],
  }).map(([title, [type, words = ""]]): Row => ({
    id: "BR20",
    title: `${title}: its DEL is called`,
    steps: [
      refused([words], {
        ipam: { type },
        see: (seen) => {
          seen.gone();
          assert.deepEqual(seen.node.calls(), ["ADD", "DEL"]);
        },
      }),
    ],
  })),
  ...Object.entries({
    "an IPAM that refuses": ["ipam-busy", "come back later", "pool is busy"],
    "an IPAM that dies": ["ipam-dies", "ipam-dies", "SIGKILL", "out of paper"],
  }).map(([title, [type, ...words]]): Row => ({
    id: "BR20",
    title: `${title}: its words are the answer, its DEL is not called`,
    steps: [
      refused([], {
        ipam: { type },
        want: { words },
        see: (seen) => {
          seen.gone();
          assert.deepEqual(seen.node.calls(), ["ADD"]);
        },
      }),
    ],
  })),
  routes(
    "routes with and without a gateway",
    [
      { dst: "10.5.0.0/16" },
      { dst: "10.6.1.2/16", gw: "10.1.2.9" },
    ],
    ["10.5.0.0/16 via 10.1.2.1", "10.6.0.0/16 via 10.1.2.9"],
    { isGateway: true },
  ),
  routes(
    "the IPAM's default route with a gateway wins",
    [
      { dst: "0.0.0.0/0", gw: "10.1.2.9" },
    ],
    ["default via 10.1.2.9"],
    GATEWAY,
  ),
  routes(
    "the IPAM's default route without a gateway is the same route",
    [
      { dst: "0.0.0.0/0" },
    ],
    ["default via 10.1.2.1"],
    GATEWAY,
  ),
  routes(
    "one destination by two gateways",
    [
      { dst: "10.5.0.0/16", gw: "10.1.2.9", priority: 7 },
      { dst: "10.5.0.0/16", gw: "10.1.2.8", priority: 9 },
    ],
    ["10.5.0.0/16 via 10.1.2.8", "10.5.0.0/16 via 10.1.2.9"],
    { isGateway: true },
  ),
  {
    id: "BR39",
    title: "metric, MTU, segment size and table of a route",
    steps: [
      add((seen) => {
        const route = { dst: "10.5.0.0/16", mtu: 1300, advmss: 1200, priority: 7, table: 100 };
        assert.deepEqual(seen.result.routes, [route]);
        const [shown] = seen.node.ipIn("c1", "route", "show", "table", "100");
        assert.equal(shown.metric, 7);
        assert.deepEqual(shown.metrics, [{ mtu: 1300, advmss: 1200 }]);
      }, {
        ipam: {
          routes: [{ dst: "10.5.0.0/16", mtu: 1300, advmss: 1200, priority: 7, table: 100 }],
        },
        config: { isGateway: true },
      }),
    ],
  },
];

testRows(ROWS);
