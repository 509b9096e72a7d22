/** host-local from outside: what it reads, and what it refuses. */

import { add, OK, owner, refused, type Row, sets, testRows } from "./host_local_rows.ts";

const ROWS: readonly Row[] = [
  {
    id: "HL30",
    title: "a range in the old form",
    steps: [
      add(["10.1.2.10/24"], {
        ipam: {
          subnet: "10.1.2.0/24",
          rangeStart: "10.1.2.10",
          rangeEnd: "10.1.2.20",
          gateway: "10.1.2.9",
        },
        result: { ips: [{ address: "10.1.2.10/24", gateway: "10.1.2.9" }] },
      }),
    ],
  },
  {
    id: "HL31",
    title: "ipRanges, then the old form, then ranges",
    steps: [
      add(["10.3.0.2/24", "10.1.0.2/24", "10.2.0.2/24"], {
        ipam: { subnet: "10.1.0.0/24", ...sets(["10.2.0.0/24"]) },
        config: { runtimeConfig: { IPRanges: [[{ Subnet: "10.3.0.0/24" }]] } },
      }),
    ],
    also: { "last_reserved_ip.0": "10.3.0.2", "last_reserved_ip.2": "10.2.0.2" },
  },
  ...["10.1.2.0/31", "10.1.2.0/32", "2001:db8::/127"].map((subnet): Row => ({
    id: "HL32",
    title: `subnet ${subnet}`,
    steps: [refused(["too small to allocate from"], { ipam: { subnet } })],
  })),
  {
    id: "HL33",
    title: "a subnet with host bits",
    steps: [refused(["host bits set"], { ipam: { subnet: "10.1.2.5/24" } })],
  },
  ...["::ffff:10.1.2.0/120", "010.1.2.0/24", "10.1.2.0", null].map((subnet): Row => ({
    id: "HL33",
    title: `subnet ${subnet}`,
    steps: [refused(["invalid range set 0"], { ipam: { ranges: [[{ subnet }]] } })],
  })),
  ...[
    { rangeStart: "10.1.3.1" },
    { rangeEnd: "10.1.3.1" },
    { rangeStart: "10.1.2.9", rangeEnd: "10.1.2.8" },
    { rangeStart: "fd00::1" },
    { gateway: "x" },
  ].map((bounds): Row => ({
    id: "HL34",
    title: JSON.stringify(bounds),
    steps: [refused(["invalid range set 0"], { ipam: { subnet: "10.1.2.0/24", ...bounds } })],
  })),
  {
    id: "HL35",
    title: "ranges of one set overlap",
    steps: [
      refused(["invalid range set 0", "overlap"], { ipam: sets(["10.1.0.0/16", "10.1.2.0/24"]) }),
    ],
  },
  {
    id: "HL35",
    title: "sets overlap",
    steps: [
      refused(["range sets 0 and 1 overlap", "10.1.2.1-10.1.2.254"], {
        ipam: sets(["10.1.0.0/16"], ["10.1.2.0/24"]),
      }),
    ],
  },
  {
    id: "HL36",
    title: "a set with both families",
    steps: [
      refused(["mixed address families"], { ipam: sets(["10.1.2.0/24", "2001:db8:1::/64"]) }),
    ],
  },
  {
    id: "HL37",
    title: "no set",
    steps: [refused(["no IP ranges specified"], { ipam: { ranges: [] } })],
  },
  {
    id: "HL37",
    title: "an empty set",
    steps: [refused(["invalid range set 0"], { ipam: { ranges: [[]] } })],
  },
  {
    id: "HL37",
    title: "an empty ipam",
    steps: [refused(["no IP ranges specified"], { ipam: { ranges: null } })],
  },
  { id: "HL37", title: "no ipam", steps: [refused(["ipam"], { ipam: null })] },
  ...[{ ranges: [null] }, { ranges: [[null]] }, { ranges: [[{}]] }, { routes: [null] }, {
    routes: [{}],
  }].map((ipam): Row => ({
    id: "HL37",
    title: `nothing where something is due: ${JSON.stringify(ipam)}`,
    steps: [refused(["want"], { ipam })],
    left: {},
  })),
  {
    id: "HL38",
    title: "one set of each family in 0.2.0",
    steps: [
      {
        command: "ADD",
        ipam: sets(["10.1.2.0/24"], ["2001:db8:1::/64"]),
        config: { cniVersion: "0.2.0" },
        want: OK,
      },
    ],
    left: { "10.1.2.2": owner(), "2001:db8:1::2": owner() },
  },
  {
    id: "HL39",
    title: "everything in resolvConf",
    steps: [
      add(["10.1.2.2/24"], {
        ipam: { resolvConf: "@/resolv.conf" },
        files: {
          "@/resolv.conf": [
            "# nameserver 9.9.9.9",
            "; domain no",
            " nameserver 192.0.2.1 ignored",
            "nameserver\t192.0.2.2",
            "domain example.com",
            "search a.example b.example",
            "search c.example",
            "options ndots:5 edns0",
            "sortlist 1.1.1.1",
            "nameserver",
            "",
          ].join("\n"),
        },
        result: {
          dns: {
            nameservers: ["192.0.2.1", "192.0.2.2"],
            domain: "example.com",
            search: ["a.example", "b.example", "c.example"],
            options: ["ndots:5", "edns0"],
          },
        },
      }),
    ],
  },
  {
    id: "HL40",
    title: "resolvConf names no file",
    steps: [refused(["resolvConf"], { ipam: { resolvConf: "/nonexistent" } })],
    left: {},
  },
  {
    id: "HL42",
    title: "every member of a route",
    steps: [
      add(["10.1.2.2/24"], {
        ipam: {
          routes: [{ dst: "10.9.1.1/8", mtu: 1400, advmss: 1300, priority: 5, table: 7, scope: 0 }],
        },
        result: {
          routes: [{ dst: "10.9.1.1/8", mtu: 1400, advmss: 1300, priority: 5, table: 7, scope: 0 }],
        },
      }),
    ],
  },
  {
    id: "HL43",
    title: "IPv6 without a gateway",
    steps: [
      add(["2001:db8::2/64"], {
        ipam: sets(["2001:db8::/64"]),
        result: { ips: [{ address: "2001:db8::2/64", gateway: "2001:db8::1" }] },
      }),
    ],
  },
  {
    id: "HL43",
    title: "a gateway outside the subnet costs no address",
    steps: [
      add(["10.1.2.1/24"], {
        ipam: { ranges: [[{ subnet: "10.1.2.0/24", gateway: "10.9.9.9" }]] },
      }),
    ],
  },
];

testRows(ROWS);
