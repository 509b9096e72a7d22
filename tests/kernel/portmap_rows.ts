/**
 * Calls of portmap, and the rules that each makes by either back end.
 *
 * @module
 */

import { Node } from "./node.ts";
import type { Reply, Want } from "./plugins.ts";

/** Success. */
export const OK: Want = { ok: true };
/** The back ends. */
export const BACKENDS = ["iptables", "nftables"] as const;
/** The chain of container `abc123` in network `dbnet`. */
export const CHAIN = "CNI-DN-2c9d881d1924f1d6a7733";
/** The chain of all host ports. */
export const ENTRIES = "CNI-HOSTPORT-DNAT";
const COMMENT = '-m comment --comment "dnat name: \\"dbnet\\" id: \\"abc123\\""';
const MARK = "-j CNI-HOSTPORT-SETMARK";

const INTERFACES = [{ name: "eth0", sandbox: "/run/netns/c1" }];
/** The address of a container. */
export const INET4 = { address: "10.0.0.2/24", interface: 0 };
/** Its address of the other family. */
export const INET6 = { address: "2001:db8::2/64", interface: 0 };

/** Members of a configuration. */
export type Config = Readonly<Record<string, unknown>>;

/** A result of the plugins before. */
export function previous(...ips: readonly object[]): object {
  return { cniVersion: "1.0.0", interfaces: INTERFACES, ips };
}

/** A mapping: `8080->80/tcp` or `192.168.0.2:8080->80/tcp`. */
export function mapping(text: string): object {
  const [, hostIP = "", host, port, protocol] = /^(?:(.*):)?(-?\d+)->(-?\d+)\/(\w*)$/.exec(text) ??
    [];
  return { hostPort: Number(host), containerPort: Number(port), protocol, hostIP };
}

