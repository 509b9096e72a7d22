/**
 * Every number of our tables against the C headers of this machine: a C program made from the
 * tables prints what the compiler thinks of each.
 */

import assert from "node:assert/strict";
import { MAIN_TABLE } from "../../engine/fact.ts";
import { Errno, errnoText } from "../../ffi/errno.ts";
import { ADDRESS, AddressFlag, IFADDRMSG } from "../../ffi/netlink/address.ts";
import type { Fields, Struct } from "../../ffi/netlink/codec.ts";
import {
  BRIDGE,
  BRIDGE_PORT,
  Iff,
  IFINFOMSG,
  INFO,
  IPTUN,
  LINK,
  LINK_STATS,
  OperState,
  VETH,
  VXLAN,
} from "../../ffi/netlink/link.ts";
import {
  BRIDGE_LINK,
  BRIDGE_VLAN_INFO,
  BridgeVlanFlag,
  FILTER_BRIDGE_VLAN,
  IFLA_BRIDGE_VLAN_INFO,
} from "../../ffi/netlink/link_vlan.ts";
import { Control, Flag, NLMSGHDR } from "../../ffi/netlink/message.ts";
import { NDMSG, NEIGHBOUR, NeighbourFlag, NeighbourState } from "../../ffi/netlink/neighbour.ts";
import {
  METRICS,
  ROUTE,
  RouteFlag,
  RouteScope,
  RouteType,
  RTMSG,
} from "../../ffi/netlink/route.ts";
import { SocketOption } from "../../ffi/netlink/socket.ts";
import { NftTrace } from "../../ffi/nft_trace.ts";
import * as tc from "../../ffi/netlink/traffic_control.ts";
import { CLONE_NEWNET, O_RDONLY_CLOEXEC } from "../../ffi/netns.ts";
import { Af, Rtm } from "../../ffi/netlink/rtnetlink.ts";
import { PACKET_ROWS } from "./packet_headers.ts";
import { RELAY_ROWS } from "./relay_headers.ts";

/** What must be equal: a C expression, and our number. */
type Row = readonly [expression: string, ours: number];

/** Sizes and offsets; `names` has the C name of each member. */
function struct<S extends Struct>(
  type: string,
  struct: S,
  names: Readonly<Record<keyof S["members"], string>>,
): Row[] {
  const members = Object.entries(struct.members).flatMap(([name, { at, as }]): Row[] => [
    [`offsetof(${type}, ${names[name]})`, at],
    [`sizeof(((${type} *)0)->${names[name]})`, as.size],
  ]);
  return [[`sizeof(${type})`, struct.size], ...members];
}

/** Attribute numbers; `names` has the C name of each field, less what all begin with. */
function attributes<T extends Fields>(
  start: string,
  table: T,
  names: Readonly<Record<keyof T, string>>,
): Row[] {
  return Object.entries(table).map(([name, { type }]) => [`${start}${names[name]}`, type]);
}

/** Numbers that have their C name in our code, less what all begin with. */
function constants(start: string, values: Readonly<Record<string, number>>): Row[] {
  return Object.entries(values).map(([name, value]) => [`${start}${name}`, value]);
}

