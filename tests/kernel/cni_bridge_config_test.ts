/** bridge from outside: each option of its configuration, and CHECK, STATUS and GC. */

import assert from "node:assert/strict";
import {
  add,
  BRIDGE,
  command,
  type Json,
  OK,
  refused,
  type Row,
  type Seen,
  testRows,
} from "./bridge_rows.ts";

const GATEWAY: Json = { isDefaultGateway: true };
const LAYER2 = { nets: [] as const };
const nothing = (seen: Seen): void => assert.deepEqual(seen.node.links(), []);
const promiscuity = (seen: Seen): number => seen.node.link(BRIDGE).promiscuity;

/** BR26: damage that CHECK must find. */
function damage(title: string, words: string | RegExp, ...lines: readonly string[]): Row {
  return {
    id: "BR26",
    title,
    steps: [
      add(undefined, { config: GATEWAY }),
      command("CHECK", {
        before: lines,
        config: GATEWAY,
        want: { words: [words] },
      }),
    ],
  };
}

const MAC = "02:11:22:33:44:55";
/** BR18: places for a MAC address, the strongest first. */
const MACS: readonly (readonly [string, Partial<Parameters<typeof command>[1]>])[] = [
  ["runtimeConfig", { config: { runtimeConfig: { mac: MAC } } }],
  ["args", { config: { args: { cni: { mac: MAC } } } }],
  ["CNI_ARGS", { args: `IgnoreUnknown=1;MAC=${MAC}` }],
  ["all three, of which runtimeConfig wins", {
    config: {
      runtimeConfig: { mac: MAC },
      args: { cni: { mac: "02:11:22:33:44:66" } },
    },
    args: "MAC=02:11:22:33:44:77;IgnoreUnknown=true",
  }],
  ["args and CNI_ARGS, of which args wins", {
    config: { args: { cni: { mac: MAC } }, runtimeConfig: { mac: "" } },
    args: "MAC=02:11:22:33:44:77;IgnoreUnknown=true",
  }],
];

/** BR31: VLAN numbers that are none. */
const BAD_VLANS: Readonly<Record<string, readonly [Json, RegExp]>> = {
  "vlan -1": [{ vlan: -1 }, /invalid VLAN ID/],
  "vlan 4095": [{ vlan: 4095 }, /invalid VLAN ID/],
  "a trunk with minID alone": [{ vlanTrunk: [{ minID: 5 }] }, /minID.*maxID/],
  "a trunk with maxID alone": [{ vlanTrunk: [{ maxID: 5 }] }, /minID.*maxID/],
  "a trunk with id 0": [{ vlanTrunk: [{ id: 0 }] }, /incorrect trunk/],
  "a trunk with id 5000": [{ vlanTrunk: [{ id: 5000 }] }, /incorrect trunk/],
  "a trunk with minID 0": [{ vlanTrunk: [{ minID: 0, maxID: 5 }] }, /incorrect trunk minID/],
  "a trunk with maxID 4095": [{ vlanTrunk: [{ minID: 1, maxID: 4095 }] }, /incorrect trunk maxID/],
  "a trunk whose maxID is below minID": [
    { vlanTrunk: [{ minID: 9, maxID: 5 }] },
    /minID is greater than maxID/,
  ],
  "a trunk with an empty element": [{ vlanTrunk: [{}] }, /trunk/],
  "a trunk with null": [{ vlanTrunk: [null] }, /trunk/i],
};

