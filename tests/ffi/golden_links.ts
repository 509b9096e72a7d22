/**
 * The first part of the session: links.
 *
 * @module
 */

import { parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { byName, change, type Golden, ORDER, put, remove } from "./golden.ts";
import type { PortFact } from "../../engine/fact.ts";

const where = "host";

const PORT: PortFact = {
  kind: "port",
  where,
  dev: "v0",
  bridge: "br0",
  hairpin: true,
  isolated: true,
};

/** Typed into an empty namespace. */
export const LINKS: readonly Golden[] = [
  { command: "ip link add up0 type veth peer name up1" },
  { command: "ip link set up1 up" },
  { command: "ip link set up0 up" },
  { command: "ip addr add 192.0.2.1/24 dev up0" },
  {
    command: "ip link add br0 type bridge",
    change: put({ kind: "link", where, name: "br0", driver: { kind: "bridge" } }),
    bytes: `
      38000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0300 62723000  IFLA_IFNAME
      1000 1200  IFLA_LINKINFO
        0a00 0100 627269646765 0000  IFLA_INFO_KIND`,
    differs: ORDER,
  },
  {
    command: "ip link add br1 mtu 1450 address 02:00:00:00:00:01 type bridge",
    change: put({
      kind: "link",
      where,
      name: "br1",
      driver: { kind: "bridge" },
      mtu: 1450,
      mac: parseMac("02:00:00:00:00:01"),
    }),
    bytes: `
      4c000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0400 aa050000  IFLA_MTU
      0a00 0100 020000000001 0000  IFLA_ADDRESS
      0800 0300 62723100  IFLA_IFNAME
      1000 1200  IFLA_LINKINFO
        0a00 0100 627269646765 0000  IFLA_INFO_KIND`,
    differs: ORDER,
  },
  {
    command: "ip link add v0 type veth peer name e0",
    change: put({ kind: "link", where, name: "v0", driver: { kind: "veth", peer: "e0" } }),
    bytes: `
      54000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0700 0300 763000 00  IFLA_IFNAME
      2c00 1200  IFLA_LINKINFO
        0800 0100 76657468  IFLA_INFO_KIND
        2000 0200  IFLA_INFO_DATA
          1c00 0100  VETH_INFO_PEER
            00000000 00000000 00000000 00000000  ifinfomsg
            0700 0300 653000 00  IFLA_IFNAME`,
    differs: ORDER,
  },
  {
    command: "ip link add v1 mtu 1450 type veth peer name e1 mtu 1450 netns peer",
    change: put({
      kind: "link",
      where,
      name: "v1",
      driver: { kind: "veth", peer: "e1", peerWhere: "pod" },
      mtu: 1450,
    }),
    bytes: `
      6c000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0400 aa050000  IFLA_MTU
      0700 0300 763100 00  IFLA_IFNAME
      3c00 1200  IFLA_LINKINFO
        0800 0100 76657468  IFLA_INFO_KIND
        3000 0200  IFLA_INFO_DATA
          2c00 0100  VETH_INFO_PEER
            00000000 00000000 00000000 00000000  ifinfomsg
            0800 0400 aa050000  IFLA_MTU
            0800 1c00 04000000  IFLA_NET_NS_FD
            0700 0300 653100 00  IFLA_IFNAME`,
    differs: ORDER,
  },
  {
    command:
      "ip link add vx1 mtu 1450 address 02:00:00:00:00:02 type vxlan id 1 local 192.0.2.1 dev up0 dstport 8472 nolearning",
    change: put({
      kind: "link",
      where,
      name: "vx1",
      driver: {
        kind: "vxlan",
        vni: 1,
        port: 8472,
        local: parseIp("192.0.2.1"),
        underlay: "up0",
        learning: false,
        gbp: false,
      },
      mtu: 1450,
      mac: parseMac("02:00:00:00:00:02"),
    }),
    bytes: `
      78000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0400 aa050000  IFLA_MTU
      0a00 0100 020000000002 0000  IFLA_ADDRESS
      0800 0300 76783100  IFLA_IFNAME
      3c00 1200  IFLA_LINKINFO
        0900 0100 76786c616e 000000  IFLA_INFO_KIND
        2c00 0200  IFLA_INFO_DATA
          0800 0300 03000000  IFLA_VXLAN_LINK
          0800 0100 01000000  IFLA_VXLAN_ID
          0800 0400 c0000201  IFLA_VXLAN_LOCAL
          0500 0700 00 000000  IFLA_VXLAN_LEARNING
          0600 0f00 2118 0000  IFLA_VXLAN_PORT`,
    differs: ORDER,
  },
  {
    command:
      "ip link add vx6 type vxlan id 2 local 2001:db8::1 dev up0 dstport 8472 nolearning gbp",
    change: put({
      kind: "link",
      where,
      name: "vx6",
      driver: {
        kind: "vxlan",
        vni: 2,
        port: 8472,
        local: parseIp("2001:db8::1"),
        underlay: "up0",
        gbp: true,
      },
    }),
    bytes: `
      74000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0300 76783600  IFLA_IFNAME
      4c00 1200  IFLA_LINKINFO
        0900 0100 76786c616e 000000  IFLA_INFO_KIND
        3c00 0200  IFLA_INFO_DATA
          0800 0300 03000000  IFLA_VXLAN_LINK
          0400 1700  IFLA_VXLAN_GBP
          0800 0100 02000000  IFLA_VXLAN_ID
          1400 1100 20010db8000000000000000000000001  IFLA_VXLAN_LOCAL6
          0500 0700 00 000000  IFLA_VXLAN_LEARNING
          0600 0f00 2118 0000  IFLA_VXLAN_PORT`,
    differs: ORDER,
  },
  {
    command: "ip link set v0 master br0",
    change: put({ kind: "port", where, dev: "v0", bridge: "br0" }),
    bytes: `
      28000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 07000000 00000000 00000000  ifinfomsg
      0800 0a00 04000000  IFLA_MASTER`,
    differs: byName("v0"),
  },
  {
    command: "ip link set v0 type bridge_slave hairpin on isolated on",
    settings: PORT,
    bytes: `
      48000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 07000000 00000000 00000000  ifinfomsg
      2800 1200  IFLA_LINKINFO
        1000 0100 6272696467655f736c617665  IFLA_INFO_KIND
        1400 0500  IFLA_INFO_SLAVE_DATA
          0500 0400 01 000000  IFLA_BRPORT_MODE
          0500 2100 01 000000  IFLA_BRPORT_ISOLATED`,
    differs: {
      why: "the kernel takes the driver of a port's settings from its master, whatever it is told",
      ip: ["18.1 bridge_slave", "index 7"],
      twill: ["18.4 bridge", "3 v0"],
    },
  },
  {
    command: "bridge vlan add dev v0 vid 100 pvid untagged",
    change: put({ kind: "vlan", where, dev: "v0", id: 100, pvid: true, untagged: true }),
    mayFail: true,
    bytes: `
      2c000000 1300 0500 00000000 00000000  RTM_SETLINK REQUEST ACK
      07 00 0000 07000000 00000000 00000000  ifinfomsg
      0c00 1a00  IFLA_AF_SPEC
        0800 0200 0600 6400  IFLA_BRIDGE_VLAN_INFO`,
  },
  {
    command: "bridge vlan add dev v0 vid 4094",
    change: put({ kind: "vlan", where, dev: "v0", id: 4094 }),
    mayFail: true,
    bytes: `
      2c000000 1300 0500 00000000 00000000  RTM_SETLINK REQUEST ACK
      07 00 0000 07000000 00000000 00000000  ifinfomsg
      0c00 1a00  IFLA_AF_SPEC
        0800 0200 0000 fe0f  IFLA_BRIDGE_VLAN_INFO`,
  },
  {
    command: "bridge vlan del dev v0 vid 1",
    change: remove({ kind: "vlan", where, dev: "v0", id: 1, pvid: true, untagged: true }),
    mayFail: true,
    bytes: `
      2c000000 1100 0500 00000000 00000000  RTM_DELLINK REQUEST ACK
      07 00 0000 07000000 00000000 00000000  ifinfomsg
      0c00 1a00  IFLA_AF_SPEC
        0800 0200 0000 0100  IFLA_BRIDGE_VLAN_INFO`,
  },
  {
    command: "ip link add br9 type bridge vlan_filtering 1",
    change: put({
      kind: "link",
      where,
      name: "br9",
      driver: { kind: "bridge", vlanFiltering: true },
    }),
    mayFail: true,
    bytes: `
      44000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0300 62723900  IFLA_IFNAME
      1c00 1200  IFLA_LINKINFO
        0a00 0100 627269646765 0000  IFLA_INFO_KIND
        0c00 0200  IFLA_INFO_DATA
          0500 0700 01 000000  IFLA_BR_VLAN_FILTERING`,
    differs: ORDER,
  },
  {
    command: "ip link set v0 mtu 1400",
    change: change({ kind: "link", where, name: "v0", driver: { kind: "veth" }, mtu: 1400 }),
    bytes: `
      28000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 07000000 00000000 00000000  ifinfomsg
      0800 0400 78050000  IFLA_MTU`,
    differs: byName("v0"),
  },
  {
    command: "ip link set v0 address 02:00:00:00:00:03",
    change: change({
      kind: "link",
      where,
      name: "v0",
      driver: { kind: "veth" },
      mac: parseMac("02:00:00:00:00:03"),
    }),
    bytes: `
      2c000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 07000000 00000000 00000000  ifinfomsg
      0a00 0100 020000000003 0000  IFLA_ADDRESS`,
    differs: byName("v0"),
  },
  {
    command: "ip link set br0 promisc on",
    change: change({ kind: "link", where, name: "br0", driver: { kind: "bridge" }, promisc: true }),
    bytes: `
      20000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 04000000 00010000 00010000  ifinfomsg`,
    differs: byName("br0"),
  },
  {
    command: "ip link set br0 up",
    change: put({ kind: "up", where, dev: "br0", up: true }),
    bytes: `
      20000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 04000000 01000000 01000000  ifinfomsg`,
    differs: byName("br0"),
  },
  {
    command: "ip link set v0 down",
    change: put({ kind: "up", where, dev: "v0", up: false }),
    bytes: `
      20000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 07000000 00000000 01000000  ifinfomsg`,
    differs: byName("v0"),
  },
  { command: "ip link set vx1 up" },
  {
    command: "ip link set v0 nomaster",
    change: remove({ kind: "port", where, dev: "v0", bridge: "br0" }),
    bytes: `
      28000000 1000 0500 00000000 00000000  RTM_NEWLINK REQUEST ACK
      00 00 0000 07000000 00000000 00000000  ifinfomsg
      0800 0a00 00000000  IFLA_MASTER`,
    differs: byName("v0"),
  },
  {
    command: "ip link del v0",
    change: remove({ kind: "link", where, name: "v0", driver: { kind: "veth" } }),
    bytes: `
      20000000 1100 0500 00000000 00000000  RTM_DELLINK REQUEST ACK
      00 00 0000 07000000 00000000 00000000  ifinfomsg`,
    differs: byName("v0"),
  },
];

/** Typed last: a kernel that has the driver makes one link more than was asked for. */
export const TUNNELS: readonly Golden[] = [
  {
    command: "ip link add name flannel.ipip mtu 1480 type ipip local 192.0.2.1 nopmtudisc",
    change: put({
      kind: "link",
      where,
      name: "flannel.ipip",
      driver: { kind: "ipip", local: parseIp("192.0.2.1"), anyPeer: true },
      mtu: 1480,
    }),
    mayFail: true,
    bytes: `
      a4000000 1000 0506 00000000 00000000  RTM_NEWLINK REQUEST ACK EXCL CREATE
      00 00 0000 00000000 00000000 00000000  ifinfomsg
      0800 0400 c8050000  IFLA_MTU
      1100 0300 666c616e6e656c2e6970697000 000000  IFLA_IFNAME
      6800 1200  IFLA_LINKINFO
        0800 0100 69706970  IFLA_INFO_KIND
        5c00 0200  IFLA_INFO_DATA
          0500 0900 00 000000  IFLA_IPTUN_PROTO
          0800 0200 c0000201  IFLA_IPTUN_LOCAL
          0500 0a00 00 000000  IFLA_IPTUN_PMTUDISC
          0500 0500 00 000000  IFLA_IPTUN_TOS
          0500 0400 00 000000  IFLA_IPTUN_TTL
          0800 0100 00000000  IFLA_IPTUN_LINK
          0800 1400 00000000  IFLA_IPTUN_FWMARK
          0600 0f00 0000 0000  IFLA_IPTUN_ENCAP_TYPE
          0600 1000 0000 0000  IFLA_IPTUN_ENCAP_FLAGS
          0600 1100 0000 0000  IFLA_IPTUN_ENCAP_SPORT
          0600 1200 0000 0000  IFLA_IPTUN_ENCAP_DPORT`,
    differs: {
      why: "zero is what the kernel takes for what is not said, but for the protocol: IPv4 alone",
      ip: [
        "18.2.1 00000000",
        "18.2.15 0000",
        "18.2.16 0000",
        "18.2.17 0000",
        "18.2.18 0000",
        "18.2.20 00000000",
        "18.2.5 00",
        "18.2.9 00",
      ],
      twill: [],
    },
  },
];
