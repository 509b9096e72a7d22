/** Our requests against those of libnl-route-3, for the entries of a VTEP and the VTEP itself. */

import assert from "node:assert/strict";
import type { LinkFact } from "../../engine/fact.ts";
import { parseCidr, parseInet, parseIp } from "../../engine/ip.ts";
import { parseMac } from "../../engine/mac.ts";
import { Writer } from "../../ffi/netlink/codec.ts";
import { Flag, writeMessage } from "../../ffi/netlink/message.ts";
import { type LinkLevelFact, requestFor } from "../../ffi/requests.ts";
import { meaning } from "./wire.ts";

const CORE = {
  // int nl_addr_parse(const char *, int hint, struct nl_addr **)
  nl_addr_parse: { parameters: ["buffer", "i32", "buffer"], result: "i32" },
  // struct nlmsghdr *nlmsg_hdr(struct nl_msg *)
  nlmsg_hdr: { parameters: ["pointer"], result: "pointer" },
} as const;

const SET_U32 = { parameters: ["pointer", "u32"], result: "void" } as const;
const SET_ADDRESS = { parameters: ["pointer", "pointer"], result: "void" } as const;
const ALLOC = { parameters: [], result: "pointer" } as const;
const BUILD = { parameters: ["pointer", "i32", "buffer"], result: "i32" } as const;

const ROUTE = {
  rtnl_link_vxlan_alloc: ALLOC,
  rtnl_link_set_name: { parameters: ["pointer", "buffer"], result: "void" },
  rtnl_link_set_mtu: SET_U32,
  rtnl_link_set_addr: SET_ADDRESS,
  rtnl_link_vxlan_set_id: SET_U32,
  rtnl_link_vxlan_set_link: SET_U32,
  rtnl_link_vxlan_set_port: SET_U32,
  rtnl_link_vxlan_set_local: SET_ADDRESS,
  rtnl_link_vxlan_set_learning: { parameters: ["pointer", "u8"], result: "i32" },
  rtnl_link_build_add_request: BUILD,
  rtnl_addr_alloc: ALLOC,
  rtnl_addr_set_ifindex: SET_U32,
  rtnl_addr_set_local: SET_ADDRESS,
  rtnl_addr_build_add_request: BUILD,
  rtnl_neigh_alloc: ALLOC,
  rtnl_neigh_set_ifindex: SET_U32,
  rtnl_neigh_set_family: SET_U32,
  rtnl_neigh_set_flags: SET_U32,
  rtnl_neigh_set_state: SET_U32,
  rtnl_neigh_set_dst: SET_ADDRESS,
  rtnl_neigh_set_lladdr: SET_ADDRESS,
  rtnl_neigh_build_add_request: BUILD,
  rtnl_route_alloc: ALLOC,
  rtnl_route_set_dst: SET_ADDRESS,
  rtnl_route_set_protocol: SET_U32,
  rtnl_route_set_table: SET_U32,
  rtnl_route_set_scope: SET_U32,
  rtnl_route_nh_alloc: ALLOC,
  rtnl_route_nh_set_ifindex: SET_U32,
  rtnl_route_nh_set_gateway: SET_ADDRESS,
  rtnl_route_nh_set_flags: SET_U32,
  rtnl_route_add_nexthop: SET_ADDRESS,
  rtnl_route_build_add_request: BUILD,
} as const satisfies Deno.ForeignLibraryInterface;

type Nl = Deno.DynamicLibrary<typeof CORE>["symbols"];
type Route = Deno.DynamicLibrary<typeof ROUTE>["symbols"];
type Pointer = Deno.PointerValue;

