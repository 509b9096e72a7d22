/** host-local from outside: which address it hands out. */

import {
  add,
  command,
  type Json,
  owner,
  refused,
  type Row,
  sets,
  testRows,
} from "./host_local_rows.ts";

const small: Json = { ranges: [[{ subnet: "10.1.2.0/29" }]] };
const ten: Json = { ranges: [[{ subnet: "10.0.0.0/29" }]] };
const ask = (...ips: string[]): Json => ({ args: { cni: { ips } } });
const id = (n: number): string => `c${n}`;

const ROWS: readonly Row[] = [
  {
    id: "HL09",
    title: "an address asked for in args",
    steps: [add(["10.1.2.88/24"], { config: ask("10.1.2.88") })],
    also: { "last_reserved_ip.0": "10.1.2.88" },
  },
  {
    id: "HL10",
    title: "two addresses asked for, in any order",
    steps: [
      add(["10.1.2.88/24", "10.2.2.99/24"], {
        ipam: sets(["10.1.2.0/24"], ["10.2.2.0/24"]),
        config: ask("10.2.2.99", "10.1.2.88"),
      }),
    ],
    left: { "10.1.2.88": owner(), "10.2.2.99": owner() },
  },
  {
    id: "HL11",
    title: "two IPv4 sets do not fit into 0.2.0",
    steps: [
      refused(["does not support more than 1 address per family"], {
        ipam: sets(["10.1.2.0/24"], ["10.2.2.0/24"]),
        config: { ...ask("10.1.2.88", "10.2.2.99"), cniVersion: "0.2.0" },
      }),
    ],
  },
  {
    id: "HL12",
    title: "one address of each family asked for",
    steps: [
      add(["10.1.2.88/24", "2001:db8:1::999/48"], {
        ipam: sets(["172.16.1.0/24", "10.1.2.0/24"], ["2001:db8:1::/48"]),
        config: ask("10.1.2.88", "2001:db8:1::999"),
      }),
    ],
  },
  {
    id: "HL13",
    title: "two addresses asked for in one set",
    steps: [
      refused(["failed to allocate all requested IPs", "10.1.2.89"], {
        config: ask("10.1.2.88", "10.1.2.89"),
      }),
    ],
    left: {},
  },
  {
    id: "HL14",
    title: "an address asked for that no set has",
    steps: [refused(["failed to allocate all requested IPs"], { config: ask("10.9.9.9") })],
    left: {},
  },
  {
    id: "HL14",
    title: "a refusal gives back only what the same call took",
    steps: [
      add(["10.1.2.2/24"]),
      refused(["all requested"], { config: ask("10.1.2.9", "10.9.9.9") }),
    ],
    left: { "10.1.2.2": owner() },
  },
  ...["10.1.2.42", "10.1.2.42/24"].map((ip): Row => ({
    id: "HL15",
    title: `CNI_ARGS IP=${ip}`,
    steps: [add(["10.1.2.42/24"], { args: `IP=${ip}` })],
  })),
  { id: "HL15", title: "CNI_ARGS IP= is none", steps: [add(["10.1.2.2/24"], { args: "IP=" })] },
  { id: "HL15", title: "CNI_ARGS IP=x", steps: [refused(["invalid IP"], { args: "IP=x" })] },
  {
    id: "HL16",
    title: "an address asked for in runtimeConfig",
    steps: [add(["10.1.2.43/24"], { config: { runtimeConfig: { ips: ["10.1.2.43/24"] } } })],
  },
  {
    id: "HL16",
    title: "one address asked for in three places",
    steps: [
      add(["10.1.2.43/24"], {
        args: "IP=10.1.2.43",
        config: { ...ask("10.1.2.43"), runtimeConfig: { ips: ["::ffff:10.1.2.43"] } },
      }),
    ],
  },
  {
    id: "HL17",
    title: "an address asked for that somebody has",
    steps: [
      add(["10.1.2.88/24"], { config: ask("10.1.2.88") }),
      refused(["is not available in range set"], { id: "c2", config: ask("10.1.2.88") }),
    ],
    left: { "10.1.2.88": owner() },
  },
  {
    id: "HL18",
    title: "an address asked for that is the gateway",
    steps: [refused(["is subnet's gateway"], { config: ask("10.1.2.1") })],
    left: {},
  },
  ...["10.1.2.9", "10.1.2.21"].map((ip): Row => ({
    id: "HL19",
    title: `${ip} asked for, outside 10.1.2.10-10.1.2.20`,
    steps: [
      refused(["all requested"], {
        ipam: { subnet: "10.1.2.0/24", rangeStart: "10.1.2.10", rangeEnd: "10.1.2.20" },
        config: ask(ip),
      }),
    ],
    left: {},
  })),
  {
    id: "HL20",
    title: "a /29 has five addresses",
    steps: [
      ...[2, 3, 4, 5, 6].map((n) => add([`10.1.2.${n}/29`], { id: id(n), ipam: small })),
      refused(["no IP addresses available in range set", "10.1.2.1-10.1.2.6"], {
        id: "c7",
        ipam: small,
      }),
    ],
  },
  {
    id: "HL21",
    title: "the one free address is found",
    steps: [
      ...[2, 3, 4, 5, 6].map((n) => add([`10.1.2.${n}/29`], { id: id(n), ipam: small })),
      command("DEL", { id: "c4", ipam: small }),
      add(["10.1.2.4/29"], { id: "c9", ipam: small }),
    ],
  },
  {
    id: "HL22",
    title: "an address that was given back waits its turn",
    steps: [add(["10.1.2.2/24"]), command("DEL"), add(["10.1.2.3/24"])],
  },
  {
    id: "HL23",
    title: "goes on behind the last",
    steps: [add(["10.0.0.6/29"], { ipam: ten, files: { "last_reserved_ip.0": "10.0.0.5" } })],
  },
  {
    id: "HL24",
    title: "wraps around",
    steps: [
      add(["10.0.0.2/29"], {
        ipam: ten,
        files: { "last_reserved_ip.0": "10.0.0.5", "10.0.0.5": "x", "10.0.0.6": "x" },
      }),
    ],
  },
  ...["10.0.0.128", "", "10.0.0.5\n", "fe80::1", "x"].map((last): Row => ({
    id: "HL25",
    title: `a last address ${JSON.stringify(last)} is none`,
    steps: [
      add(["10.0.0.3/29"], {
        ipam: ten,
        files: { "last_reserved_ip.0": last, "10.0.0.2": "x" },
      }),
    ],
  })),
  {
    id: "HL26",
    title: "the last address itself comes last",
    steps: [
      add(["10.0.0.5/29"], {
        ipam: ten,
        files: {
          "last_reserved_ip.0": "10.0.0.5",
          ...Object.fromEntries([2, 3, 4, 6].map((n) => [`10.0.0.${n}`, "x"])),
        },
      }),
    ],
  },
  {
    id: "HL27",
    title: "goes on in the next range",
    steps: [
      add(["10.0.1.2/30"], {
        ipam: sets(["10.0.0.0/30", "10.0.1.0/30"]),
        files: { "last_reserved_ip.0": "10.0.0.2" },
      }),
    ],
  },
  {
    id: "HL28",
    title: "goes on in the first range",
    steps: [
      add(["10.0.0.2/30"], {
        ipam: sets(["10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30"]),
        files: { "last_reserved_ip.0": "10.0.2.2" },
      }),
    ],
  },
  {
    id: "HL29",
    title: "two full ranges",
    steps: [
      refused(["no IP addresses available"], {
        ipam: sets(["10.0.0.0/30", "10.0.1.0/30"]),
        files: { "10.0.0.2": "x", "10.0.1.2": "" },
      }),
    ],
  },
];

testRows(ROWS);
