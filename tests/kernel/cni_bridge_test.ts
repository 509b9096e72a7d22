/** bridge from outside: what a pod gets, and what is left when it goes. */

import assert from "node:assert/strict";
import { VERSIONS } from "../../cni/versions.ts";
import {
  add,
  BRIDGE,
  command,
  type Json,
  refused,
  resultAddresses,
  type Row,
  type Seen,
  testRows,
} from "./bridge_rows.ts";

const GATEWAY: Json = { isDefaultGateway: true };
const V4 = "10.1.2.0/24";
const V6 = "2001:db8::/64";

/** BR01 in every version: what is made never depends on it. */
function plain(version: string): Row {
  const config = { ...GATEWAY, cniVersion: version };
  const old = /^0\.[12]\./.test(version);
  return {
    id: "BR01, BR02",
    title: `a pod with a gateway, and its end, in ${version}`,
    steps: [
      add((seen) => {
        const { result, node } = seen;
        assert.equal(result.cniVersion, version);
        assert.deepEqual(resultAddresses(result), ["10.1.2.2/24"]);
        if (!old) {
          assert.deepEqual(result.interfaces.map((one: Json) => one["sandbox"]), [
            undefined,
            undefined,
            node.podOf("c1"),
          ]);
          assert.deepEqual(result.interfaces.map((one: Json) => one["name"]), [
            BRIDGE,
            seen.hostEnd,
            "eth0",
          ]);
          assert.match(seen.hostEnd, /^veth[0-9a-f]{8}$/);
          assert.equal(result.ips[0].interface, 2);
          assert.equal(result.ips[0].gateway, "10.1.2.1");
          assert.deepEqual(result.routes, [{ dst: "0.0.0.0/0", gw: "10.1.2.1" }]);
        }
        seen.attached(["10.1.2.2/24"]);
        assert.deepEqual(seen.bridgeAddresses(), ["10.1.2.1/24"]);
        assert.deepEqual(seen.routes(), ["default via 10.1.2.1"]);
        assert.equal(node.sysctl("net/ipv4/ip_forward"), "1");
      }, { config }),
      command("DEL", {
        config,
        see: (seen) => {
          seen.gone();
          assert.deepEqual(seen.bridgeAddresses(), ["10.1.2.1/24"]);
        },
      }),
    ],
  };
}

function hasBoth(seen: Seen): void {
  seen.attached(["10.1.2.2/24", "2001:db8::2/64"]);
  assert.deepEqual(seen.bridgeAddresses(), ["10.1.2.1/24", "2001:db8::1/64"]);
  assert.deepEqual(seen.routes(4), ["default via 10.1.2.1"]);
  assert.deepEqual(seen.routes(6), ["default via 2001:db8::1"]);
}