const ROWS: Readonly<Record<string, readonly Row[]>> = {
  "struct nlmsghdr": struct("struct nlmsghdr", NLMSGHDR, {
    length: "nlmsg_len",
    type: "nlmsg_type",
    flags: "nlmsg_flags",
    sequence: "nlmsg_seq",
    port: "nlmsg_pid",
  }),
  "struct ifinfomsg": struct("struct ifinfomsg", IFINFOMSG, {
    family: "ifi_family",
    type: "ifi_type",
    index: "ifi_index",
    flags: "ifi_flags",
    change: "ifi_change",
  }),
  "struct ifaddrmsg": struct("struct ifaddrmsg", IFADDRMSG, {
    family: "ifa_family",
    prefixLength: "ifa_prefixlen",
    flags: "ifa_flags",
    scope: "ifa_scope",
    index: "ifa_index",
  }),
  "struct rtmsg": struct("struct rtmsg", RTMSG, {
    family: "rtm_family",
    destinationLength: "rtm_dst_len",
    sourceLength: "rtm_src_len",
    tos: "rtm_tos",
    table: "rtm_table",
    protocol: "rtm_protocol",
    scope: "rtm_scope",
    type: "rtm_type",
    flags: "rtm_flags",
  }),
  "struct ndmsg": struct("struct ndmsg", NDMSG, {
    family: "ndm_family",
    index: "ndm_ifindex",
    state: "ndm_state",
    flags: "ndm_flags",
    type: "ndm_type",
  }),
  // These three are written out in the code that walks them.
  "struct nlattr, struct nlmsgerr, struct sockaddr_nl": [
    ["sizeof(struct nlattr)", 4],
    ["offsetof(struct nlattr, nla_type)", 2],
    ["sizeof(struct nlmsgerr)", 4 + NLMSGHDR.size],
    ["offsetof(struct nlmsgerr, msg)", 4],
    ["NLMSGERR_ATTR_MSG", 1],
    ["NLA_TYPE_MASK & 0xffff", 0x3fff],
    ["NLA_F_NESTED", 0x8000],
    ["NLA_ALIGNTO", 4],
    ["NLMSG_ALIGNTO", 4],
    ["sizeof(struct sockaddr_nl)", 12],
    ["offsetof(struct sockaddr_nl, nl_pid)", 4],
  ],
  "IFLA_*": attributes("IFLA_", LINK, {
    name: "IFNAME",
    address: "ADDRESS",
    mtu: "MTU",
    txQueueLength: "TXQLEN",
    link: "LINK",
    master: "MASTER",
    operstate: "OPERSTATE",
    alias: "IFALIAS",
    info: "LINKINFO",
    stats: "STATS64",
    netnsFd: "NET_NS_FD",
    extMask: "EXT_MASK",
    promiscuity: "PROMISCUITY",
    linkNetnsId: "LINK_NETNSID",
  }),
  "struct rtnl_link_stats64": ([
    ["rx_packets", LINK_STATS.receivedPackets],
    ["tx_packets", LINK_STATS.sentPackets],
    ["rx_bytes", LINK_STATS.receivedBytes],
    ["tx_bytes", LINK_STATS.sentBytes],
    ["rx_errors", LINK_STATS.receiveErrors],
    ["tx_errors", LINK_STATS.sendErrors],
    ["rx_dropped", LINK_STATS.receiveDropped],
    ["tx_dropped", LINK_STATS.sendDropped],
  ] as const).map(([name, at]) => [`offsetof(struct rtnl_link_stats64, ${name})`, at]),
  "IFLA_INFO_*": attributes("IFLA_INFO_", INFO, {
    kind: "KIND",
    data: "DATA",
    slaveKind: "SLAVE_KIND",
    slaveData: "SLAVE_DATA",
  }),
  "VETH_INFO_*": attributes("VETH_INFO_", VETH, { peer: "PEER" }),
  "IFLA_IPTUN_*": attributes("IFLA_IPTUN_", IPTUN, {
    local: "LOCAL",
    remote: "REMOTE",
    ttl: "TTL",
    pathMtuDiscovery: "PMTUDISC",
  }),
  "IFLA_VXLAN_*": attributes("IFLA_VXLAN_", VXLAN, {
    id: "ID",
    link: "LINK",
    local: "LOCAL",
    local6: "LOCAL6",
    ttl: "TTL",
    tos: "TOS",
    learning: "LEARNING",
    proxy: "PROXY",
    rsc: "RSC",
    l2miss: "L2MISS",
    l3miss: "L3MISS",
    zeroChecksum6Tx: "UDP_ZERO_CSUM6_TX",
    zeroChecksum6Rx: "UDP_ZERO_CSUM6_RX",
    gbp: "GBP",
    port: "PORT",
  }),
  "IFLA_BR_*": attributes("IFLA_BR_", BRIDGE, {
    forwardDelay: "FORWARD_DELAY",
    stpState: "STP_STATE",
    vlanFiltering: "VLAN_FILTERING",
    vlanProtocol: "VLAN_PROTOCOL",
  }),
  "VLANs of ports": [
    ...attributes("IFLA_", BRIDGE_LINK, { vlans: "AF_SPEC", extMask: "EXT_MASK" }),
    ...struct("struct bridge_vlan_info", BRIDGE_VLAN_INFO, { flags: "flags", vid: "vid" }),
    ...constants("BRIDGE_VLAN_INFO_", BridgeVlanFlag),
    ["IFLA_BRIDGE_VLAN_INFO", IFLA_BRIDGE_VLAN_INFO],
    ["RTEXT_FILTER_BRVLAN", FILTER_BRIDGE_VLAN],
  ],
  "IFLA_BRPORT_*": attributes("IFLA_BRPORT_", BRIDGE_PORT, {
    hairpin: "MODE",
    learning: "LEARNING",
    flooding: "UNICAST_FLOOD",
    isolated: "ISOLATED",
  }),
  "IFA_*": attributes("IFA_", ADDRESS, {
    local: "LOCAL",
    address: "ADDRESS",
    broadcast: "BROADCAST",
    label: "LABEL",
    flags: "FLAGS",
  }),
  "RTA_*": attributes("RTA_", ROUTE, {
    destination: "DST",
    source: "SRC",
    iif: "IIF",
    mark: "MARK",
    gateway: "GATEWAY",
    oif: "OIF",
    priority: "PRIORITY",
    preferredSource: "PREFSRC",
    metrics: "METRICS",
    multipath: "MULTIPATH",
    table: "TABLE",
  }),
  "RTAX_*": attributes("RTAX_", METRICS, { mtu: "MTU", advmss: "ADVMSS" }),
  "NDA_*": attributes("NDA_", NEIGHBOUR, {
    destination: "DST",
    address: "LLADDR",
    master: "MASTER",
    ifindex: "IFINDEX",
  }),
  "struct tcmsg": struct("struct tcmsg", tc.TCMSG, {
    family: "tcm_family",
    index: "tcm_ifindex",
    handle: "tcm_handle",
    parent: "tcm_parent",
    info: "tcm_info",
  }),
  "struct tc_tbf_qopt": struct("struct tc_tbf_qopt", tc.TC_TBF_QOPT, {
    cellLog: "rate.cell_log",
    linkLayer: "rate.linklayer",
    rate: "rate.rate",
    peakRate: "peakrate.rate",
    limit: "limit",
    buffer: "buffer",
    mtu: "mtu",
  }),
  "struct tc_mirred": struct("struct tc_mirred", tc.TC_MIRRED, {
    index: "index",
    action: "action",
    direction: "eaction",
    target: "ifindex",
  }),
  "struct tc_u32_sel": struct("struct tc_u32_sel", tc.TC_U32_SEL, {
    flags: "flags",
    offsetShift: "offshift",
    keys: "nkeys",
    offsetMask: "offmask",
    offset: "off",
  }),
  "struct tc_u32_key": struct("struct tc_u32_key", tc.TC_U32_KEY, {
    mask: "mask",
    value: "val",
    offset: "off",
    offsetMask: "offmask",
  }),
  "TCA_*": attributes("TCA_", tc.TCA, { kind: "KIND", options: "OPTIONS" }),
  "TCA_TBF_*": attributes("TCA_TBF_", tc.TBF, { parameters: "PARMS", rate64: "RATE64" }),
  "TCA_U32_*": attributes("TCA_U32_", tc.U32, { actions: "ACT", selection: "SEL" }),
  "TCA_ACT_*": attributes("TCA_ACT_", tc.ACTION, { kind: "KIND", options: "OPTIONS" }),
  "TCA_MIRRED_*": attributes("TCA_MIRRED_", tc.MIRRED, { parameters: "PARMS" }),
  "TC_H_*": [
    ["(__u32)TC_H_ROOT", tc.Parent.ROOT],
    ["(__u32)TC_H_INGRESS", tc.Parent.INGRESS],
  ],
  "TC_LINKLAYER_*": constants("TC_LINKLAYER_", tc.LinkLayer),
  "TC_U32_*": constants("TC_U32_", tc.Selector),
  "traffic control": [...constants("", tc.Mirred), ...constants("RTM_", tc.TrafficRtm)],
  "NLM_F_*": constants("NLM_F_", Flag),
  "NLMSG_*": constants("NLMSG_", Control),
  "RTM_*": constants("RTM_", Rtm),
  "AF_*": constants("AF_", Af),
  "IFF_*": constants("IFF_", Iff),
  "IF_OPER_*": constants("IF_OPER_", OperState),
  "IFA_F_*": constants("IFA_F_", AddressFlag),
  "RTN_*": constants("RTN_", RouteType),
  "RT_SCOPE_*": constants("RT_SCOPE_", RouteScope),
  "RTNH_F_*, RTM_F_*": [
    ["RTNH_F_ONLINK", RouteFlag.ONLINK],
    ["RTM_F_CLONED", RouteFlag.CLONED],
    ["RTM_F_LOOKUP_TABLE", RouteFlag.LOOKUP_TABLE],
    ["RTM_F_FIB_MATCH", RouteFlag.FIB_MATCH],
  ],
  "NUD_*": constants("NUD_", NeighbourState),
  "NTF_*": constants("NTF_", NeighbourFlag),
  "errno": constants("", Errno),
  "socket options": constants("", SocketOption),
  "packets that are traced": constants("", NftTrace),
  "single numbers": [
    ["CLONE_NEWNET", CLONE_NEWNET],
    ["O_RDONLY | O_CLOEXEC", O_RDONLY_CLOEXEC],
    ["RT_TABLE_MAIN", MAIN_TABLE],
    ["RTPROT_BOOT", 3],
    ["RTEXT_FILTER_SKIP_STATS", 1 << 3],
    ["NETLINK_ROUTE", 0],
  ],
};