function c(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

/** What a C function writes through its last argument. */
function written(call: (into: Uint8Array<ArrayBuffer>) => number): Pointer {
  const into = new BigUint64Array(1);
  assert.equal(call(new Uint8Array(into.buffer)), 0);
  return Deno.UnsafePointer.create(into[0] ?? 0n);
}

/** An address or MAC address (`AF_UNSPEC`: libnl tells by the text). */
function address(nl: Nl, text: string): Pointer {
  return written((into) => nl.nl_addr_parse(c(text), 0, into));
}

const VTEP: LinkFact = {
  kind: "link",
  where: "host",
  name: "flannel.1",
  driver: {
    kind: "vxlan",
    vni: 1,
    port: 8472,
    local: parseIp("192.0.2.1"),
    underlay: "eth0",
    learning: false,
  },
  mtu: 1450,
  mac: parseMac("02:00:00:00:00:02"),
};

const INDEX: Readonly<Record<string, number>> = { eth0: 3, "flannel.1": 9 };
const CREATE = Flag.CREATE | Flag.EXCL;
const REPLACE = Flag.CREATE | Flag.REPLACE;
const MAC = parseMac("02:00:00:00:02:00");

/** One request: ours, theirs, and the lines of `meaning()` by which theirs differs. */
interface Case {
  readonly fact: LinkLevelFact;
  readonly build: (nl: Nl, route: Route) => Pointer;
  readonly onlyTheirs?: readonly string[];
  readonly onlyOurs?: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  "a VTEP": {
    fact: VTEP,
    build: (nl, route) => {
      const link = route.rtnl_link_vxlan_alloc();
      route.rtnl_link_set_name(link, c("flannel.1"));
      route.rtnl_link_set_mtu(link, 1450);
      route.rtnl_link_set_addr(link, address(nl, "02:00:00:00:00:02"));
      route.rtnl_link_vxlan_set_id(link, 1);
      route.rtnl_link_vxlan_set_link(link, 3);
      route.rtnl_link_vxlan_set_port(link, 8472);
      route.rtnl_link_vxlan_set_local(link, address(nl, "192.0.2.1"));
      route.rtnl_link_vxlan_set_learning(link, 0);
      return written((into) => route.rtnl_link_build_add_request(link, CREATE, into));
    },
    // libnl 3.7 writes IFLA_VXLAN_PORT with two bytes too many, of which the kernel complains.
    onlyTheirs: ["18.2.15 21180000"],
    onlyOurs: ["18.2.15 2118"],
  },
  "the address of a VTEP": {
    fact: { kind: "address", where: "host", dev: "flannel.1", inet: parseInet("10.244.1.0/32") },
    build: (nl, route) => {
      const it = route.rtnl_addr_alloc();
      route.rtnl_addr_set_ifindex(it, 9);
      route.rtnl_addr_set_local(it, address(nl, "10.244.1.0/32"));
      return written((into) => route.rtnl_addr_build_add_request(it, CREATE, into));
    },
  },
  "a neighbour": {
    fact: {
      kind: "neighbour",
      where: "host",
      dev: "flannel.1",
      ip: parseIp("10.244.2.0"),
      mac: MAC,
    },
    build: (nl, route) => {
      const it = route.rtnl_neigh_alloc();
      route.rtnl_neigh_set_ifindex(it, 9);
      route.rtnl_neigh_set_dst(it, address(nl, "10.244.2.0"));
      route.rtnl_neigh_set_lladdr(it, address(nl, MAC));
      route.rtnl_neigh_set_state(it, 0x80);
      return written((into) => route.rtnl_neigh_build_add_request(it, REPLACE, into));
    },
  },
  "an FDB entry": {
    fact: {
      kind: "fdb",
      where: "host",
      dev: "flannel.1",
      mac: MAC,
      remote: parseIp("192.0.2.2"),
    },
    build: (nl, route) => {
      const it = route.rtnl_neigh_alloc();
      route.rtnl_neigh_set_ifindex(it, 9);
      route.rtnl_neigh_set_dst(it, address(nl, "192.0.2.2"));
      route.rtnl_neigh_set_lladdr(it, address(nl, MAC));
      route.rtnl_neigh_set_state(it, 0x80);
      route.rtnl_neigh_set_flags(it, 0x02);
      route.rtnl_neigh_set_family(it, 7);
      return written((into) => route.rtnl_neigh_build_add_request(it, REPLACE, into));
    },
  },
  "a route": {
    fact: {
      kind: "route",
      where: "host",
      dst: parseCidr("10.244.2.0/24"),
      via: parseIp("10.244.2.0"),
      dev: "flannel.1",
      onlink: true,
      protocol: 146,
    },
    build: (nl, route) => {
      const it = route.rtnl_route_alloc();
      route.rtnl_route_set_dst(it, address(nl, "10.244.2.0/24"));
      route.rtnl_route_set_table(it, 254);
      route.rtnl_route_set_protocol(it, 146);
      route.rtnl_route_set_scope(it, 0);
      const hop = route.rtnl_route_nh_alloc();
      route.rtnl_route_nh_set_ifindex(hop, 9);
      route.rtnl_route_nh_set_gateway(hop, address(nl, "10.244.2.0"));
      route.rtnl_route_nh_set_flags(hop, 4);
      route.rtnl_route_add_nexthop(it, hop);
      return written((into) => route.rtnl_route_build_add_request(it, REPLACE, into));
    },
    // RTA_TABLE says once more what the header says already.
    onlyTheirs: ["15 fe000000"],
  },
};

/** The message that libnl-route made, with the flags that libnl adds when it sends. */
function copied(nl: Nl, message: Pointer): Uint8Array {
  const header = nl.nlmsg_hdr(message);
  assert.ok(header !== null);
  const view = new Deno.UnsafePointerView(header);
  const bytes = new Uint8Array(view.getUint32(0));
  view.copyInto(bytes);
  new DataView(bytes.buffer).setUint16(6, view.getUint16(6) | Flag.REQUEST | Flag.ACK, true);
  return bytes;
}

function ours(fact: LinkLevelFact): Uint8Array {
  const { type, flags, body } = requestFor({ op: "put", fact }, {
    index: (_where, name) => INDEX[name] ?? assert.fail(name),
    netnsFd: () => assert.fail("no other namespace"),
  });
  const out = new Writer();
  const header = { type, flags: flags | Flag.REQUEST | Flag.ACK, sequence: 0 };
  writeMessage(out, header, () => body(out));
  return out.bytes();
}

for (const [name, { fact, build, onlyTheirs = [], onlyOurs = [] }] of Object.entries(CASES)) {
  Deno.test(`requestFor says what libnl-route says of ${name}`, () => {
    // What they allocate is not freed: the process ends soon.
    const nl = Deno.dlopen("libnl-3.so.200", CORE);
    const route = Deno.dlopen("libnl-route-3.so.200", ROUTE);
    try {
      const theirs = meaning(copied(nl.symbols, build(nl.symbols, route.symbols)));
      const mine = meaning(ours(fact));
      assert.deepEqual(
        [theirs.filter((line) => !mine.includes(line)), mine.filter((l) => !theirs.includes(l))],
        [onlyTheirs, onlyOurs],
      );
    } finally {
      route.close();
      nl.close();
    }
  });
}