const ROWS: readonly Row[] = [
  ...VERSIONS.map(plain),
  {
    id: "BR03",
    title: "IPv6",
    steps: [
      add((seen) => {
        seen.attached(["2001:db8::2/64"]);
        assert.deepEqual(seen.bridgeAddresses(), ["2001:db8::1/64"]);
        assert.deepEqual(seen.routes(6), ["default via 2001:db8::1"]);
        assert.equal(seen.node.sysctl("net/ipv6/conf/all/forwarding"), "1");
      }, { config: GATEWAY, nets: [V6] }),
      command("DEL", { nets: [V6], see: (seen) => seen.gone() }),
    ],
  },
  {
    id: "BR04",
    title: "both families",
    steps: [
      add(hasBoth, { config: GATEWAY, nets: [V4, V6] }),
      command("DEL", { nets: [V4, V6], see: (seen) => seen.gone() }),
    ],
  },
  {
    id: "BR04",
    title: "one IPv4 and two IPv6 sets",
    steps: [
      add((seen) => {
        seen.attached(["10.1.2.2/24", "2001:db8::2/64", "fd00::2/64"]);
        assert.deepEqual(seen.bridgeAddresses(), ["10.1.2.1/24", "2001:db8::1/64", "fd00::1/64"]);
        // A gateway that still looks for its double answers nobody.
        assert.deepEqual(seen.tentative(), []);
        assert.deepEqual(seen.routes(4), ["default via 10.1.2.1"]);
        assert.deepEqual(seen.routes(6), ["default via 2001:db8::1"]);
      }, { config: { ...GATEWAY, cniVersion: "0.3.0" }, nets: [V4, V6, "fd00::/64"] }),
    ],
  },
  {
    id: "BR05",
    title: "one IPv4 and two IPv6 sets do not fit into 0.2.0",
    steps: [
      refused(["does not support more than 1 address per family"], {
        config: { ...GATEWAY, cniVersion: "0.2.0" },
        nets: [V4, V6, "fd00::/64"],
        see: (seen) => seen.gone(),
      }),
    ],
  },
  ...["0.3.0", "0.4.0", "1.0.0", "1.1.0"].map((cniVersion): Row => ({
    id: "BR06",
    title: `layer 2 in ${cniVersion}`,
    steps: [
      add((seen) => {
        assert.equal(seen.result.ips, undefined);
        assert.ok(seen.isUp);
        assert.equal(seen.port.master, BRIDGE);
        assert.deepEqual(seen.addresses, []);
      }, { nets: [], config: { cniVersion } }),
      command("DEL", { nets: [], config: { cniVersion }, see: (seen) => seen.gone() }),
    ],
  })),
  ...["0.1.0", "0.2.0"].map((cniVersion): Row => ({
    id: "BR07",
    title: `layer 2 does not fit into ${cniVersion}`,
    steps: [
      refused(["no valid IP addresses"], {
        nets: [],
        config: { cniVersion },
        see: (seen) => assert.deepEqual(seen.node.links(), []),
      }),
    ],
  })),
  {
    id: "BR08",
    title: "a bridge that is there is used",
    steps: [
      add((seen) => {
        assert.equal(seen.node.link(BRIDGE).ifindex, 77);
        seen.attached(["10.1.2.2/24"]);
      }, { before: [`ip link add ${BRIDGE} index 77 type bridge`] }),
    ],
  },
  {
    id: "BR09",
    title: "a device of that name is no bridge",
    steps: [
      refused(["already exists but is not a bridge"], {
        before: [`ip link add ${BRIDGE} type veth peer other0`],
        see: (seen) => {
          assert.deepEqual(seen.node.links(), [BRIDGE, "other0"]);
          assert.deepEqual(seen.node.reserved(), []);
        },
      }),
    ],
  },
  {
    id: "BR10",
    title: "the bridge is cni0 when none is named",
    steps: [
      add((seen) => seen.attached(["10.1.2.2/24"], "cni0"), { config: { bridge: undefined } }),
    ],
  },
  {
    id: "BR11",
    title: "DEL without ADD, of both layers",
    steps: [
      command("DEL", { see: (seen) => seen.gone() }),
      command("DEL", { nets: [], see: (seen) => assert.deepEqual(seen.node.links(), []) }),
    ],
  },
  {
    id: "BR38",
    title: "an IPAM plugin that does not exist",
    steps: [
      refused(['failed to find plugin "nonesuch" in path'], {
        ipam: { type: "nonesuch" },
        see: (seen) => seen.gone(),
      }),
      add(),
      command("DEL", {
        ipam: { type: "nonesuch" },
        want: { code: 999, words: ['failed to find plugin "nonesuch"'] },
        see: (seen) => {
          assert.equal(seen.inside, undefined, "the interface is gone");
          assert.deepEqual(seen.node.reserved(), ["10.1.2.2"]);
        },
      }),
      command("DEL", { see: (seen) => seen.gone() }),
    ],
  },
  {
    id: "BR40",
    title: "ADD to a namespace that is missing, and to a file that is none",
    steps: [
      refused(['failed to open netns "/run/netns/nonesuch"'], { netns: "/run/netns/nonesuch" }),
      refused(["failed to open netns", "STALE"], {
        netns: "STALE",
        see: (seen) => assert.deepEqual([seen.node.links(), seen.node.reserved()], [[], []]),
      }),
    ],
  },
  ...Object.entries({
    "an empty CNI_NETNS": "",
    "a namespace that is missing": "/run/netns/nonesuch",
    "a plain file for the namespace": "STALE",
  }).map(([title, netns]): Row => ({
    id: "BR41",
    title: `DEL with ${title}`,
    steps: [
      add((seen) => seen.node.lose("c1"), { config: GATEWAY }),
      command("DEL", {
        config: GATEWAY,
        netns,
        logs: true,
        see: (seen) => assert.deepEqual(seen.node.reserved(), []),
      }),
    ],
  })),
  {
    id: "BR41",
    title: "DEL survives a bad prevResult and bad CNI_ARGS",
    steps: [
      add(undefined, { config: GATEWAY }),
      command("DEL", {
        prev: { cniVersion: "0.2.0", ips: [null] },
        args: "MAC;;=",
        logs: true,
        see: (seen) => seen.gone(),
      }),
    ],
  },
  {
    id: "BR44",
    title: "two pods reach each other and the gateway",
    steps: [
      add(undefined, { config: GATEWAY }),
      add((seen) => {
        assert.deepEqual(seen.addresses, ["10.1.2.3/24"]);
        assert.ok(seen.reaches("10.1.2.2"), "the other pod");
        assert.ok(seen.reaches("10.1.2.1"), "the gateway");
        const mac = (id: string): string =>
          seen.node.ipIn(id, "link", "show").find((l) => l.ifname === "eth0").address;
        assert.notEqual(mac("c1"), mac("c2"));
      }, { id: "c2", config: GATEWAY }),
    ],
  },
  {
    id: "BR46",
    title: "a second ADD disturbs nothing",
    steps: [
      add(undefined, { config: GATEWAY }),
      refused(["container veth name", "already exists"], {
        config: GATEWAY,
        see: (seen) => {
          assert.deepEqual(seen.addresses, ["10.1.2.2/24"]);
          assert.deepEqual(seen.node.reserved(), ["10.1.2.2"]);
          assert.ok(seen.reaches("10.1.2.1"));
          assert.equal(seen.node.links().length, 2, "no other host end");
        },
      }),
      command("CHECK", { config: GATEWAY }),
    ],
  },
  {
    id: "BR46",
    title: "an interface that somebody else made is not taken away",
    steps: [
      refused(["container veth name", "already exists"], {
        before: ["ip link add x0 type veth peer eth0", "ip link set eth0 netns POD"],
        see: (seen) => {
          assert.ok(seen.inside);
          assert.deepEqual(seen.node.reserved(), []);
        },
      }),
    ],
  },
];

testRows(ROWS);
