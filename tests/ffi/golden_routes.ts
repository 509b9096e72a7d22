/**
 * The second part of the session: what hangs on links.
 *
 * @module
 */

import type { FdbFact, NeighbourFact, RouteFact } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { type Difference, type Golden, ORDER, put, remove } from "./golden.ts";

const where = "host";

const NEIGHBOUR: NeighbourFact = {
  kind: "neighbour",
  where,
  dev: "vx1",
  ip: parseIp("10.244.2.0"),
  mac: parseMac("02:00:00:00:02:00"),
};

const NEIGHBOUR6: NeighbourFact = { ...NEIGHBOUR, ip: parseIp("fd02::") };

const FDB: FdbFact = {
  kind: "fdb",
  where,
  dev: "vx1",
  mac: parseMac("02:00:00:00:02:00"),
  remote: parseIp("192.0.2.2"),
};

const OVERLAY: RouteFact = {
  kind: "route",
  where,
  dst: parseCidr("10.244.2.0/24"),
  via: parseIp("10.244.2.0"),
  dev: "vx1",
  onlink: true,
  protocol: 146,
};

const OVERLAY6: RouteFact = {
  ...OVERLAY,
  dst: parseCidr("fd02::/64"),
  via: parseIp("fd02::"),
  protocol: 3,
};

const BLACKHOLE: RouteFact = {
  kind: "route",
  where,
  dst: parseCidr("10.244.0.0/16"),
  blackhole: true,
};

const FDB_STATE: Difference = {
  why: "`bridge` adds NUD_NOARP; PERMANENT alone is what flannel writes, and shows the same",
  ip: ["state 192"],
  twill: ["state 128"],
};

const NEIGHBOUR_MAC: Difference = {
  why: "the kernel deletes by address alone and reads no further",
  ip: [],
  twill: ["2 020000000200"],
};