/** Calls portmap with mappings; `config` may override what the document has. */
export function portmap(
  node: Node,
  command: string,
  mappings: readonly string[],
  config: Config = {},
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<Reply> {
  return node.call({
    plugin: "portmap",
    env: { CNI_COMMAND: command, CNI_CONTAINERID: "abc123", ...env },
    config: {
      cniVersion: "1.0.0",
      name: "dbnet",
      prevResult: previous(INET4),
      runtimeConfig: { portMappings: mappings.map(mapping) },
      ...config,
    },
  });
}

/** Every rule of a node. */
export function rules(node: Node): string {
  return node.run("nft", "-s", "list", "ruleset") +
    ([4, 6] as const).map((family) => node.nat(family).join("\n")).join("\n");
}

/** The entry rule of iptables for these ports. */
function entry(protocol: string, ports: string, conditions = ""): string {
  return `${conditions}-p ${protocol} ${COMMENT} -m multiport --dports ${ports} -j ${CHAIN}`;
}

/** What a mapping becomes in the container's chain of iptables. */
function translated(match: string, target: string, sources: readonly string[]): string[] {
  return [
    ...sources.map((source) => `${source === "" ? "" : `-s ${source} `}${match} ${MARK}`),
    `${match} -j DNAT --to-destination ${target}`,
  ];
}

const FROM4 = ["10.0.0.0/24", "127.0.0.1/32"];
const FROM6 = ["2001:db8::/64"];
const DUAL = { prevResult: previous(INET4, INET6) };
const TCP = "-p tcp -m tcp --dport 8080";

/** What there is for each family; nothing where it is absent. */
export type ByFamily<T> = { readonly [Family in 4 | 6]?: T };

/** Rules of a pod in chains `hostports` and `masquerading`. */
export interface NftRules {
  readonly ports: readonly string[];
  readonly sources: readonly string[];
}

/** One case. */
export interface Row {
  readonly id: string;
  readonly mappings: readonly string[];
  readonly config?: Config;
  /** Entries and the container's chain in iptables, per family; absent: no chain at all. */
  readonly iptables?: ByFamily<
    { readonly entries: readonly string[]; readonly rules: readonly string[] }
  >;
  /** Chains `hostports` and `masquerading` of nftables, per family. */
  readonly nftables?: ByFamily<NftRules>;
}

const SOURCES4 = [
  'ip saddr 10.0.0.2 ip daddr 10.0.0.2 masquerade comment "abc123"',
  'ip saddr 127.0.0.1 ip daddr 10.0.0.2 masquerade comment "abc123"',
];
const SOURCES6 = [
  'ip6 saddr 2001:db8::2 ip6 daddr 2001:db8::2 masquerade comment "abc123"',
];
const PORT4 = 'tcp dport 8080 dnat to 10.0.0.2:80 comment "abc123"';
const PORT6 = 'tcp dport 8080 dnat to [2001:db8::2]:80 comment "abc123"';
const PLAIN4 = {
  entries: [entry("tcp", "8080")],
  rules: translated(TCP, "10.0.0.2:80", FROM4),
};
const PLAIN: Omit<Row, "id"> = {
  mappings: ["8080->80/tcp"],
  iptables: { 4: PLAIN4 },
  nftables: { 4: { ports: [PORT4], sources: SOURCES4 } },
};

const HOST_IPS = ["192.168.0.2:1->80/tcp", "0.0.0.0:2->80/tcp", "2001:db8:a::1:3->80/tcp"];

/** The cases. */
export const ROWS: readonly Row[] = [
  { id: "PM03", ...PLAIN },
  {
    id: "PM04",
    mappings: ["8080->80/tcp", "8081->81/tcp", "8080->53/udp", "8082->54/UDP"],
    iptables: {
      4: {
        entries: [entry("tcp", "8080,8081"), entry("udp", "8080,8082")],
        rules: [
          ...translated("-p tcp -m tcp --dport 8080", "10.0.0.2:80", FROM4),
          ...translated("-p tcp -m tcp --dport 8081", "10.0.0.2:81", FROM4),
          ...translated("-p udp -m udp --dport 8080", "10.0.0.2:53", FROM4),
          ...translated("-p udp -m udp --dport 8082", "10.0.0.2:54", FROM4),
        ],
      },
    },
    nftables: {
      4: {
        ports: [
          PORT4,
          'tcp dport 8081 dnat to 10.0.0.2:81 comment "abc123"',
          'udp dport 8080 dnat to 10.0.0.2:53 comment "abc123"',
          'udp dport 8082 dnat to 10.0.0.2:54 comment "abc123"',
        ],
        sources: SOURCES4,
      },
    },
  },
  {
    id: "PM05",
    mappings: [...HOST_IPS, ":::4->80/tcp"],
    config: DUAL,
    iptables: {
      4: {
        entries: [entry("tcp", "1,2,3,4")],
        rules: [
          ...FROM4.map((from) => `-s ${from} -d 192.168.0.2/32 -p tcp -m tcp --dport 1 ${MARK}`),
          "-d 192.168.0.2/32 -p tcp -m tcp --dport 1 -j DNAT --to-destination 10.0.0.2:80",
          ...translated("-p tcp -m tcp --dport 2", "10.0.0.2:80", FROM4),
        ],
      },
      6: {
        entries: [entry("tcp", "1,2,3,4")],
        rules: [
          `-s 2001:db8::/64 -d 2001:db8:a::1/128 -p tcp -m tcp --dport 3 ${MARK}`,
          "-d 2001:db8:a::1/128 -p tcp -m tcp --dport 3 -j DNAT --to-destination [2001:db8::2]:80",
          ...translated("-p tcp -m tcp --dport 4", "[2001:db8::2]:80", FROM6),
        ],
      },
    },
    nftables: {
      4: {
        ports: [
          'ip daddr 192.168.0.2 tcp dport 1 dnat to 10.0.0.2:80 comment "abc123"',
          'tcp dport 2 dnat to 10.0.0.2:80 comment "abc123"',
        ],
        sources: SOURCES4,
      },
      6: {
        ports: [
          'ip6 daddr 2001:db8:a::1 tcp dport 3 dnat to [2001:db8::2]:80 comment "abc123"',
          'tcp dport 4 dnat to [2001:db8::2]:80 comment "abc123"',
        ],
        sources: SOURCES6,
      },
    },
  },
  {
    id: "PM06",
    mappings: ["8080->80/tcp"],
    config: { snat: false },
    iptables: { 4: { entries: PLAIN4.entries, rules: translated(TCP, "10.0.0.2:80", []) } },
    nftables: { 4: { ports: [PORT4], sources: [] } },
  },
  {
    id: "PM10",
    mappings: ["8080->80/tcp"],
    config: { conditionsV4: ["-s", "1.2.3.0/24"], ...DUAL },
    iptables: {
      4: { entries: [entry("tcp", "8080", "-s 1.2.3.0/24 ")], rules: PLAIN4.rules },
      6: { entries: PLAIN4.entries, rules: translated(TCP, "[2001:db8::2]:80", FROM6) },
    },
  },
  {
    id: "PM13",
    mappings: ["8080->80/tcp"],
    config: { prevResult: previous(INET6) },
    iptables: {
      6: { entries: PLAIN4.entries, rules: translated(TCP, "[2001:db8::2]:80", FROM6) },
    },
    nftables: { 6: { ports: [PORT6], sources: SOURCES6 } },
  },
  { id: "PM14", ...PLAIN, config: { prevResult: previous({ address: "10.0.0.2/24" }) } },
  {
    id: "PM15",
    ...PLAIN,
    config: {
      prevResult: {
        cniVersion: "1.0.0",
        interfaces: [{ name: "eth0" }, { name: "br0" }, ...INTERFACES],
        ips: [
          { address: "10.9.9.9/24", interface: 0 },
          { address: "10.9.9.8/24", interface: 1 },
          { ...INET4, interface: 2 },
        ],
      },
    },
  },
  {
    id: "PM20",
    mappings: Array.from({ length: 20 }, (_, i) => `${9000 + i}->80/tcp`),
    config: { snat: false },
    iptables: {
      4: {
        entries: [
          entry("tcp", Array.from({ length: 15 }, (_, i) => 9000 + i).join(",")),
          entry("tcp", Array.from({ length: 5 }, (_, i) => 9015 + i).join(",")),
        ],
        rules: Array.from(
          { length: 20 },
          (_, i) => `-p tcp -m tcp --dport ${9000 + i} -j DNAT --to-destination 10.0.0.2:80`,
        ),
      },
    },
  },
  {
    id: "PM21",
    mappings: ["8080->80/tcp"],
    config: { masqAll: true },
    iptables: { 4: { entries: PLAIN4.entries, rules: translated(TCP, "10.0.0.2:80", [""]) } },
    nftables: {
      4: { ports: [PORT4], sources: ['ip daddr 10.0.0.2 masquerade comment "abc123"'] },
    },
  },
  {
    id: "PM26",
    ...PLAIN,
    config: {
      runtimeConfig: {
        portMappings: [{ HostPort: 8080, ContainerPort: 80, Protocol: "tcp", HostIP: "" }],
      },
    },
  },
];
