/**
 * Host ports of one pod, as nftables commands: one table for each family, with the chains of the
 * CNI reference plugins. A pod's rules carry its container's ID as comment; by that they are
 * found again.
 *
 * `fib daddr type local` keeps traffic of pods to the same port of other machines untouched.
 *
 * @module
 */

import { addressOf, type Family, familyOf } from "../ip.ts";
import {
  HOST_ROWS,
  type HostPorts,
  mappingsOf,
  type PortMapping,
  specificHost,
  targetText,
} from "./hostports.ts";
import { batch, deletions, type Listing, LONGEST_NFT_COMMENT } from "./nft_listing.ts";

/** The chains that hold rules of pods; the second one held some of older versions. */
const POD_CHAINS = ["hostports", "hostip_hostports", "masquerading"] as const;

/** The table of a family. */
export function hostPortsTable(family: Family): string {
  return `${HOST_ROWS[family].nft} cni_hostport`;
}

function commentOf(containerId: string): string {
  return containerId.slice(0, LONGEST_NFT_COMMENT);
}

/** The commands that make a pod's rules for the family of its address, in place of earlier ones. */
export function hostPortsCommands(
  listing: Listing,
  containerId: string,
  ports: HostPorts,
): string {
  const table = hostPortsTable(familyOf(ports.container));
  const local = [...ports.conditions, "fib daddr type local jump hostports_all"].join(" ");
  const comment = `comment "${commentOf(containerId)}"`;
  return batch([
    `add table ${table}`,
    ...["hostports", "hostip_hostports", "hostports_all"].map((name) =>
      `add chain ${table} ${name}`
    ),
    ...["prerouting", "output"].flatMap((hook) => [
      `add chain ${table} ${hook} { type nat hook ${hook} priority -100 ; }`,
      `flush chain ${table} ${hook}`,
      `add rule ${table} ${hook} ${local}`,
    ]),
    `flush chain ${table} hostports_all`,
    `add rule ${table} hostports_all jump hostip_hostports`,
    `add rule ${table} hostports_all jump hostports`,
    ...(ports.snat
      ? [`add chain ${table} masquerading { type nat hook postrouting priority 100 ; }`]
      : []),
    ...ownDeletions(listing, table, containerId),
    ...mappingsOf(ports).map((mapping) =>
      `add rule ${table} hostports ${mappingText(mapping, ports)} ${comment}`
    ),
    ...masqueradingRules(ports).map((rule) => `add rule ${table} masquerading ${rule} ${comment}`),
  ]);
}

function mappingText(mapping: PortMapping, { container }: HostPorts): string {
  const host = specificHost(mapping);
  const { nft } = HOST_ROWS[familyOf(container)];
  return [
    ...(host === undefined ? [] : [`${nft} daddr ${host}`]),
    `${mapping.protocol} dport ${mapping.hostPort}`,
    `dnat to ${targetText(container, mapping.containerPort)}`,
  ].join(" ");
}

function masqueradingRules(ports: HostPorts): string[] {
  if (!ports.snat || mappingsOf(ports).length === 0) return [];
  const { nft } = HOST_ROWS[familyOf(ports.container)];
  const ip = addressOf(ports.container);
  const to = `${nft} daddr ${ip} masquerade`;
  if (ports.masqAll) return [to];
  const hairpin = `${nft} saddr ${ip} ${to}`;
  return nft === "ip" ? [hairpin, `ip saddr 127.0.0.1 ${to}`] : [hairpin];
}

/** The commands that delete a pod's rules. */
export function hostPortsDeletion(listing: Listing, family: Family, containerId: string): string {
  return batch(ownDeletions(listing, hostPortsTable(family), containerId));
}

function ownDeletions(listing: Listing, table: string, containerId: string): string[] {
  return POD_CHAINS.flatMap((chain) =>
    deletions(table, listing, chain, (text) => text === commentOf(containerId))
  );
}

/** The chain in which a pod has fewer rules than wanted; undefined when there is none. */
export function hostPortsLack(
  listing: Listing,
  containerId: string,
  ports: HostPorts,
): string | undefined {
  const wanted = {
    hostports: mappingsOf(ports).length,
    masquerading: masqueradingRules(ports).length,
  };
  return (["hostports", "masquerading"] as const).find((chain) => {
    const own = (listing.get(chain) ?? []).filter((r) => r.comment === commentOf(containerId));
    return own.length < wanted[chain];
  });
}