/** The error numbers that have words in our table. */
const ERRNOS = Array.from({ length: 134 }, (_, number) => number).filter((number) =>
  errnoText(number) !== `errno ${number}`
);

const ALL_ROWS = { ...ROWS, ...PACKET_ROWS, ...RELAY_ROWS };

const PROGRAM = `
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <netinet/udp.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/if_tunnel.h>
#include <linux/neighbour.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <linux/veth.h>

int main(void) {
${
  Object.values(ALL_ROWS).flat().map(([expression]) => `  printf("%ld\\n", (long)(${expression}));`)
    .join("\n")
}
${ERRNOS.map((number) => `  printf("%s\\n", strerror(${number}));`).join("\n")}
  return 0;
}
`;

/** What the program prints, line by line. */
function compileAndRun(): string[] {
  using undo = new DisposableStack();
  const folder = undo.adopt(
    Deno.makeTempDirSync({ prefix: "twill-headers-" }),
    (folder) => Deno.removeSync(folder, { recursive: true }),
  );
  Deno.writeTextFileSync(`${folder}/headers.c`, PROGRAM);
  const run = (command: string, args: readonly string[]): string => {
    const { success, stdout, stderr } = new Deno.Command(command, {
      args: [...args],
      env: { LC_ALL: "C" },
    }).outputSync();
    assert.ok(success, new TextDecoder().decode(stderr));
    return new TextDecoder().decode(stdout);
  };
  run("gcc", ["-Wall", "-o", `${folder}/headers`, `${folder}/headers.c`]);
  return run(`${folder}/headers`, []).trim().split("\n");
}

Deno.test("numbers are those of the C headers", async (t) => {
  const printed = compileAndRun();
  for (const [name, rows] of Object.entries(ALL_ROWS)) {
    await t.step(name, () => {
      const compiled = printed.splice(0, rows.length).map(Number);
      assert.deepEqual(
        rows.map(([expression, ours]) => `${expression} is ${ours}`),
        rows.map(([expression], i) => `${expression} is ${compiled[i]}`),
      );
    });
  }
  await t.step("errnoText says what strerror says", () => {
    assert.deepEqual(ERRNOS.map(errnoText), printed);
  });
});