/** Typed after the links were made. */
export const ROUTES: readonly Golden[] = [
  {
    command: "ip addr add 10.244.1.0/32 dev vx1",
    change: put({ kind: "address", where, dev: "vx1", inet: parseInet("10.244.1.0/32") }),
    bytes: `
      28000000 1400 0506 00000000 00000000  RTM_NEWADDR REQUEST ACK EXCL CREATE
      02 20 00 00 09000000  ifaddrmsg
      0800 0200 0af40100  IFA_LOCAL
      0800 0100 0af40100  IFA_ADDRESS`,
  },
  {
    command: "ip addr add 10.244.1.1/24 broadcast 10.244.1.255 dev br0",
    change: put({
      kind: "address",
      where,
      dev: "br0",
      inet: parseInet("10.244.1.1/24"),
      broadcast: parseIp("10.244.1.255"),
    }),
    bytes: `
      30000000 1400 0506 00000000 00000000  RTM_NEWADDR REQUEST ACK EXCL CREATE
      02 18 00 00 04000000  ifaddrmsg
      0800 0200 0af40101  IFA_LOCAL
      0800 0400 0af401ff  IFA_BROADCAST
      0800 0100 0af40101  IFA_ADDRESS`,
    differs: ORDER,
  },
  {
    command: "ip addr add fd00::1/64 dev br0 nodad",
    change: put({ kind: "address", where, dev: "br0", inet: parseInet("fd00::1/64") }),
    bytes: `
      40000000 1400 0506 00000000 00000000  RTM_NEWADDR REQUEST ACK EXCL CREATE
      0a 40 02 00 04000000  ifaddrmsg
      1400 0200 fd000000000000000000000000000001  IFA_LOCAL
      1400 0100 fd000000000000000000000000000001  IFA_ADDRESS`,
  },
  {
    command: "ip neigh replace 10.244.2.0 lladdr 02:00:00:00:02:00 dev vx1 nud permanent",
    change: put(NEIGHBOUR),
    bytes: `
      30000000 1c00 0505 00000000 00000000  RTM_NEWNEIGH REQUEST ACK REPLACE CREATE
      02 00 0000 09000000 8000 00 00  ndmsg
      0800 0100 0af40200  NDA_DST
      0a00 0200 020000000200 0000  NDA_LLADDR`,
  },
  {
    command: "ip neigh replace fd02:: lladdr 02:00:00:00:02:00 dev vx1 nud permanent",
    change: put(NEIGHBOUR6),
    bytes: `
      3c000000 1c00 0505 00000000 00000000  RTM_NEWNEIGH REQUEST ACK REPLACE CREATE
      0a 00 0000 09000000 8000 00 00  ndmsg
      1400 0100 fd020000000000000000000000000000  NDA_DST
      0a00 0200 020000000200 0000  NDA_LLADDR`,
  },
  {
    command: "bridge fdb replace 02:00:00:00:02:00 dev vx1 dst 192.0.2.2 self permanent",
    change: put(FDB),
    bytes: `
      30000000 1c00 0505 00000000 00000000  RTM_NEWNEIGH REQUEST ACK REPLACE CREATE
      07 00 0000 09000000 c000 02 00  ndmsg
      0a00 0200 020000000200 0000  NDA_LLADDR
      0800 0100 c0000202  NDA_DST`,
    differs: FDB_STATE,
  },
  {
    command: "ip route replace 10.244.2.0/24 via 10.244.2.0 dev vx1 onlink",
    change: put({ ...OVERLAY, protocol: 3 }),
    bytes: `
      34000000 1800 0505 00000000 00000000  RTM_NEWROUTE REQUEST ACK REPLACE CREATE
      02 18 00 00 fe 03 00 01 04000000  rtmsg
      0800 0100 0af40200  RTA_DST
      0800 0500 0af40200  RTA_GATEWAY
      0800 0400 09000000  RTA_OIF`,
  },
  {
    command: "ip route replace 10.244.2.0/24 via 10.244.2.0 dev vx1 onlink proto 146",
    change: put(OVERLAY),
    bytes: `
      34000000 1800 0505 00000000 00000000  RTM_NEWROUTE REQUEST ACK REPLACE CREATE
      02 18 00 00 fe 92 00 01 04000000  rtmsg
      0800 0100 0af40200  RTA_DST
      0800 0500 0af40200  RTA_GATEWAY
      0800 0400 09000000  RTA_OIF`,
  },
  {
    command: "ip -6 route replace fd02::/64 via fd02:: dev vx1 onlink",
    change: put(OVERLAY6),
    bytes: `
      4c000000 1800 0505 00000000 00000000  RTM_NEWROUTE REQUEST ACK REPLACE CREATE
      0a 40 00 00 fe 03 00 01 04000000  rtmsg
      1400 0100 fd020000000000000000000000000000  RTA_DST
      1400 0500 fd020000000000000000000000000000  RTA_GATEWAY
      0800 0400 09000000  RTA_OIF`,
  },
  {
    command: "ip route replace blackhole 10.244.0.0/16",
    change: put(BLACKHOLE),
    bytes: `
      24000000 1800 0505 00000000 00000000  RTM_NEWROUTE REQUEST ACK REPLACE CREATE
      02 10 00 00 fe 03 00 06 00000000  rtmsg
      0800 0100 0af40000  RTA_DST`,
  },
  {
    command: "ip route prepend default via 192.0.2.254 dev up0",
    change: put({
      kind: "route",
      where: "pod",
      dst: parseCidr("0.0.0.0/0"),
      via: parseIp("192.0.2.254"),
      dev: "up0",
    }),
    bytes: `
      2c000000 1800 0504 00000000 00000000  RTM_NEWROUTE REQUEST ACK CREATE
      02 00 00 00 fe 03 00 01 00000000  rtmsg
      0800 0500 c00002fe  RTA_GATEWAY
      0800 0400 03000000  RTA_OIF`,
  },
  {
    command: "ip route prepend 10.9.0.0/24 dev up0",
    change: put({ kind: "route", where: "pod", dst: parseCidr("10.9.0.0/24"), dev: "up0" }),
    bytes: `
      2c000000 1800 0504 00000000 00000000  RTM_NEWROUTE REQUEST ACK CREATE
      02 18 00 00 fe 03 fd 01 00000000  rtmsg
      0800 0100 0a090000  RTA_DST
      0800 0400 03000000  RTA_OIF`,
  },
  {
    command:
      "ip route prepend 10.8.0.0/24 via 192.0.2.254 dev up0 mtu 1400 advmss 1300 metric 5 src 192.0.2.1",
    change: put({
      kind: "route",
      where: "pod",
      dst: parseCidr("10.8.0.0/24"),
      via: parseIp("192.0.2.254"),
      dev: "up0",
      mtu: 1400,
      advmss: 1300,
      metric: 5,
      src: parseIp("192.0.2.1"),
    }),
    bytes: `
      58000000 1800 0504 00000000 00000000  RTM_NEWROUTE REQUEST ACK CREATE
      02 18 00 00 fe 03 00 01 00000000  rtmsg
      0800 0100 0a080000  RTA_DST
      0800 0500 c00002fe  RTA_GATEWAY
      0800 0600 05000000  RTA_PRIORITY
      0800 0700 c0000201  RTA_PREFSRC
      0800 0400 03000000  RTA_OIF
      1400 0800  RTA_METRICS
        0800 0200 78050000  RTAX_MTU
        0800 0800 14050000  RTAX_ADVMSS`,
    differs: ORDER,
  },
  {
    command: "ip route prepend 10.8.0.0/24 via 192.0.2.254 dev up0 table 1000",
    change: put({
      kind: "route",
      where: "pod",
      dst: parseCidr("10.8.0.0/24"),
      via: parseIp("192.0.2.254"),
      dev: "up0",
      table: 1000,
    }),
    bytes: `
      3c000000 1800 0504 00000000 00000000  RTM_NEWROUTE REQUEST ACK CREATE
      02 18 00 00 00 03 00 01 00000000  rtmsg
      0800 0100 0a080000  RTA_DST
      0800 0500 c00002fe  RTA_GATEWAY
      0800 0f00 e8030000  RTA_TABLE
      0800 0400 03000000  RTA_OIF`,
    differs: ORDER,
  },
  {
    command: "ip -6 route prepend fd01::/64 via fd00::2 dev br0",
    change: put({
      kind: "route",
      where: "pod",
      dst: parseCidr("fd01::/64"),
      via: parseIp("fd00::2"),
      dev: "br0",
    }),
    bytes: `
      4c000000 1800 0504 00000000 00000000  RTM_NEWROUTE REQUEST ACK CREATE
      0a 40 00 00 fe 03 00 01 00000000  rtmsg
      1400 0100 fd010000000000000000000000000000  RTA_DST
      1400 0500 fd000000000000000000000000000002  RTA_GATEWAY
      0800 0400 04000000  RTA_OIF`,
  },
  {
    command: "ip route del 10.244.2.0/24 via 10.244.2.0 dev vx1 onlink",
    change: remove(OVERLAY),
    bytes: `
      34000000 1900 0500 00000000 00000000  RTM_DELROUTE REQUEST ACK
      02 18 00 00 fe 00 ff 00 04000000  rtmsg
      0800 0100 0af40200  RTA_DST
      0800 0500 0af40200  RTA_GATEWAY
      0800 0400 09000000  RTA_OIF`,
    differs: {
      why: "we delete our own route only: protocol, scope and type must match too",
      ip: ["scope 255"],
      twill: ["protocol 146", "type 1"],
    },
  },
  {
    command: "ip -6 route del fd02::/64 via fd02:: dev vx1 onlink",
    change: remove(OVERLAY6),
    bytes: `
      4c000000 1900 0500 00000000 00000000  RTM_DELROUTE REQUEST ACK
      0a 40 00 00 fe 00 00 00 04000000  rtmsg
      1400 0100 fd020000000000000000000000000000  RTA_DST
      1400 0500 fd020000000000000000000000000000  RTA_GATEWAY
      0800 0400 09000000  RTA_OIF`,
    differs: {
      why: "as above",
      ip: [],
      twill: ["protocol 3", "type 1"],
    },
  },
  {
    command: "ip route del blackhole 10.244.0.0/16",
    change: remove(BLACKHOLE),
    bytes: `
      24000000 1900 0500 00000000 00000000  RTM_DELROUTE REQUEST ACK
      02 10 00 00 fe 00 ff 06 00000000  rtmsg
      0800 0100 0af40000  RTA_DST`,
    differs: {
      why: "as above",
      ip: ["scope 255"],
      twill: ["protocol 3"],
    },
  },
  {
    command: "bridge fdb del 02:00:00:00:02:00 dev vx1 dst 192.0.2.2 self permanent",
    change: remove(FDB),
    bytes: `
      30000000 1d00 0500 00000000 00000000  RTM_DELNEIGH REQUEST ACK
      07 00 0000 09000000 c000 02 00  ndmsg
      0a00 0200 020000000200 0000  NDA_LLADDR
      0800 0100 c0000202  NDA_DST`,
    differs: FDB_STATE,
  },
  {
    command: "ip neigh del 10.244.2.0 dev vx1",
    change: remove(NEIGHBOUR),
    bytes: `
      24000000 1d00 0500 00000000 00000000  RTM_DELNEIGH REQUEST ACK
      02 00 0000 09000000 8000 00 00  ndmsg
      0800 0100 0af40200  NDA_DST`,
    differs: NEIGHBOUR_MAC,
  },
  {
    command: "ip neigh del fd02:: dev vx1",
    change: remove(NEIGHBOUR6),
    bytes: `
      30000000 1d00 0500 00000000 00000000  RTM_DELNEIGH REQUEST ACK
      0a 00 0000 09000000 8000 00 00  ndmsg
      1400 0100 fd020000000000000000000000000000  NDA_DST`,
    differs: NEIGHBOUR_MAC,
  },
  {
    command: "ip addr del 10.244.1.1/24 dev br0",
    change: remove({ kind: "address", where, dev: "br0", inet: parseInet("10.244.1.1/24") }),
    bytes: `
      28000000 1500 0500 00000000 00000000  RTM_DELADDR REQUEST ACK
      02 18 00 00 04000000  ifaddrmsg
      0800 0200 0af40101  IFA_LOCAL
      0800 0100 0af40101  IFA_ADDRESS`,
  },
  {
    command: "ip addr del fd00::1/64 dev br0",
    change: remove({ kind: "address", where, dev: "br0", inet: parseInet("fd00::1/64") }),
    bytes: `
      40000000 1500 0500 00000000 00000000  RTM_DELADDR REQUEST ACK
      0a 40 00 00 04000000  ifaddrmsg
      1400 0200 fd000000000000000000000000000001  IFA_LOCAL
      1400 0100 fd000000000000000000000000000001  IFA_ADDRESS`,
  },
];
