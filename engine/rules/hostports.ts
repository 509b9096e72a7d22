/**
 * Host ports of one pod, as iptables rules. Chains, comments and order are those of the CNI
 * reference plugins, so that either can take away what the other made.
 *
 * A packet to one of the node's own addresses goes from PREROUTING or OUTPUT to the chain of all
 * host ports; an entry there, known by its ports, leads to the container's chain, which has the
 * translation, and before it the rules that mark what must be masqueraded on its way out.
 *
 * @module
 */

import { addressOf, type Family, familyOf, type Inet, type Ip, networkOf } from "../ip.ts";
import { sha512 } from "../sha512.ts";
import {
  chainRemovalText,
  commentOwner,
  type IptablesTable,
  LONGEST_COMMENT,
  ruleComment,
  targetOf,
  type Wanted,
  type WantedRule,
} from "./iptables.ts";

/** Protocols that have ports. */
export const PROTOCOLS = ["sctp", "tcp", "udp"] as const;
/** One of {@link PROTOCOLS}. */
export type Protocol = (typeof PROTOCOLS)[number];

/** One mapping. */
export interface PortMapping {
  /** 1 to 65535. */
  readonly hostPort: number;
  /** 1 to 65535. */
  readonly containerPort: number;
  readonly protocol: Protocol;
  /** Only this address of the node; `0.0.0.0` and `::`: any of that family; absent: any. */
  readonly hostIp?: Ip;
}

/** The pod whose ports they are. */
export interface PortOwner {
  readonly network: string;
  readonly containerId: string;
}

/** What both back ends are told. */
export interface HostPorts {
  readonly mappings: readonly PortMapping[];
  /** The container's address with the length of its network. */
  readonly container: Inet;
  /** Words of the operator's that packets must match beside. */
  readonly conditions: readonly string[];
  /** Masquerade connections that could not be answered otherwise. */
  readonly snat: boolean;
  /** Masquerade all forwarded connections. */
  readonly masqAll: boolean;
}

/** {@link HostPorts} with what only iptables needs. */
export interface IptablesPorts extends HostPorts {
  /** The bit that marks what is to be masqueraded, 0 to 31. */
  readonly markBit: number;
  /** A chain that marks in our place. */
  readonly markChain?: string;
}

/** All host ports of the node. */
export const DNAT_CHAIN = "CNI-HOSTPORT-DNAT";
const MARK_CHAIN = "CNI-HOSTPORT-SETMARK";
const MASQUERADE_CHAIN = "CNI-HOSTPORT-MASQ";
/** In front of an entry's comment. */
const ENTRY = "dnat ";
/** `XT_MULTI_PORTS`, linux/netfilter/xt_multiport.h. */
const MOST_PORTS = 15;

/** What differs between the families. */
export const HOST_ROWS = {
  4: { any: "0.0.0.0", nft: "ip" },
  6: { any: "::", nft: "ip6" },
} as const satisfies Record<Family, unknown>;

/** The container's chain, and the one in which older versions masqueraded. */
export function hostPortChains({ network, containerId }: PortOwner): readonly [string, string] {
  const hash = sha512(`${network}${containerId}`).slice(0, 21);
  return [`CNI-DN-${hash}`, `CNI-SN-${hash}`];
}

/** The mappings that a family serves: those of its own host addresses, and those of any. */
export function mappingsOf(ports: HostPorts): readonly PortMapping[] {
  const family = familyOf(ports.container);
  return ports.mappings.filter(({ hostIp }) => hostIp === undefined || familyOf(hostIp) === family);
}

/** The host address that packets must be sent to, unless any will do. */
export function specificHost({ hostIp }: PortMapping): Ip | undefined {
  const any = hostIp === undefined || hostIp === HOST_ROWS[familyOf(hostIp)].any;
  return any ? undefined : hostIp;
}

/** `10.0.0.2:80` or `[2001:db8::2]:80`. */
export function targetText(container: Inet, port: number): string {
  const ip = addressOf(container);
  return familyOf(container) === 4 ? `${ip}:${port}` : `[${ip}]:${port}`;
}