const ROWS: readonly Row[] = [
  {
    id: "BR15",
    title: "promiscuous mode",
    steps: [
      add((seen) => assert.equal(promiscuity(seen), 1), { config: { promiscMode: true } }),
      command("CHECK", { config: { promiscMode: true } }),
      command("CHECK", { want: { words: ["doesn't match"] } }),
      command("DEL", { config: { promiscMode: true }, see: (seen) => seen.gone() }),
    ],
  },
  {
    id: "BR15",
    title: "promiscuous mode of a bridge that is there",
    steps: [
      add((seen) => assert.equal(promiscuity(seen), 0)),
      add((seen) => assert.equal(promiscuity(seen), 1), {
        id: "c2",
        config: { promiscMode: true },
      }),
    ],
  },
  {
    id: "BR16",
    title: "hairpin and promiscuous mode exclude each other",
    steps: [
      refused(["cannot set hairpin mode and promiscuous mode"], {
        config: { hairpinMode: true, promiscMode: true },
        see: nothing,
      }),
    ],
  },
  ...[true, false].map((hairpinMode): Row => ({
    id: "BR16",
    title: `hairpin ${hairpinMode}`,
    steps: [
      add((seen) => {
        assert.equal(seen.port.linkinfo.info_slave_data.hairpin, hairpinMode);
      }, { config: { hairpinMode } }),
    ],
  })),
  ...MACS.map(([title, step]): Row => ({
    id: "BR18",
    title: `MAC address by ${title}`,
    steps: [
      add((seen) => {
        assert.equal(seen.inside.address, MAC);
        assert.equal(seen.result.interfaces[2].mac, MAC);
      }, step),
      command("CHECK", step),
    ],
  })),
  ...["zz", "01:00:5e:00:00:01", "02:11:22:33:44"].map((mac): Row => ({
    id: "BR19",
    title: `MAC address ${mac}`,
    steps: [
      refused([/MAC|mac|veth pair/], {
        config: { runtimeConfig: { mac } },
        see: (seen) => seen.gone(),
      }),
    ],
  })),
  { id: "BR24", title: "CHECK", steps: [add(), command("CHECK")] },
  {
    id: "BR24",
    title: "CHECK of both families, and of layer 2",
    steps: [
      add(undefined, { config: GATEWAY, nets: ["10.1.2.0/24", "2001:db8::/64"] }),
      command("CHECK", { config: GATEWAY, nets: ["10.1.2.0/24", "2001:db8::/64"] }),
      add(undefined, { ...LAYER2, id: "c2" }),
      command("CHECK", { ...LAYER2, id: "c2" }),
    ],
  },
  {
    id: "BR25",
    title: "CHECK without prevResult",
    steps: [
      add(),
      command("CHECK", {
        prev: undefined,
        want: { code: 999, words: ["Required prevResult missing"] },
      }),
    ],
  },
  damage("an address is gone", "Failed to match addr", "ip -n POD address flush dev eth0"),
  damage("the default route is gone", "Expected Route", "ip -n POD route delete default"),
  damage("the interface is gone", "not found", "ip -n POD link delete eth0"),
  damage(
    "the interface is down",
    /Expected Route|Failed to find Gateway/,
    "ip -n POD link set eth0 down",
  ),
  damage("the MAC address is another", "doesn't match", `ip -n POD link set eth0 address ${MAC}`),
  damage("the bridge is gone", "not found", `ip link delete ${BRIDGE}`),
  damage("the bridge is another", "doesn't match", `ip link set ${BRIDGE} address ${MAC}`),
  damage(
    "the interface is no veth",
    /not (?:of type|a) veth/,
    "ip -n POD link delete eth0",
    "ip -n POD link add eth0 type bridge",
  ),
  damage(
    "the pair is another",
    /doesn't match|not found/,
    "ip -n POD link delete eth0",
    "ip link add x0 type veth peer eth0 netns POD",
  ),
  {
    id: "BR26",
    title: "the host end left the bridge",
    steps: [
      add((seen) => void seen.node.sh(`ip link set ${seen.hostEnd} nomaster`), { config: GATEWAY }),
      command("CHECK", { config: GATEWAY, want: { words: ["not found"] } }),
    ],
  },
  {
    id: "BR26",
    title: "the reservation is gone",
    steps: [
      add((seen) => Deno.removeSync(`${seen.node.dataDir}/dbnet/10.1.2.2`), { config: GATEWAY }),
      command("CHECK", { config: GATEWAY, want: { words: ["Failed to find address"] } }),
    ],
  },
  {
    id: "BR28",
    title: "an IPAM for an interface that stays down",
    steps: [
      refused(["cannot use IPAM when DisableContainerInterface"], {
        config: { disableContainerInterface: true },
        see: nothing,
      }),
    ],
  },
  {
    id: "BR29",
    title: "an interface that stays down",
    steps: [
      add((seen) => assert.ok(!seen.inside.flags.includes("UP")), {
        ...LAYER2,
        config: { disableContainerInterface: true },
      }),
    ],
  },
  ...[true, false].map((portIsolation): Row => ({
    id: "BR30",
    title: `port isolation ${portIsolation}`,
    steps: [
      add((seen) => {
        assert.equal(seen.port.linkinfo.info_slave_data.isolated, portIsolation);
      }, { config: { portIsolation } }),
    ],
  })),
  ...Object.entries(BAD_VLANS).map(([title, [config, words]]): Row => ({
    id: "BR31",
    title,
    steps: [refused([words], { config, see: nothing })],
  })),
  {
    id: "BR36",
    title: "MTU",
    steps: [
      add((seen) => {
        const mtus = [seen.inside, seen.port, seen.node.link(BRIDGE)].map((link) => link.mtu);
        assert.deepEqual(mtus, [1400, 1400, 1400]);
      }, { config: { mtu: 1400 } }),
      add((seen) => {
        assert.deepEqual([seen.inside.mtu, seen.port.mtu], [1300, 1300]);
      }, { id: "c2", config: { mtu: 1300 } }),
    ],
  },
  {
    id: "BR37",
    title: "resolvConf of the IPAM",
    steps: [
      add((seen) => {
        assert.deepEqual(seen.result.dns, { nameservers: ["192.0.2.3"], search: ["a", "b"] });
      }, { ipam: { resolvConf: "RESOLV" } }),
      add((seen) => assert.deepEqual(seen.result.dns, { domain: "example.org" }), {
        id: "c2",
        ipam: { resolvConf: "RESOLV" },
        config: { dns: { domain: "example.org" } },
      }),
    ],
  },
  {
    id: "BR42",
    title: "settings",
    steps: [
      add((seen) => {
        const { node } = seen;
        assert.equal(node.sysctl("net/ipv4/conf/eth0/arp_notify", "c1"), "1");
        assert.equal(node.sysctl("net/ipv6/conf/eth0/accept_dad", "c1"), "0");
        assert.equal(node.sysctl(`net/ipv6/conf/${BRIDGE}/accept_ra`), "0");
        assert.equal(node.sysctl(`net/ipv6/conf/${seen.hostEnd}/accept_ra`), "0");
      }),
      add((seen) => {
        assert.equal(seen.node.sysctl("net/ipv6/conf/eth0/accept_dad", "c2"), "1");
        assert.equal(seen.node.sysctl("net/ipv6/conf/eth0/enhanced_dad", "c2"), "1");
      }, { id: "c2", config: { enabledad: true } }),
    ],
  },
  {
    id: "BR42",
    title: "IPv6 where it is switched off",
    steps: [
      add((seen) => {
        const { node } = seen;
        for (const dev of ["lo", "eth0"]) {
          assert.equal(node.sysctl(`net/ipv6/conf/${dev}/disable_ipv6`, "c1"), "0");
        }
        assert.equal(node.sysctl("net/ipv6/conf/eth0/keep_addr_on_down", "c1"), "1");
        assert.deepEqual(seen.addresses, ["2001:db8::2/64"]);
      }, {
        before: [
          "ip netns exec POD sysctl -q net.ipv6.conf.all.disable_ipv6=1",
          "ip netns exec POD sysctl -q net.ipv6.conf.default.disable_ipv6=1",
        ],
        config: GATEWAY,
        nets: ["2001:db8::/64"],
      }),
    ],
  },
  {
    id: "BR43",
    title: "STATUS",
    steps: [
      command("STATUS", { config: { cniVersion: "1.1.0" } }),
      command("STATUS", { config: { cniVersion: "1.1.0" }, ...LAYER2 }),
      command("STATUS", {
        config: { cniVersion: "1.1.0" },
        ipam: { type: "nonesuch" },
        want: { code: 999, words: ['failed to find plugin "nonesuch"'] },
      }),
      command("STATUS", {
        config: { cniVersion: "1.1.0" },
        ipam: { dataDir: "/proc/nonesuch" },
        want: { code: 50 },
      }),
    ],
  },
  {
    id: "BR43",
    title: "GC goes to the IPAM",
    steps: [
      add(),
      add(undefined, { id: "c2" }),
      command("GC", {
        config: { cniVersion: "1.1.0" },
        see: (seen) => assert.equal(seen.node.reserved().length, 2),
      }),
      command("GC", {
        config: {
          cniVersion: "1.1.0",
          "cni.dev/valid-attachments": [{ containerID: "c2", ifname: "eth0" }],
        },
        see: (seen) => assert.deepEqual(seen.node.reserved(), ["10.1.2.3"]),
      }),
      command("CHECK", { id: "c2", want: OK }),
      command("GC", {
        config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": null },
        see: (seen) => assert.deepEqual(seen.node.reserved(), []),
      }),
      command("GC", {
        config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] },
        ipam: { type: "nonesuch" },
        want: { code: 999, words: ["nonesuch"] },
      }),
    ],
  },
];

testRows(ROWS);