/** Chains and rules of a pod in the table nat of one family. */
export function hostPortsWanted(owner: PortOwner, ports: IptablesPorts): Wanted {
  const [chain] = hostPortChains(owner);
  const marking = ports.snat && ports.markChain === undefined;
  return {
    chains: [
      ...(marking ? [MARK_CHAIN, MASQUERADE_CHAIN] : []),
      DNAT_CHAIN,
      chain,
    ],
    rules: [
      ...(marking ? markingRules(ports.markBit) : []),
      ...["PREROUTING", "OUTPUT"].map((hook): WantedRule => ({
        chain: hook,
        words: ["-m", "addrtype", "--dst-type", "LOCAL", "-j", DNAT_CHAIN],
      })),
      ...mappingsOf(ports).flatMap((mapping) => containerRules(chain, mapping, ports)),
      ...entries(owner, chain, ports),
    ],
  };
}

function markingRules(bit: number): WantedRule[] {
  const mark = `0x${((1 << bit) >>> 0).toString(16)}`;
  const commented = (text: string): string[] => ["-m", "comment", "--comment", text];
  return [
    {
      chain: MARK_CHAIN,
      words: [
        ...commented("CNI portfwd masquerade mark"),
        ...["-j", "MARK", "--set-xmark", `${mark}/${mark}`],
      ],
    },
    {
      chain: MASQUERADE_CHAIN,
      words: ["-m", "mark", "--mark", `${mark}/${mark}`, "-j", "MASQUERADE"],
    },
    {
      chain: "POSTROUTING",
      words: [...commented("CNI portfwd requiring masquerade"), "-j", MASQUERADE_CHAIN],
      first: true,
    },
  ];
}

/** Marks first: the translation ends the walk through the chain. */
function containerRules(chain: string, mapping: PortMapping, ports: IptablesPorts): WantedRule[] {
  const { protocol, hostPort, containerPort } = mapping;
  const host = specificHost(mapping);
  const match = [
    ...(host === undefined ? [] : ["-d", host]),
    ...["-p", protocol, "-m", protocol, "--dport", `${hostPort}`],
  ];
  const mark = ports.markChain ?? MARK_CHAIN;
  return [
    ...(ports.snat ? sourcesToMark(ports) : []).map((source): WantedRule => ({
      chain,
      words: [...source, ...match, "-j", mark],
    })),
    {
      chain,
      words: [
        ...match,
        ...["-j", "DNAT", "--to-destination", targetText(ports.container, containerPort)],
      ],
    },
  ];
}

function sourcesToMark({ container, masqAll }: HostPorts): string[][] {
  if (masqAll) return [[]];
  const own = ["-s", networkOf(container)];
  return familyOf(container) === 4 ? [own, ["-s", "127.0.0.1/32"]] : [own];
}

/** Entries name the ports of a whole protocol, also those that only the other family serves. */
function entries(owner: PortOwner, chain: string, ports: HostPorts): WantedRule[] {
  const { network, containerId } = owner;
  const comment = `${ENTRY}${ruleComment(network, containerId)}`.slice(0, LONGEST_COMMENT);
  return PROTOCOLS.flatMap((protocol) => {
    const all = ports.mappings.filter((mapping) => mapping.protocol === protocol)
      .map(({ hostPort }) => hostPort);
    const rules: WantedRule[] = [];
    for (let at = 0; at < all.length; at += MOST_PORTS) {
      const dports = all.slice(at, at + MOST_PORTS).join(",");
      rules.push({
        chain: DNAT_CHAIN,
        words: [
          ...["-m", "comment", "--comment", comment],
          ...["-p", protocol, "-m", "multiport", "--dports", dports],
          ...ports.conditions,
          ...["-j", chain],
        ],
        ...(ports.conditions.length > 0 ? { free: true } : {}),
      });
    }
    return rules;
  });
}

/** The input that takes a pod's chains out, and every jump to them. */
export function hostPortsRemoval(table: IptablesTable, owner: PortOwner): string {
  return chainRemovalText(table, hostPortChains(owner));
}

/** The input that takes out what belongs to this network and to no valid container. */
export function hostPortsCollection(
  table: IptablesTable,
  network: string,
  valid: ReadonlySet<string>,
): string {
  const stale = table.rules(DNAT_CHAIN).flatMap((rule) => {
    const owner = commentOwner(rule, ENTRY);
    const ours = owner?.network === network && !valid.has(owner.containerId) &&
      targetOf(rule) === hostPortChains(owner)[0];
    return ours ? hostPortChains(owner) : [];
  });
  return chainRemovalText(table, [...new Set(stale)]);
}
